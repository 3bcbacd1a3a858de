//! A stretch of one log as a file of Apache Parquet: the rows as they were in the table, by position,
//! in groups with a Bloom filter of the streams that are in each.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use domain::Timestamp;
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{
    ByteArray, ByteArrayType, DataType, FixedLenByteArray, FixedLenByteArrayType, Int32Type,
    Int64Type,
};
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::{ReaderProperties, WriterProperties};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;
use uuid::Uuid;

use crate::postgres::row::Row;
use crate::{Position, StreamId, Version};

/// A group has at most so many rows, and about so many bytes of bodies.
const ROWS: usize = 10_000;
const BYTES: usize = 16 << 20;

/// Columns in the order of a row's fields. `STREAM` is the place of the stream's id.
const SCHEMA: &str = "message event {
    required int64 position;
    required int64 version;
    required int64 at (TIMESTAMP(MICROS,true));
    required int32 schema;
    required fixed_len_byte_array(16) tenant (UUID);
    required fixed_len_byte_array(16) stream (UUID);
    required fixed_len_byte_array(16) id (UUID);
    required fixed_len_byte_array(16) correlation (UUID);
    required fixed_len_byte_array(16) causation (UUID);
    required binary category (UTF8);
    required binary name (UTF8);
    required binary actor (UTF8);
    optional binary traceparent (UTF8);
    required binary salt;
    required binary body (UTF8);
    optional int64 recorded_at (TIMESTAMP(MICROS,true));
}";
const STREAM: usize = 5;
/// The place of a column that files of earlier releases do not have.
const RECORDED_AT: usize = 15;

/// A file that is written.
pub(super) struct Writer {
    file: SerializedFileWriter<fs::File>,
    rows: Vec<Row>,
    bytes: usize,
}

impl Writer {
    pub(super) fn new(out: fs::File) -> Result<Self> {
        let stream = ColumnPath::from("stream");
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
            .set_created_by(format!("everstep {}", env!("CARGO_PKG_VERSION")))
            .set_column_dictionary_enabled(ColumnPath::from("body"), false)
            .set_column_bloom_filter_enabled(stream.clone(), true)
            .set_column_bloom_filter_max_ndv(stream, ROWS as u64)
            .build();
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let file = SerializedFileWriter::new(out, schema, Arc::new(properties))?;
        Ok(Self { file, rows: vec![], bytes: 0 })
    }

