//! What a process has stored it remembers as it will be read by everybody.

use chrono::TimeDelta;
use domain::scenario::NOON;
use futures::future::join_all;
use sqlx::PgPool;
use uuid::Uuid;

use super::{PgEventStore, append, one, part, stream};
use crate::{Append, EventStore, Expected, Metadata, Recalled, Recorded};

/// An append of three events to two streams, with everything that an event can have.
fn rich(id: u128) -> Append {
    let streams = [
        part(stream(id), Expected::None, [10 * id, 10 * id + 1]),
        part(stream(id + 1_000), Expected::Any, [10 * id + 2]),
    ];
    let plain = append(streams);
    let meta = Metadata {
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
        correlation: Uuid::from_u128(id),
        // Finer than what is kept.
        at: NOON + TimeDelta::nanoseconds(1_001),
        ..plain.meta
    };
    Append { meta, ..plain }
}

/// A store that has appended the first event of a stream, to which another process then added one.
async fn with_an_event_of_another(pool: &PgPool) -> PgEventStore {
    let (log, other) =
        (PgEventStore::new(pool.clone()).for_followers(), PgEventStore::new(pool.clone()));
    log.append(one(1, Expected::None, [1])).await.expect("appends");
    other.append(one(1, Expected::At(1), [2])).await.expect("appends");
    log
}

fn told(events: &[Recorded]) -> String {
    format!("{events:#?}")
}

async fn recalled(log: &PgEventStore, id: u128) -> Option<Recalled> {
    log.recall(stream(id), 0).await.expect("never asks")
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_is_remembered_is_what_was_stored(pool: PgPool) {
    let (log, plain) =
        (PgEventStore::new(pool.clone()).for_followers(), PgEventStore::new(pool.clone()));
    log.append(rich(1)).await.expect("appends alone");
    let many = join_all((2..200).map(|id| log.append(rich(id)))).await;
    assert!(many.iter().all(Result::is_ok), "{many:?}");
    let stored = plain.read(0, 1_000).await.expect("reads");
    assert_eq!(stored.len(), 3 * 199);
    for id in (1..200).flat_map(|id| [id, id + 1_000]) {
        let Recalled { events, upto } = recalled(&log, id).await.expect("it is remembered");
        let read = plain.load(stream(id), 0, 10).await.expect("loads");
        assert_eq!(told(&events), told(&read));
        assert_eq!(usize::try_from(upto), Ok(stored.len()));
    }
    assert_eq!(told(&log.read(0, 1_000).await.expect("reads")), told(&stored));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn nothing_is_recalled_while_something_is_known_to_be_there_and_was_not_read(pool: PgPool) {
    let log = with_an_event_of_another(&pool).await;
    log.append(one(2, Expected::None, [3])).await.expect("appends");
    assert!(recalled(&log, 1).await.is_none(), "what is not known may be of any stream");
    assert!(recalled(&log, 2).await.is_none(), "it stands behind what is not known");
    log.read(0, 10).await.expect("reads");
    let Recalled { events, upto } = recalled(&log, 1).await.expect("all is known");
    assert_eq!((events.len(), upto), (2, 3));
    assert!(recalled(&log, 2).await.is_some());
}

/// Sent again, such as over a connection that was lost: nobody knows where it stands.
#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_was_stored_before_is_not_remembered_and_neither_is_what_it_belongs_to(pool: PgPool) {
    let log = with_an_event_of_another(&pool).await;
    log.append(one(1, Expected::At(1), [2])).await.expect("it is there already");
    assert!(recalled(&log, 1).await.is_none());
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_the_database_has_lost_is_not_told_from_memory(pool: PgPool) {
    let log = PgEventStore::new(pool.clone()).for_followers();
    for id in 1..=3 {
        log.append(one(id, Expected::None, [id])).await.expect("appends");
    }
    let lose = "UPDATE es.log SET position = 2";
    sqlx::query(lose).execute(&pool).await.expect("as its owner");
    assert_eq!(log.read(0, 10).await.expect("reads").len(), 2);
}
