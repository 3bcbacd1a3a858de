//! Events as rows, for the forms that have columns.

use base64::prelude::{BASE64_STANDARD, Engine};
use chrono::SecondsFormat;
use domain::Timestamp;
use eventstore::audit::{data_hash, entry};
use eventstore::tlog::leaf as leaf_hash;
use eventstore::{CloudEvent, Recorded};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A whole number of 64 bits.
    Number,
    /// A time, to the microsecond.
    Time,
    /// A time that may be missing.
    TimeOrNone,
    /// Text.
    Text,
    /// Text that may be missing.
    TextOrNone,
    /// A whole number that may be missing.
    NumberOrNone,
}

/// The columns in order. With `leafhash`, rows can still be held against the tree; the hash of
/// `datasalt` and `data` is `datahash`.
pub(super) const COLUMNS: [(&str, Kind); 22] = [
    ("position", Kind::Number),
    ("time", Kind::Time),
    ("recordedtime", Kind::TimeOrNone),
    ("id", Kind::Text),
    ("type", Kind::Text),
    ("schemaversion", Kind::Number),
    ("source", Kind::Text),
    ("subject", Kind::Text),
    ("tenant", Kind::Text),
    ("category", Kind::Text),
    ("stream", Kind::Text),
    ("streamversion", Kind::Number),
    ("correlationid", Kind::Text),
    ("causationid", Kind::Text),
    ("authtype", Kind::Text),
    ("authid", Kind::TextOrNone),
    ("traceparent", Kind::TextOrNone),
    ("leafindex", Kind::NumberOrNone),
    ("leafhash", Kind::Text),
    ("datahash", Kind::Text),
    ("datasalt", Kind::Text),
    ("data", Kind::Text),
];

/// What a row has in one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    /// Of [`Kind::Number`].
    Number(i64),
    /// Of [`Kind::Time`].
    Time(Timestamp),
    /// Of [`Kind::Text`].
    Text(String),
    /// Missing.
    None,
}

impl Cell {
    /// As text; nothing is empty.
    pub(super) fn text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Time(time) => time.to_rfc3339_opts(SecondsFormat::Micros, true),
            Self::Text(text) => text,
            Self::None => String::new(),
        }
    }
}

/// The cells of an event, one for each of [`COLUMNS`].
pub(super) fn cells(event: &Recorded, leaf: Option<u64>) -> [Cell; COLUMNS.len()] {
    let text = |value: &dyn ToString| Cell::Text(value.to_string());
    let base64 = |bytes: &[u8]| Cell::Text(BASE64_STANDARD.encode(bytes));
    let shown = CloudEvent::from(event);
    let body = event.body.get();
    [
        Cell::Number(event.position),
        Cell::Time(event.meta.at),
        event.recorded_at.map_or(Cell::None, Cell::Time),
        text(&event.id),
        text(&event.name),
        Cell::Number(event.schema.into()),
        text(&shown.source),
        text(&shown.subject),
        text(&event.meta.tenant),
        text(&event.category),
        text(&event.stream),
        Cell::Number(event.version),
        text(&event.meta.correlation),
        text(&event.meta.causation),
        text(&shown.authtype),
        shown.authid.map_or(Cell::None, |id| text(&id)),
        shown.traceparent.map_or(Cell::None, |trace| text(&trace)),
        leaf.map_or(Cell::None, |leaf| Cell::Number(leaf.cast_signed())),
        base64(leaf_hash(entry(event).as_bytes()).as_bytes()),
        base64(&data_hash(&event.salt, body.as_bytes())),
        base64(&event.salt),
        text(&body),
    ]
}