    pub(super) fn write(&mut self, rows: Vec<Row>) -> Result<()> {
        for row in rows {
            self.bytes += row.body.len();
            self.rows.push(row);
            if self.rows.len() >= ROWS || self.bytes >= BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Ends the file, and waits until it is on the disk.
    pub(super) fn finish(mut self) -> Result<()> {
        self.flush()?;
        let mut out = self.file.into_inner()?;
        out.flush()?;
        Ok(out.sync_all()?)
    }

    fn flush(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut group = self.file.next_row_group()?;
        put_all(&mut group, &self.rows)?;
        group.close()?;
        self.rows.clear();
        self.bytes = 0;
        Ok(())
    }
}

type Group<'a> = SerializedRowGroupWriter<'a, fs::File>;

/// Writes all columns of some rows.
fn put_all(group: &mut Group<'_>, rows: &[Row]) -> Result<()> {
    put_first(group, rows)?;
    let times = rows.iter().filter_map(|row| row.recorded_at);
    let levels: Vec<i16> = rows.iter().map(|row| i16::from(row.recorded_at.is_some())).collect();
    put_some::<Int64Type>(group, times.map(|time| time.timestamp_micros()), Some(&levels))
}

/// Writes the columns that files have had from the first.
fn put_first(group: &mut Group<'_>, rows: &[Row]) -> Result<()> {
    put::<Int64Type>(group, rows.iter().map(|row| row.position))?;
    put::<Int64Type>(group, rows.iter().map(|row| row.version))?;
    put::<Int64Type>(group, rows.iter().map(|row| row.at.timestamp_micros()))?;
    put::<Int32Type>(group, rows.iter().map(|row| row.schema))?;
    put::<FixedLenByteArrayType>(group, rows.iter().map(|row| fixed(row.tenant)))?;
    put::<FixedLenByteArrayType>(group, rows.iter().map(|row| fixed(row.stream)))?;
    put::<FixedLenByteArrayType>(group, rows.iter().map(|row| fixed(row.id)))?;
    put::<FixedLenByteArrayType>(group, rows.iter().map(|row| fixed(row.correlation)))?;
    put::<FixedLenByteArrayType>(group, rows.iter().map(|row| fixed(row.causation)))?;
    put::<ByteArrayType>(group, rows.iter().map(|row| row.category.as_str().into()))?;
    put::<ByteArrayType>(group, rows.iter().map(|row| row.name.as_str().into()))?;
    put::<ByteArrayType>(group, rows.iter().map(|row| row.actor.as_str().into()))?;
    let traceparents = rows.iter().filter_map(|row| row.traceparent.as_deref());
    let levels: Vec<i16> = rows.iter().map(|row| i16::from(row.traceparent.is_some())).collect();
    put_some::<ByteArrayType>(group, traceparents.map(ByteArray::from), Some(&levels))?;
    put::<ByteArrayType>(group, rows.iter().map(|row| row.salt.clone().into()))?;
    put::<ByteArrayType>(group, rows.iter().map(|row| row.body.clone().into()))
}

fn put<T: DataType>(group: &mut Group<'_>, values: impl Iterator<Item = T::T>) -> Result<()> {
    put_some::<T>(group, values, None)
}

fn put_some<T: DataType>(
    group: &mut Group<'_>,
    values: impl Iterator<Item = T::T>,
    levels: Option<&[i16]>,
) -> Result<()> {
    let column = group.next_column()?;
    let mut column = column.ok_or_else(|| garbled("it has fewer columns than a row"))?;
    column.typed::<T>().write_batch(&values.collect::<Vec<_>>(), levels, None)?;
    column.close()
}

fn fixed(id: Uuid) -> FixedLenByteArray {
    ByteArray::from(id.as_bytes().to_vec()).into()
}

/// A file that is read. The group that was read last is kept: readers go on where they ended.
pub(super) struct Reader {
    file: SerializedFileReader<fs::File>,
    /// The position before the first row of each group, and the last position of all.
    bounds: Vec<Position>,
    last: Mutex<Option<(usize, Arc<Vec<Row>>)>>,
}

impl Reader {
    /// Opens a file whose first row has this position.
    pub(super) fn open(path: &Path, first: Position) -> Result<Self> {
        let properties = ReaderProperties::builder().set_read_bloom_filter(true).build();
        let options = ReadOptionsBuilder::new().with_reader_properties(properties).build();
        let file = SerializedFileReader::new_with_options(fs::File::open(path)?, options)?;
        let mut bounds = vec![first - 1];
        for group in file.metadata().row_groups() {
            bounds.push(bounds[bounds.len() - 1] + group.num_rows());
        }
        Ok(Self { file, bounds, last: Mutex::default() })
    }

    /// The position of the last row.
    pub(super) fn last(&self) -> Position {
        self.bounds[self.bounds.len() - 1]
    }

    /// The rows after a position, up to another.
    pub(super) fn read(&self, after: Position, upto: Position) -> Result<Vec<Row>> {
        let mut found = vec![];
        for nth in self.groups(after, upto) {
            let rows = self.group(nth)?;
            let wanted = rows.iter().filter(|row| row.position > after && row.position <= upto);
            found.extend(wanted.cloned());
        }
        Ok(found)
    }

    /// The rows of a stream after a version, up to another, of which none stands before a position.
    pub(super) fn load(
        &self,
        stream: StreamId,
        (after, upto): (Version, Version),
        first: Position,
    ) -> Result<Vec<Row>> {
        let mut found: Vec<Row> = vec![];
        for nth in self.groups(first - 1, Position::MAX) {
            if found.last().is_some_and(|row| row.version >= upto) {
                break;
            }
            let group = self.file.get_row_group(nth)?;
            let may_be = |filter: &parquet::bloom_filter::Sbbf| filter.check(&fixed(stream.id));
            if group.get_column_bloom_filter(STREAM).is_none_or(may_be) {
                let rows = self.group(nth)?;
                let is_wanted =
                    |row: &&Row| row.is_of(stream) && row.version > after && row.version <= upto;
                found.extend(rows.iter().filter(is_wanted).cloned());
            }
        }
        Ok(found)
    }

    /// The groups with rows after a position, up to another.
    fn groups(&self, after: Position, upto: Position) -> impl Iterator<Item = usize> + use<> {
        let bounds = self.bounds.windows(2).map(|ends| ends[1] > after && ends[0] < upto);
        let wanted: Vec<bool> = bounds.collect();
        (0..wanted.len()).filter(move |nth| wanted[*nth])
    }

    fn group(&self, nth: usize) -> Result<Arc<Vec<Row>>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, rows)) = last.as_ref().filter(|(kept, _)| *kept == nth) {
            return Ok(rows.clone());
        }
        let group = self.file.get_row_group(nth)?;
        let rows = Arc::new(take_all(&*group)?);
        let positions = self.bounds[nth] + 1..=self.bounds[nth + 1];
        if !rows.iter().map(|row| row.position).eq(positions) {
            return Err(garbled("its positions do not follow each other"));
        }
        *last = Some((nth, rows.clone()));
        Ok(rows)
    }
}

