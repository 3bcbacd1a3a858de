//! What an export is written as. Each form takes one event after the other and keeps little.

mod columns;
mod csv;
mod ocsf;
mod parquet;
#[cfg(test)]
mod tests;

use std::io::Write;

use anyhow::Context as _;
use eventstore::Recorded;
use eventstore::audit::Line;

use self::csv::Sheet;
use self::parquet::Table;
use crate::args::ExportFormat;
use crate::failure::Failure;

/// Where events go, in one of the forms.
pub(super) enum Sink<W: Write + Send> {
    /// A line of JSON for each.
    Lines(W, fn(&Recorded, Option<u64>) -> String),
    /// CSV (RFC 4180).
    Csv(Box<Sheet<W>>),
    /// Apache Parquet.
    Parquet(Box<Table<W>>),
}

impl<W: Write + Send> Sink<W> {
    /// A sink that writes to `out`.
    pub(super) fn new(format: ExportFormat, out: W) -> Result<Self, Failure> {
        Ok(match format {
            ExportFormat::Cloudevents => Self::Lines(out, Line::write),
            ExportFormat::Ocsf => Self::Lines(out, ocsf::line),
            ExportFormat::Csv => Self::Csv(Box::new(Sheet::new(out).context("writing CSV")?)),
            ExportFormat::Parquet => {
                Self::Parquet(Box::new(Table::new(out).context("writing Parquet")?))
            }
        })
    }

    /// Writes an event; `leaf` is its place in the tenant's tree, if it is sealed.
    pub(super) fn write(&mut self, event: &Recorded, leaf: Option<u64>) -> Result<(), Failure> {
        match self {
            Self::Lines(out, line) => {
                out.write_all(line(event, leaf).as_bytes())?;
                out.write_all(b"\n")?;
            }
            Self::Csv(sheet) => sheet.write(event, leaf)?,
            Self::Parquet(table) => table.write(event, leaf).context("writing Parquet")?,
        }
        Ok(())
    }

    /// Writes what is left and gives the file back.
    pub(super) fn finish(self) -> Result<W, Failure> {
        let mut out = match self {
            Self::Lines(out, _) => out,
            Self::Csv(sheet) => sheet.finish()?,
            Self::Parquet(table) => table.finish().context("writing Parquet")?,
        };
        out.flush()?;
        Ok(out)
    }
}
