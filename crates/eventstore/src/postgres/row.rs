//! Rows of the log, as they come back.

use std::sync::Arc;

use domain::{Id, Timestamp};
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row as _};
use uuid::Uuid;

use crate::{Answered, Error, Metadata, Position, Recorded, Reply, Snapshot, StreamId, Version};

/// A statement for rows of `es.event`, of which the conditions are given.
macro_rules! select_rows {
    ($conditions:literal) => {
        concat!(
            "SELECT position, version, at, schema, tenant, stream, id, correlation, causation,
                 category, name, actor, traceparent, salt, body, recorded_at
             FROM es.event ",
            $conditions
        )
    };
}
pub(super) use select_rows;

/// A row of `es.event`. [`select_rows`] names its columns in the order of these fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) position: Position,
    pub(super) version: Version,
    pub(super) at: Timestamp,
    pub(super) schema: i32,
    pub(super) tenant: Uuid,
    pub(super) stream: Uuid,
    pub(super) id: Uuid,
    pub(super) correlation: Uuid,
    pub(super) causation: Uuid,
    pub(super) category: String,
    pub(super) name: String,
    pub(super) actor: String,
    pub(super) traceparent: Option<String>,
    pub(super) salt: Vec<u8>,
    pub(super) body: Vec<u8>,
    pub(super) recorded_at: Option<Timestamp>,
}

/// By place and not by name: to look names up takes a quarter of the time of a row.
impl FromRow<'_, PgRow> for Row {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            position: row.try_get(0)?,
            version: row.try_get(1)?,
            at: row.try_get(2)?,
            schema: row.try_get(3)?,
            tenant: row.try_get(4)?,
            stream: row.try_get(5)?,
            id: row.try_get(6)?,
            correlation: row.try_get(7)?,
            causation: row.try_get(8)?,
            category: row.try_get(9)?,
            name: row.try_get(10)?,
            actor: row.try_get(11)?,
            traceparent: row.try_get(12)?,
            salt: row.try_get(13)?,
            body: row.try_get(14)?,
            recorded_at: row.try_get(15)?,
        })
    }
}

impl Row {
    /// Whether it is an event of this stream.
    pub(super) fn is_of(&self, stream: StreamId) -> bool {
        let StreamId { tenant, category, id } = stream;
        (self.tenant, &*self.category, self.stream) == (tenant.as_uuid(), category, id)
    }

    /// The event, in the log of an installation.
    pub(super) fn recorded(self, deployment: Arc<str>) -> Result<Recorded, Error> {
        let row = self;
        let damaged = || Error::Damaged(format!("the event at {} is garbled", row.position));
        let schema = u16::try_from(row.schema).map_err(|_| damaged())?;
        let salt = row.salt.try_into().map_err(|_| damaged())?;
        let text = String::from_utf8(row.body).map_err(|_| damaged())?;
        let body = RawValue::from_string(text).map_err(|_| damaged())?;
        // A kind of actor that is unknown here is known to a newer release.
        let newer = |_| Error::Newer { name: row.name.clone(), version: schema };
        let actor = serde_json::from_str(&row.actor).map_err(newer)?;
        Ok(Recorded {
            deployment,
            position: row.position,
            id: row.id,
            category: row.category,
            stream: row.stream,
            version: row.version,
            name: row.name,
            schema,
            salt,
            body,
            opened: None,
            fact: None,
            meta: Metadata {
                tenant: Id::from_uuid(row.tenant),
                actor,
                correlation: row.correlation,
                causation: row.causation,
                traceparent: row.traceparent,
                at: row.at,
            },
            recorded_at: row.recorded_at,
        })
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct SnapshotRow {
    version: Version,
    event: Uuid,
    subject: Option<Uuid>,
    state: Vec<u8>,
}

impl SnapshotRow {
    pub(super) fn snapshot(self, fold: &str) -> Snapshot {
        let Self { version, event, subject, state } = self;
        let subject = subject.map(Id::from_uuid);
        Snapshot { fold: fold.to_owned(), version, event, subject, state }
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct Answer {
    fingerprint: Vec<u8>,
    status: i32,
    location: Option<String>,
    body: Vec<u8>,
    position: Position,
    version: Version,
}

impl TryFrom<Answer> for Answered {
    type Error = Error;

    fn try_from(answer: Answer) -> Result<Self, Error> {
        let damaged = || Error::Damaged("a stored answer is garbled".to_owned());
        Ok(Self {
            fingerprint: answer.fingerprint.try_into().map_err(|_| damaged())?,
            reply: Reply {
                status: u16::try_from(answer.status).map_err(|_| damaged())?,
                location: answer.location,
                body: String::from_utf8(answer.body).map_err(|_| damaged())?,
            },
            position: answer.position,
            version: answer.version,
        })
    }
}

/// The last of `numbers`, which must follow `after` one by one.
pub(super) fn contiguous(
    what: &str,
    after: i64,
    numbers: impl Iterator<Item = i64>,
) -> Result<i64, Error> {
    let mut last = after;
    for number in numbers {
        if number != last + 1 {
            return Err(Error::Damaged(format!("{what} {number} follows {what} {last}")));
        }
        last = number;
    }
    Ok(last)
}