/// Reads all columns of a group.
fn take_all(group: &dyn RowGroupReader) -> Result<Vec<Row>> {
    let rows = usize::try_from(group.metadata().num_rows()).unwrap_or_default();
    let numbers = |nth| take::<Int64Type>(group, nth);
    let ids = |nth| take::<FixedLenByteArrayType>(group, nth);
    let bytes = |nth| take::<ByteArrayType>(group, nth);
    let (mut positions, mut versions, mut ats) = (numbers(0)?, numbers(1)?, numbers(2)?);
    let mut schemas = take::<Int32Type>(group, 3)?;
    let (mut tenants, mut streams, mut event_ids) = (ids(4)?, ids(5)?, ids(6)?);
    let (mut correlations, mut causations) = (ids(7)?, ids(8)?);
    let (mut categories, mut names, mut actors) = (bytes(9)?, bytes(10)?, bytes(11)?);
    let (mut traceparents, mut salts, mut bodies) = (bytes(12)?, bytes(13)?, bytes(14)?);
    let is_noted = group.num_columns() > RECORDED_AT;
    let mut recorded = is_noted.then(|| numbers(RECORDED_AT)).transpose()?.into_iter().flatten();
    (0..rows)
        .map(|_| {
            Ok(Row {
                position: next(&mut positions)?,
                version: next(&mut versions)?,
                at: time(next(&mut ats)?)?,
                schema: next(&mut schemas)?,
                tenant: uuid(&next(&mut tenants)?)?,
                stream: uuid(&next(&mut streams)?)?,
                id: uuid(&next(&mut event_ids)?)?,
                correlation: uuid(&next(&mut correlations)?)?,
                causation: uuid(&next(&mut causations)?)?,
                category: text(&next(&mut categories)?)?,
                name: text(&next(&mut names)?)?,
                actor: text(&next(&mut actors)?)?,
                traceparent: traceparents.next().flatten().as_ref().map(text).transpose()?,
                salt: next(&mut salts)?.data().to_vec(),
                body: next(&mut bodies)?.data().to_vec(),
                recorded_at: recorded.next().flatten().map(time).transpose()?,
            })
        })
        .collect()
}

