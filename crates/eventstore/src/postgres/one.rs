//! One append to one stream, as one call of `es.append_one`: what somebody who is alone mostly does.
//! Other streams may be named that must have certain versions.

use domain::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use super::batch::{Outcome, Salt, actor, answer_id};
use crate::{
    Append, Appended, CommandKey, Fence, Metadata, Position, Reply, StreamAppend, StreamId,
    Version, judge,
};

/// An append to one stream whose version must be a certain one, laid out as `es.append_one` takes it.
pub(super) struct One<'a> {
    stream: StreamId,
    expected: Version,
    meta: &'a Metadata,
    actor: String,
    at: Timestamp,
    ids: Vec<Uuid>,
    names: Vec<&'a str>,
    schemas: Vec<i32>,
    salts: &'a [Salt],
    bodies: Vec<&'a [u8]>,
    reply: Option<&'a (CommandKey, Reply)>,
    fence: Option<Fence>,
    given: Given,
}

/// Streams that must have certain versions.
#[derive(Default)]
struct Given {
    tenants: Vec<Uuid>,
    categories: Vec<&'static str>,
    ids: Vec<Uuid>,
    versions: Vec<Version>,
}

impl Given {
    /// What is expected of streams to which nothing is added, if it is of this kind.
    fn of(parts: &[StreamAppend]) -> Option<Self> {
        let mut given = Self::default();
        for part in parts {
            let StreamId { tenant, category, id } = part.stream;
            let version = part.expected.exactly().filter(|version| *version > 0)?;
            if !part.events.is_empty() || given.ids.contains(&id) {
                return None;
            }
            given.tenants.push(tenant.as_uuid());
            given.categories.push(category);
            given.ids.push(id);
            given.versions.push(version);
        }
        Some(given)
    }
}

impl<'a> One<'a> {
    /// The append with the salts of its events, if it is of this kind.
    pub(super) fn of(append: &'a Append, salts: &'a [Salt]) -> Option<Self> {
        let Append { meta, streams, reply, fence } = append;
        let (part, given) = streams.split_first()?;
        let given = Given::of(given)?;
        let expected = part.expected.exactly().filter(|_| !part.events.is_empty())?;
        Some(Self {
            stream: part.stream,
            expected,
            meta,
            actor: actor(meta),
            at: judge::kept(meta.at),
            ids: part.events.iter().map(|draft| draft.id).collect(),
            names: part.events.iter().map(|draft| draft.name.as_str()).collect(),
            schemas: part.events.iter().map(|draft| draft.schema.into()).collect(),
            salts,
            bodies: part.events.iter().map(|draft| draft.body.as_bytes()).collect(),
            reply: reply.as_ref(),
            fence: *fence,
            given,
        })
    }

    /// Stores it; nothing if it is not as easy as that.
    pub(super) async fn run(
        &self,
        log: i16,
        db: &mut PgConnection,
    ) -> Result<Option<Outcome>, sqlx::Error> {
        let Self { stream, meta, fence, given, .. } = self;
        let (key, reply) = self.reply.map(|(key, reply)| (key, reply)).unzip();
        let tenant = meta.tenant.as_uuid();
        let (head, recorded_at): (Option<Position>, Option<Timestamp>) = sqlx::query_as(
            "SELECT head, es.recorded_at($1, head)
             FROM es.append_one($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,
                 $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29) AS head",
        )
        .bind(log)
        .bind(stream.tenant.as_uuid())
        .bind(stream.category)
        .bind(stream.id)
        .bind(self.expected)
        .bind(&self.actor)
        .bind(meta.correlation)
        .bind(meta.causation)
        .bind(meta.traceparent.as_deref())
        .bind(self.at)
        .bind(&self.ids)
        .bind(&self.names)
        .bind(&self.schemas)
        .bind(self.salts)
        .bind(&self.bodies)
        .bind(key.map(|key| answer_id(tenant, key.principal, &key.key)))
        .bind(key.map(|key| key.principal))
        .bind(key.map(|key| key.key.as_str()))
        .bind(key.map(|key| &key.fingerprint[..]))
        .bind(reply.map(|reply| i32::from(reply.status)))
        .bind(reply.and_then(|reply| reply.location.as_deref()))
        .bind(reply.map(|reply| reply.body.as_bytes()))
        .bind(fence.map(|fence| fence.lease))
        .bind(fence.map(|fence| fence.slice))
        .bind(fence.map(|fence| fence.epoch))
        .bind(&given.tenants)
        .bind(&given.categories)
        .bind(&given.ids)
        .bind(&given.versions)
        .fetch_one(db)
        .await?;
        let count = Position::try_from(self.ids.len()).unwrap_or(Position::MAX);
        Ok(head.map(|head| {
            let mut versions = vec![self.expected + count];
            versions.extend(&given.versions);
            Outcome::Appended(Appended { position: head + count, versions }, recorded_at)
        }))
    }
}
