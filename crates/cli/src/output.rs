//! What commands say: data on standard output, everything else on standard error.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use crate::args::Format;
use crate::failure::Failure;

/// Writes results in the format that was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
}

impl Output {
    /// Output in `format`.
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    /// Whether people read it.
    pub(crate) fn is_for_people(self) -> bool {
        self.format == Format::Table
    }

    /// Writes `value` for programs, or what `people` makes of it.
    pub(crate) fn show(
        self,
        value: &Value,
        people: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match self.format {
            Format::Table => writeln!(out, "{}", people().trim_end())?,
            Format::Json => {
                serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
                writeln!(out)?;
            }
            Format::Yaml => {
                let text = serde_yaml_ng::to_string(value).map_err(anyhow::Error::from)?;
                write!(out, "{text}")?;
            }
        }
        Ok(out.flush()?)
    }

    /// Writes one item of a stream: `value` on a line of its own, or what `people` makes of it.
    pub(crate) fn item(
        self,
        value: &Value,
        people: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        match self.format {
            Format::Table => writeln!(out, "{}", people())?,
            Format::Json | Format::Yaml => writeln!(out, "{value}")?,
        }
        Ok(out.flush()?)
    }
}

/// Tells people something that is no result.
pub(crate) fn note(text: impl Display) {
    eprintln!("{text}");
}

/// A table with a line of headings; as wide as it must be, unless a terminal is narrower.
pub(crate) fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let arrangement = if io::stdout().is_terminal() {
        ContentArrangement::Dynamic
    } else {
        ContentArrangement::Disabled
    };
    table.set_content_arrangement(arrangement).set_header(headings.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines = table.lines().map(|line| line.trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

/// A duration for people.
pub(crate) fn duration(milliseconds: i64) -> String {
    match milliseconds {
        ..1_000 => format!("{milliseconds} ms"),
        1_000..60_000 => format!("{}.{} s", milliseconds / 1_000, milliseconds % 1_000 / 100),
        60_000..3_600_000 => {
            format!("{} min {} s", milliseconds / 60_000, milliseconds % 60_000 / 1_000)
        }
        _ => format!("{} h {} min", milliseconds / 3_600_000, milliseconds % 3_600_000 / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_and_carry_no_ornament() {
        let rows =
            [vec!["a".to_owned(), "long one".to_owned()], vec!["bbbb".to_owned(), "x".to_owned()]];
        assert_eq!(table(&["NAME", "WHAT"], rows), "NAME  WHAT\na     long one\nbbbb  x");
    }

    #[test]
    fn durations_are_as_exact_as_they_are_short() {
        let shown = [7, 1_250, 61_000, 3_660_000].map(duration);
        assert_eq!(shown, ["7 ms", "1.2 s", "1 min 1 s", "1 h 1 min"]);
    }
}
