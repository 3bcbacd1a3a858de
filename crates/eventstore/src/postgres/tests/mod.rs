//! The log on a real Postgres: what the conformance suite cannot see.

mod agreement;
mod archiving;
mod following;
mod groups;
mod integrity;
mod remembering;
mod rights;
mod trouble;
mod wakeups;

use domain::scenario::NOON;
use domain::{Actor, Id, Tenant};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, PgPool};
use uuid::Uuid;

use super::PgEventStore;
use crate::{
    Append, Draft, Expected, Metadata, Role, StreamAppend, StreamId, conformance, connect,
};

pub(crate) fn stream(id: u128) -> StreamId {
    let tenant: Id<Tenant> = Id::from_uuid(Uuid::from_u128(1));
    StreamId { tenant, category: "thing", id: Uuid::from_u128(id) }
}

pub(super) fn part(
    stream: StreamId,
    expected: Expected,
    ids: impl IntoIterator<Item = u128>,
) -> StreamAppend {
    let draft = |id| Draft {
        id: Uuid::from_u128(id),
        name: "thing.happened".to_owned(),
        schema: 1,
        body: r#"{"text":"\u0000\\u0000"}"#.to_owned(),
        opened: None,
        fact: None,
    };
    StreamAppend { stream, expected, subject: None, events: ids.into_iter().map(draft).collect() }
}

pub(super) fn append(streams: impl IntoIterator<Item = StreamAppend>) -> Append {
    let meta = Metadata {
        tenant: stream(0).tenant,
        actor: Actor::System,
        correlation: Uuid::nil(),
        causation: Uuid::nil(),
        traceparent: None,
        at: NOON,
    };
    Append { meta, streams: streams.into_iter().collect(), reply: None, fence: None }
}

pub(crate) fn one(id: u128, expected: Expected, ids: impl IntoIterator<Item = u128>) -> Append {
    append([part(stream(id), expected, ids)])
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn conforms(pool: PgPool) {
    conformance::check(&PgEventStore::new(pool)).await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_store_that_keeps_the_newest_events_behaves_like_any_other(pool: PgPool) {
    conformance::check(&PgEventStore::new(pool).for_followers()).await;
}

async fn conforms_as(role: Role, options: PgConnectOptions) {
    let pool = connect(options.to_url_lossy().as_str(), role, 5).await.expect("connects");
    conformance::check(&PgEventStore::new(pool.clone())).await;
    pool.close().await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn conforms_with_the_rights_of_commands(_: PgPoolOptions, options: PgConnectOptions) {
    conforms_as(Role::Command, options).await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn conforms_with_the_rights_of_workers(_: PgPoolOptions, options: PgConnectOptions) {
    conforms_as(Role::Worker, options).await;
}
