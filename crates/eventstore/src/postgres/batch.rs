//! Many appends as one call of `es.append`.

use domain::{Id, Timestamp};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    Append, Appended, CommandKey, Draft, Expected, Fence, Metadata, Position, Reply, StreamAppend,
    Version, judge,
};

/// The verdict of `es.append` on whoever lost the slice that it appends for.
const FENCED: i16 = 3;

/// Random bytes that are hashed before the body of an event.
pub(super) type Salt = [u8; 32];

/// One for each event of an append.
pub(super) fn salts(append: &Append) -> Vec<Salt> {
    let events = append.streams.iter().flat_map(|part| &part.events);
    events.map(|_| rand::random()).collect()
}

/// What came of an append.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is stored, since this moment on the database's clock if it added anything.
    Appended(Appended, Option<Timestamp>),
    /// It is not, or was before: its streams have these versions.
    Refused { versions: Vec<Version>, is_fenced: bool },
}

/// Appends, laid out as the columns that `es.append` takes. No key is named twice, and no stream to which
/// something is added.
#[derive(Default)]
pub(super) struct Batch<'a> {
    /// For each append, how many events there are up to and with it.
    upto: Vec<i32>,
    fences: Fences,
    streams: Streams<'a>,
    events: Events<'a>,
    replies: Replies<'a>,
}

/// On behalf of which slice each append is.
#[derive(Default)]
struct Fences {
    leases: Vec<Option<&'static str>>,
    slices: Vec<Option<i16>>,
    epochs: Vec<Option<i64>>,
}

#[derive(Default)]
struct Streams<'a> {
    appends: Vec<i32>,
    tenants: Vec<Uuid>,
    categories: Vec<&'static str>,
    ids: Vec<Uuid>,
    expected: Vec<i64>,
    counts: Vec<i32>,
    before: Vec<i32>,
    actors: Vec<String>,
    correlations: Vec<Uuid>,
    causations: Vec<Uuid>,
    traceparents: Vec<Option<&'a str>>,
    times: Vec<Timestamp>,
}

#[derive(Default)]
struct Events<'a> {
    streams: Vec<i32>,
    places: Vec<i32>,
    ids: Vec<Uuid>,
    names: Vec<&'a str>,
    schemas: Vec<i32>,
    salts: Vec<Salt>,
    bodies: Vec<&'a [u8]>,
}

#[derive(Default)]
struct Replies<'a> {
    appends: Vec<i32>,
    streams: Vec<Option<i32>>,
    ids: Vec<Uuid>,
    tenants: Vec<Uuid>,
    principals: Vec<Uuid>,
    keys: Vec<&'a str>,
    fingerprints: Vec<&'a [u8]>,
    statuses: Vec<i32>,
    locations: Vec<Option<&'a str>>,
    bodies: Vec<&'a [u8]>,
}

/// The answer of `es.append`.
#[derive(sqlx::FromRow)]
struct Judged {
    head: Position,
    verdicts: Vec<i16>,
    versions: Vec<Version>,
    recorded_at: Option<Timestamp>,
}

