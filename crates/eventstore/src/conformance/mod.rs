//! What every [`EventStore`] must do; run against each implementation.

mod appending;
mod executing;
mod fencing;
mod following;
mod reading;
mod snapshots;
mod tally;

use domain::scenario::NOON;
use domain::{Actor, Id, Tenant};
use uuid::Uuid;

use crate::{
    Append, CommandKey, Draft, EventStore, Expected, Metadata, Reply, StreamAppend, StreamId,
};

/// Runs the whole suite on a migrated store that nobody else uses.
///
/// # Panics
/// If the store does not conform.
pub async fn check(store: &dyn EventStore) {
    reading::an_empty_log_is_empty(store).await;
    appending::check(store).await;
    reading::check(store).await;
    following::check(store).await;
    executing::check(store).await;
    fencing::check(store).await;
    snapshots::check(store).await;
}

/// A tenant by number: each test has its own, and so its own streams.
fn tenant(nth: u128) -> Id<Tenant> {
    Id::from_uuid(Uuid::from_u128(0xe0_0000 + nth))
}

fn meta(tenant: Id<Tenant>) -> Metadata {
    Metadata {
        tenant,
        actor: Actor::ApiKey(Uuid::from_u128(3)),
        correlation: Uuid::from_u128(4),
        causation: Uuid::from_u128(5),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        at: NOON,
    }
}

fn stream(tenant: Id<Tenant>, id: u128) -> StreamId {
    StreamId { tenant, category: "thing", id: Uuid::from_u128(id) }
}

/// Drafts whose ids are these numbers.
fn things(ids: impl IntoIterator<Item = u128>) -> Vec<Draft> {
    let draft = |id| Draft {
        id: Uuid::from_u128(id),
        name: "thing.happened".to_owned(),
        schema: 1,
        body: format!(r#"{{"id":{id},"text":"\u0000 and \"ü\""}}"#),
        opened: None,
        fact: None,
    };
    ids.into_iter().map(draft).collect()
}

fn part(stream: StreamId, expected: Expected, events: Vec<Draft>) -> StreamAppend {
    StreamAppend { stream, expected, subject: None, events }
}

fn append(tenant: Id<Tenant>, streams: impl IntoIterator<Item = StreamAppend>) -> Append {
    Append { meta: meta(tenant), streams: streams.into_iter().collect(), reply: None, fence: None }
}

fn one(stream: StreamId, expected: Expected, ids: impl IntoIterator<Item = u128>) -> Append {
    append(stream.tenant, [part(stream, expected, things(ids))])
}

fn key(name: &str, fingerprint: u8) -> CommandKey {
    CommandKey {
        principal: Uuid::from_u128(6),
        key: name.to_owned(),
        fingerprint: [fingerprint; 32],
    }
}

fn reply(body: &str) -> Reply {
    Reply { status: 201, location: Some("/things/1".to_owned()), body: body.to_owned() }
}
