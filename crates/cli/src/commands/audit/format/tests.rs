use std::fs::File;

use ::parquet::file::metadata::RowGroupMetaData;
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::RowAccessor;
use chrono::DateTime;
use domain::{Actor, Id};
use eventstore::audit::Line;
use eventstore::{Metadata, Recorded};
use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::columns::{COLUMNS, cells};
use super::csv::harmless;
use super::*;

fn recorded(position: i64, actor: Actor, traceparent: Option<&str>) -> Recorded {
    Recorded {
        deployment: "everstep".into(),
        position,
        id: Uuid::from_u128(1),
        category: "execution".to_owned(),
        stream: Uuid::from_u128(2),
        version: 7,
        name: "execution.started".to_owned(),
        schema: 3,
        opened: None,
        fact: None,
        salt: [5; 32],
        body: RawValue::from_string(r#"{"a":"x, \"y\"\nz"}"#.to_owned()).unwrap(),
        meta: Metadata {
            tenant: Id::from_uuid(Uuid::from_u128(3)),
            actor,
            correlation: Uuid::from_u128(4),
            causation: Uuid::from_u128(5),
            traceparent: traceparent.map(str::to_owned),
            at: DateTime::from_timestamp_micros(1_700_000_000_000_001).unwrap(),
        },
        recorded_at: traceparent.and(DateTime::from_timestamp_micros(1_700_000_000_250_000)),
    }
}

fn two() -> [(Recorded, Option<u64>); 2] {
    let by_key = recorded(5_000_000_000, Actor::ApiKey(Uuid::from_u128(6)), Some("=1+1"));
    [(by_key, Some(41)), (recorded(5_000_000_001, Actor::System, None), None)]
}

fn written(format: ExportFormat, events: &[(Recorded, Option<u64>)]) -> Vec<u8> {
    let mut sink = Sink::new(format, Vec::new()).unwrap();
    for (event, leaf) in events {
        sink.write(event, *leaf).unwrap();
    }
    sink.finish().unwrap()
}

/// Where a column is.
fn place(name: &str) -> usize {
    COLUMNS.iter().position(|(column, _)| *column == name).unwrap()
}

#[test]
fn csv_comes_back_cell_by_cell_and_no_cell_is_a_formula() {
    let bytes = written(ExportFormat::Csv, &two());
    assert!(bytes.ends_with(b"\r\n"), "lines end as RFC 4180 has it");
    let mut reader = ::csv::Reader::from_reader(&bytes[..]);
    let names = COLUMNS.map(|(name, _)| name);
    assert_eq!(reader.headers().unwrap(), &names[..]);
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    for (row, (event, leaf)) in rows.iter().zip(two()) {
        let expected = cells(&event, leaf).map(|cell| harmless(cell.text()));
        assert_eq!(row, &expected[..]);
    }
    assert_eq!((rows.len(), &rows[0][place("traceparent")]), (2, "'=1+1"));
}

#[test]
fn text_that_begins_like_a_formula_gets_an_apostrophe() {
    let full_width = ["\u{ff1d}1", "\u{ff0b}1", "\u{ff0d}1", "\u{ff20}x"];
    for bad in ["=1", "+1", "-1", "@x", "\tx", "\rx", "\n=x"].into_iter().chain(full_width) {
        assert_eq!(harmless(bad.to_owned()), format!("'{bad}"));
    }
    assert_eq!(harmless("a=1".to_owned()), "a=1");
}

fn parquet(events: &[(Recorded, Option<u64>)]) -> SerializedFileReader<File> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&written(ExportFormat::Parquet, events)).unwrap();
    SerializedFileReader::new(file).unwrap()
}

#[test]
fn parquet_comes_back_row_by_row_in_groups_of_bounded_size() {
    let many: Vec<_> = (0..41_000).map(|nth| (recorded(nth, Actor::System, None), None)).collect();
    let file = parquet(&many);
    let groups = file.metadata().row_groups().iter().map(RowGroupMetaData::num_rows);
    let groups: Vec<i64> = groups.collect();
    assert_eq!(groups, [20_000, 20_000, 1_000]);
    let positions = file.get_row_iter(None).unwrap().map(|row| row.unwrap().get_long(0).unwrap());
    assert!(positions.eq(0..41_000));

    let rows: Vec<_> = parquet(&two()).get_row_iter(None).unwrap().map(Result::unwrap).collect();
    for (row, (event, leaf)) in rows.iter().zip(two()) {
        assert_eq!(row.get_string(place("data")).unwrap(), event.body.get());
        assert_eq!(row.get_long(place("leafindex")).ok(), leaf.map(u64::cast_signed));
        let time = row.get_timestamp_micros(place("time"));
        assert_eq!(time.unwrap(), event.meta.at.timestamp_micros());
        let recorded = row.get_timestamp_micros(place("recordedtime"));
        assert_eq!(recorded.ok(), event.recorded_at.map(|time| time.timestamp_micros()));
        assert_eq!(row.get_string(place("traceparent")).ok(), event.meta.traceparent.as_ref());
    }
}

/// What OCSF 1.3.0 requires of API Activity, and of the objects in it.
#[test]
fn ocsf_has_what_its_class_requires() {
    let bytes = written(ExportFormat::Ocsf, &two());
    let lines: Vec<&str> = std::str::from_utf8(&bytes).unwrap().lines().collect();
    for (text, (event, leaf)) in lines.iter().zip(two()) {
        let shown: Value = serde_json::from_str(text).unwrap();
        for number in
            ["activity_id", "category_uid", "class_uid", "severity_id", "time", "type_uid"]
        {
            assert!(shown[number].is_i64(), "{number}: {shown}");
        }
        assert_eq!(shown["type_uid"], 600_301);
        assert!(shown["api"]["operation"].is_string());
        assert!(shown["metadata"]["version"].is_string());
        assert!(shown["metadata"]["product"]["vendor_name"].is_string());
        assert!(shown["src_endpoint"]["svc_name"].is_string());
        assert!(shown["actor"]["app_name"].is_string());
        assert_eq!(shown["time"], event.meta.at.timestamp_millis());
        assert_eq!(shown["raw_data"], Line::write(&event, leaf), "which can still be checked");
    }
}

proptest! {
    /// Whatever texts there are, CSV gives them back.
    #[test]
    fn csv_gives_every_text_back(text in "\\PC*|[\"\r\n,=]*") {
        let mut event = recorded(1, Actor::System, Some(&text));
        event.name.clone_from(&text);
        let bytes = written(ExportFormat::Csv, &[(event, None)]);
        let mut reader = ::csv::Reader::from_reader(&bytes[..]);
        let row = reader.records().next().unwrap().unwrap();
        prop_assert_eq!(&row[place("type")], harmless(text));
    }
}