impl<'a> Batch<'a> {
    /// Appends, with the salts of their events.
    pub(super) fn of<S: AsRef<[Salt]>>(appends: impl IntoIterator<Item = (&'a Append, S)>) -> Self {
        let mut batch = Self::default();
        for (append, salts) in appends {
            batch.add(append);
            batch.events.salts.extend_from_slice(salts.as_ref());
        }
        batch
    }

    fn add(&mut self, append: &'a Append) {
        let Append { meta, streams, reply, fence } = append;
        let nth = number(self.upto.len() + 1);
        if let Some((key, reply)) = reply {
            let first = (!streams.is_empty()).then(|| number(self.streams.ids.len() + 1));
            self.replies.add((nth, first), meta.tenant.as_uuid(), key, reply);
        }
        for part in streams {
            self.streams.add(nth, part, meta, self.events.ids.len());
            let stream = number(self.streams.ids.len());
            for (place, draft) in (1..).zip(&part.events) {
                self.events.add(stream, place, draft);
            }
        }
        self.fences.add(*fence);
        self.upto.push(number(self.events.ids.len()));
    }

    /// Stores them, each all or nothing; tells what came of each.
    pub(super) async fn run(
        &self,
        log: i16,
        db: &mut PgConnection,
    ) -> Result<Vec<Outcome>, sqlx::Error> {
        let Self { upto, fences, streams, events, replies } = self;
        let judged: Judged = sqlx::query_as(
            "SELECT head, verdicts, versions, es.recorded_at($1, head) AS recorded_at
             FROM es.append($1, $2, $3, $4, $5, $6, $7, $8, $9,
                 $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25,
                 $26, $27, $28, $29, $30, $31, $32, $33, $34)",
        )
        .bind(log)
        .bind(upto)
        .bind(&streams.appends)
        .bind(&streams.tenants)
        .bind(&streams.categories)
        .bind(&streams.ids)
        .bind(&streams.expected)
        .bind(&streams.counts)
        .bind(&streams.before)
        .bind(&streams.actors)
        .bind(&streams.correlations)
        .bind(&streams.causations)
        .bind(&streams.traceparents)
        .bind(&streams.times)
        .bind(&events.streams)
        .bind(&events.places)
        .bind(&events.ids)
        .bind(&events.names)
        .bind(&events.schemas)
        .bind(&events.salts)
        .bind(&events.bodies)
        .bind(&replies.appends)
        .bind(&replies.streams)
        .bind(&replies.ids)
        .bind(&replies.tenants)
        .bind(&replies.principals)
        .bind(&replies.keys)
        .bind(&replies.fingerprints)
        .bind(&replies.statuses)
        .bind(&replies.locations)
        .bind(&replies.bodies)
        .bind(&fences.leases)
        .bind(&fences.slices)
        .bind(&fences.epochs)
        .fetch_one(db)
        .await?;
        Ok(self.outcomes(&judged))
    }

    fn outcomes(&self, judged: &Judged) -> Vec<Outcome> {
        let Judged { head, verdicts, versions, recorded_at } = judged;
        let mut position = *head;
        let mut before = 0;
        let mut streams = self.streams.counts.iter().zip(versions).zip(&self.streams.appends);
        let mut streams = streams.by_ref().peekable();
        let mut outcomes = Vec::with_capacity(verdicts.len());
        for ((verdict, upto), nth) in verdicts.iter().zip(&self.upto).zip(1..) {
            let (mut were, mut are) = (vec![], vec![]);
            while let Some(((count, version), _)) = streams.next_if(|(_, of)| **of == nth) {
                were.push(*version);
                are.push(version + Version::from(*count));
            }
            let count = Position::from(upto - before);
            before = *upto;
            outcomes.push(if *verdict == 0 {
                position += count;
                Outcome::Appended(Appended { position, versions: are }, *recorded_at)
            } else {
                Outcome::Refused { versions: were, is_fenced: *verdict == FENCED }
            });
        }
        outcomes
    }
}

impl Fences {
    fn add(&mut self, fence: Option<Fence>) {
        self.leases.push(fence.map(|fence| fence.lease));
        self.slices.push(fence.map(|fence| fence.slice));
        self.epochs.push(fence.map(|fence| fence.epoch));
    }
}

impl<'a> Streams<'a> {
    fn add(&mut self, append: i32, part: &StreamAppend, meta: &'a Metadata, before: usize) {
        self.appends.push(append);
        self.tenants.push(part.stream.tenant.as_uuid());
        self.categories.push(part.stream.category);
        self.ids.push(part.stream.id);
        self.expected.push(expected(part.expected));
        self.counts.push(number(part.events.len()));
        self.before.push(number(before));
        self.actors.push(actor(meta));
        self.correlations.push(meta.correlation);
        self.causations.push(meta.causation);
        self.traceparents.push(meta.traceparent.as_deref());
        self.times.push(judge::kept(meta.at));
    }
}

impl<'a> Events<'a> {
    fn add(&mut self, stream: i32, place: i32, draft: &'a Draft) {
        self.streams.push(stream);
        self.places.push(place);
        self.ids.push(draft.id);
        self.names.push(&draft.name);
        self.schemas.push(i32::from(draft.schema));
        self.bodies.push(draft.body.as_bytes());
    }
}

impl<'a> Replies<'a> {
    fn add(
        &mut self,
        (append, stream): (i32, Option<i32>),
        tenant: Uuid,
        key: &'a CommandKey,
        reply: &'a Reply,
    ) {
        self.appends.push(append);
        self.streams.push(stream);
        self.ids.push(answer_id(tenant, key.principal, &key.key));
        self.tenants.push(tenant);
        self.principals.push(key.principal);
        self.keys.push(&key.key);
        self.fingerprints.push(&key.fingerprint);
        self.statuses.push(i32::from(reply.status));
        self.locations.push(reply.location.as_deref());
        self.bodies.push(reply.body.as_bytes());
    }
}

/// Who appends, as it is stored.
pub(super) fn actor(meta: &Metadata) -> String {
    serde_json::to_string(&meta.actor).expect("an actor is plain data")
}

/// What an answer is stored under.
pub(super) fn answer_id(tenant: Uuid, principal: Uuid, key: &str) -> Uuid {
    Id::<CommandKey>::derived(tenant, &format!("{principal}/{key}")).as_uuid()
}

/// A count in a batch, which has far fewer events than this could not hold.
fn number(count: usize) -> i32 {
    i32::try_from(count).expect("batches are small")
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
