//! The call of `es.append`.

use sqlx::PgPool;
use uuid::Uuid;

use super::LOG;
use crate::{Append, Appended, Expected, Position, Version, judge};

/// An append, laid out as the columns that `es.append` takes.
pub(super) struct Call<'a> {
    append: &'a Append,
    actor: String,
    categories: Vec<&'static str>,
    streams: Vec<Uuid>,
    expected: Vec<i64>,
    events: Events<'a>,
    counts: Vec<Version>,
}

#[derive(Default)]
struct Events<'a> {
    streams: Vec<i32>,
    places: Vec<i32>,
    ids: Vec<Uuid>,
    names: Vec<&'a str>,
    schemas: Vec<i32>,
    bodies: Vec<&'a [u8]>,
}

/// What came of it.
pub(super) enum Outcome {
    Appended(Appended),
    Refused { versions: Vec<Version> },
}

impl<'a> Call<'a> {
    pub(super) fn new(append: &'a Append) -> Self {
        let mut events = Events::default();
        for (nth, part) in (1..).zip(&append.streams) {
            for (place, draft) in (1..).zip(&part.events) {
                events.streams.push(nth);
                events.places.push(place);
                events.ids.push(draft.id);
                events.names.push(&draft.name);
                events.schemas.push(i32::from(draft.schema));
                events.bodies.push(draft.body.as_bytes());
            }
        }
        let parts = || append.streams.iter();
        let count = |count: usize| Version::try_from(count).unwrap_or(Version::MAX);
        Self {
            append,
            actor: serde_json::to_string(&append.meta.actor).expect("an actor is plain data"),
            categories: parts().map(|part| part.stream.category).collect(),
            streams: parts().map(|part| part.stream.id).collect(),
            expected: parts().map(|part| expected(part.expected)).collect(),
            counts: parts().map(|part| count(part.events.len())).collect(),
            events,
        }
    }

    pub(super) async fn run(&self, pool: &PgPool) -> Result<Outcome, sqlx::Error> {
        let Append { meta, reply, .. } = self.append;
        let (key, reply) = (reply.as_ref().map(|(key, _)| key), reply.as_ref().map(|(_, r)| r));
        let verdict: Judged = sqlx::query_as(
            "SELECT verdict, head, versions FROM es.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
                 $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)",
        )
        .bind(LOG)
        .bind(meta.tenant.as_uuid())
        .bind(&self.categories)
        .bind(&self.streams)
        .bind(&self.expected)
        .bind(&self.events.streams)
        .bind(&self.events.places)
        .bind(&self.events.ids)
        .bind(&self.events.names)
        .bind(&self.events.schemas)
        .bind(&self.events.bodies)
        .bind(&self.actor)
        .bind(meta.correlation)
        .bind(meta.causation)
        .bind(&meta.traceparent)
        .bind(judge::kept(meta.at))
        .bind(key.map(|key| key.principal))
        .bind(key.map(|key| &key.key))
        .bind(key.map(|key| key.fingerprint.as_slice()))
        .bind(reply.map(|reply| i32::from(reply.status)))
        .bind(reply.and_then(|reply| reply.location.as_deref()))
        .bind(reply.map(|reply| reply.body.as_bytes()))
        .fetch_one(pool)
        .await?;
        Ok(self.outcome(verdict))
    }

    fn outcome(&self, Judged { verdict, head, versions }: Judged) -> Outcome {
        let versions = versions.unwrap_or_default();
        if verdict != "appended" {
            return Outcome::Refused { versions };
        }
        Outcome::Appended(Appended {
            position: head + self.counts.iter().sum::<Position>(),
            versions: versions.iter().zip(&self.counts).map(|(from, count)| from + count).collect(),
        })
    }
}

/// The answer of `es.append`; there are no versions if there are no streams.
#[derive(sqlx::FromRow)]
struct Judged {
    verdict: String,
    head: Position,
    versions: Option<Vec<Version>>,
}

/// The version a stream must have; -1 if any but none will do, -2 if any at all will.
fn expected(expected: Expected) -> i64 {
    match expected {
        Expected::Any => -2,
        Expected::Exists => -1,
        Expected::None => 0,
        Expected::At(version) => version,
    }
}