/// The values of a column, one for each row.
fn take<T: DataType>(
    group: &dyn RowGroupReader,
    nth: usize,
) -> Result<impl Iterator<Item = Option<T::T>> + use<T>> {
    let rows = usize::try_from(group.metadata().num_rows()).unwrap_or_default();
    let is_optional = group.metadata().column(nth).column_descr().max_def_level() > 0;
    let mut column = get_typed_column_reader::<T>(group.get_column_reader(nth)?);
    let (mut values, mut levels) = (Vec::with_capacity(rows), Vec::new());
    let mut left = rows;
    while left > 0 {
        let wanted = is_optional.then_some(&mut levels);
        let (read, ..) = column.read_records(left, wanted, None, &mut values)?;
        if read == 0 {
            return Err(garbled("a column ends before the others"));
        }
        left -= read;
    }
    if !is_optional {
        levels = vec![1; rows];
    }
    let mut values = values.into_iter();
    Ok(levels.into_iter().map(move |level| (level > 0).then(|| values.next()).flatten()))
}

fn next<T>(values: &mut impl Iterator<Item = Option<T>>) -> Result<T> {
    values.next().flatten().ok_or_else(|| garbled("a value is missing"))
}

fn time(micros: i64) -> Result<Timestamp> {
    Timestamp::from_timestamp_micros(micros).ok_or_else(|| garbled("a time is out of range"))
}

fn uuid(bytes: &FixedLenByteArray) -> Result<Uuid> {
    Uuid::from_slice(bytes.data()).map_err(|_| garbled("an id is no UUID"))
}

fn text(bytes: &ByteArray) -> Result<String> {
    Ok(bytes.as_utf8()?.to_owned())
}

fn garbled(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}

#[cfg(test)]
mod tests {
    use domain::scenario::NOON;

    use super::*;

    fn row(position: Position, recorded_at: Option<Timestamp>) -> Row {
        let id = Uuid::from_u128(position.unsigned_abs().into());
        let text = |text: &str| text.to_owned();
        Row {
            position,
            version: position,
            at: NOON,
            schema: 1,
            tenant: Uuid::nil(),
            stream: Uuid::nil(),
            id,
            correlation: id,
            causation: id,
            category: text("thing"),
            name: text("thing.happened"),
            actor: text("\"system\""),
            traceparent: None,
            salt: vec![1; 32],
            body: b"{}".to_vec(),
            recorded_at,
        }
    }

    #[test]
    fn rows_come_back_as_they_were() {
        let file = tempfile::NamedTempFile::new().expect("is made");
        let rows = vec![row(1, None), row(2, Some(NOON))];
        let mut writer = Writer::new(file.reopen().expect("opens")).expect("begins");
        writer.write(rows.clone()).expect("writes");
        writer.finish().expect("ends");
        let read = Reader::open(file.path(), 1).and_then(|file| file.read(0, 9)).expect("reads");
        assert_eq!(read, rows);
    }

    #[test]
    fn a_file_of_a_release_that_did_not_note_when_is_read() {
        let file = tempfile::NamedTempFile::new().expect("is made");
        let rows = vec![row(1, None), row(2, None)];
        let (schema, _) = SCHEMA.split_once("optional int64 recorded_at").expect("is the last");
        let schema = parse_message_type(&format!("{schema}}}")).expect("is a schema");
        let out = file.reopen().expect("opens");
        let mut old =
            SerializedFileWriter::new(out, Arc::new(schema), Arc::default()).expect("begins");
        let mut group = old.next_row_group().expect("begins");
        put_first(&mut group, &rows).expect("writes");
        group.close().expect("ends");
        old.close().expect("ends");
        let read = Reader::open(file.path(), 1).and_then(|file| file.read(0, 9)).expect("reads");
        assert_eq!(read, rows);
    }
}
