//! Apache Parquet, for analysis. Rows are kept until there are enough for a row group.

use std::io::Write;
use std::sync::Arc;

use eventstore::Recorded;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::Result;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;

use super::columns::{COLUMNS, Cell, Kind, cells};

/// A row group has at most so many rows, and about so many bytes of data before compression.
const ROWS: usize = 20_000;
const BYTES: usize = 16 << 20;

type Row = [Cell; COLUMNS.len()];

/// A file of Parquet.
pub(in super::super) struct Table<W: Write + Send> {
    file: SerializedFileWriter<W>,
    rows: Vec<Row>,
    bytes: usize,
}

impl<W: Write + Send> Table<W> {
    pub(super) fn new(out: W) -> Result<Self> {
        let schema = Arc::new(parse_message_type(&schema())?);
        let level = ZstdLevel::try_new(3)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_created_by(format!("everstep {}", env!("CARGO_PKG_VERSION")))
            .build();
        let file = SerializedFileWriter::new(out, schema, Arc::new(properties))?;
        Ok(Self { file, rows: vec![], bytes: 0 })
    }

    pub(super) fn write(&mut self, event: &Recorded, leaf: Option<u64>) -> Result<()> {
        self.rows.push(cells(event, leaf));
        self.bytes += event.body.get().len();
        if self.rows.len() >= ROWS || self.bytes >= BYTES { self.flush() } else { Ok(()) }
    }

    pub(super) fn finish(mut self) -> Result<W> {
        self.flush()?;
        self.file.into_inner()
    }

    /// Writes the rows that are kept, as one row group.
    fn flush(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut group = self.file.next_row_group()?;
        let mut place = 0;
        while let Some(column) = group.next_column()? {
            put(column, place, &self.rows)?;
            place += 1;
        }
        group.close()?;
        self.rows.clear();
        self.bytes = 0;
        Ok(())
    }
}

/// Writes one column of the rows.
fn put(mut column: SerializedColumnWriter<'_>, place: usize, rows: &[Row]) -> Result<()> {
    let (mut numbers, mut texts, mut levels) = (vec![], vec![], vec![]);
    for row in rows {
        match &row[place] {
            Cell::Number(number) => numbers.push(*number),
            Cell::Time(time) => numbers.push(time.timestamp_micros()),
            Cell::Text(text) => texts.push(ByteArray::from(text.as_str())),
            Cell::None => {}
        }
        levels.push(i16::from(row[place] != Cell::None));
    }
    match COLUMNS[place].1 {
        Kind::Number | Kind::Time => {
            column.typed::<Int64Type>().write_batch(&numbers, None, None)?;
        }
        Kind::NumberOrNone | Kind::TimeOrNone => {
            column.typed::<Int64Type>().write_batch(&numbers, Some(&levels), None)?;
        }
        Kind::Text => {
            column.typed::<ByteArrayType>().write_batch(&texts, None, None)?;
        }
        Kind::TextOrNone => {
            column.typed::<ByteArrayType>().write_batch(&texts, Some(&levels), None)?;
        }
    }
    column.close()
}

/// The schema in Parquet's own words.
fn schema() -> String {
    let column = |(name, kind): &(&str, Kind)| match kind {
        Kind::Number => format!("required int64 {name};"),
        Kind::NumberOrNone => format!("optional int64 {name};"),
        Kind::Time => format!("required int64 {name} (TIMESTAMP(MICROS,true));"),
        Kind::TimeOrNone => format!("optional int64 {name} (TIMESTAMP(MICROS,true));"),
        Kind::Text => format!("required binary {name} (UTF8);"),
        Kind::TextOrNone => format!("optional binary {name} (UTF8);"),
    };
    format!("message event {{ {} }}", COLUMNS.iter().map(column).collect::<Vec<_>>().join(" "))
}
