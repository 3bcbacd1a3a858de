//! The promises of the log, seen from below: gapless, unique, and loud when they are broken.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{PgEventStore, append, one, part, stream};
use crate::{Error, EventStore, Expected, Position, Version};

const WRITERS: u128 = 8;
const APPENDS: u128 = 40;

/// Appends to a stream of its own and to one that all writers share; tells the ids.
async fn write(store: Arc<PgEventStore>, writer: u128) -> Vec<Uuid> {
    let mut ids = vec![];
    for nth in 0..APPENDS {
        let first = 1_000_000 * (writer + 1) + 10 * nth;
        let many = 1 + nth % 4;
        let own = part(stream(100 + writer), Expected::Any, first..first + many);
        let shared = part(stream(1), Expected::Any, [first + 9]);
        ids.extend(own.events.iter().chain(&shared.events).map(|draft| draft.id));
        store.append(append([own, shared])).await.expect("appends");
    }
    ids
}

/// Reads the log as it grows, until the writers are done and its end is reached.
async fn follow(store: Arc<PgEventStore>, writing: Arc<AtomicUsize>) -> Vec<(Position, Uuid)> {
    let mut seen: Vec<(Position, Uuid)> = vec![];
    loop {
        let over = writing.load(Ordering::SeqCst) == 0;
        let after = seen.last().map_or(0, |(position, _)| *position);
        let rows = store.read(after, 7).await.expect("reads");
        if rows.is_empty() && over {
            return seen;
        }
        seen.extend(rows.iter().map(|row| (row.position, row.id)));
        tokio::task::yield_now().await;
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_reader_misses_nothing_that_writers_of_two_processes_append(
    pool_options: PgPoolOptions,
    options: PgConnectOptions,
) {
    let mut stores = vec![];
    for _ in 0..2 {
        let pool = pool_options.clone().connect_with(options.clone()).await.expect("connects");
        stores.push(Arc::new(PgEventStore::new(pool)));
    }
    let writing = Arc::new(AtomicUsize::new(8));
    let follower = tokio::spawn(follow(Arc::clone(&stores[0]), Arc::clone(&writing)));
    let mut writers = JoinSet::new();
    for (writer, store) in (0..WRITERS).zip(stores.iter().cycle()) {
        let (store, writing) = (Arc::clone(store), Arc::clone(&writing));
        writers.spawn(async move {
            let ids = write(store, writer).await;
            writing.fetch_sub(1, Ordering::SeqCst);
            ids
        });
    }
    let appended: BTreeSet<Uuid> = writers.join_all().await.concat().into_iter().collect();
    let seen = follower.await.expect("follows");

    let positions: Vec<_> = seen.iter().map(|(position, _)| *position).collect();
    assert_eq!(positions, (1..).take(appended.len()).collect::<Vec<_>>());
    assert_eq!(seen.into_iter().map(|(_, id)| id).collect::<BTreeSet<_>>(), appended);
    let versions = stores[1].load(stream(1), 0, 1_000).await.expect("loads").len();
    assert_eq!(u128::try_from(versions).unwrap(), WRITERS * APPENDS);
    for store in stores {
        store.pool.close().await;
    }
}

/// As a superuser who goes round the triggers, as a bad disk or a bad restore would.
async fn tamper(pool: &PgPool, statement: &'static str) {
    let mut connection = pool.acquire().await.expect("connects");
    for statement in
        ["SET session_replication_role = replica", statement, "RESET session_replication_role"]
    {
        sqlx::query(statement).execute(&mut *connection).await.expect("tampers");
    }
}

async fn damaged(pool: PgPool, statement: &'static str) -> PgEventStore {
    let store = PgEventStore::new(pool.clone());
    store.append(one(1, Expected::None, 1..=5)).await.expect("appends");
    tamper(&pool, statement).await;
    store
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_hole_in_the_log_stops_its_readers(pool: PgPool) {
    let store = damaged(pool, "DELETE FROM es.event WHERE position = 3").await;
    assert_eq!(store.read(0, 2).await.expect("is whole").len(), 2);
    for (after, limit) in [(0, 3), (0, 10), (2, 1), (1, 3)] {
        let read = store.read(after, limit).await;
        assert!(matches!(read, Err(Error::Damaged(_))), "{after} {limit}: {read:?}");
    }
    let loaded = store.load(stream(1), 0, 1_000).await;
    assert!(matches!(loaded, Err(Error::Damaged(_))), "{loaded:?}");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_lost_end_of_the_log_stops_its_readers(pool: PgPool) {
    let store = damaged(pool, "DELETE FROM es.event WHERE position > 3").await;
    for (after, limit) in [(0, 10), (3, 10), (4, 1)] {
        let read = store.read(after, limit).await;
        assert!(matches!(read, Err(Error::Damaged(_))), "{after} {limit}: {read:?}");
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_garbled_body_stops_its_readers(pool: PgPool) {
    let store = damaged(pool, "UPDATE es.event SET body = 'garbled' WHERE position = 3").await;
    let read = store.read(0, 10).await;
    assert!(matches!(read, Err(Error::Damaged(_))), "{read:?}");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn the_database_itself_keeps_positions_and_versions_unique(pool: PgPool) {
    let store = PgEventStore::new(pool.clone());
    store.append(one(1, Expected::None, 1..=2)).await.expect("appends");
    let copy = |position: &'static str| {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "INSERT INTO es.event (position, version, at, schema, log_id, tenant, stream, id,
                 correlation, causation, category, name, actor, salt, body)
             SELECT {position}, version, at, schema, log_id, tenant, stream, id,
                 correlation, causation, category, name, actor, salt, body
             FROM es.event WHERE position = 2"
        )))
    };
    for position in ["2", "3"] {
        let error = copy(position).execute(&pool).await.expect_err("is there already");
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        assert_eq!(code.as_deref(), Some("23505"), "at {position}: {error}");
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn an_append_may_cross_into_the_next_partition(pool: PgPool) {
    const WIDTH: Position = 20_000_000;
    let store = PgEventStore::new(pool.clone());
    assert_eq!(store.make_partitions().await.expect("makes"), 0, "the first are there");
    sqlx::query("UPDATE es.log SET position = $1")
        .bind(4 * WIDTH - 2)
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(store.make_partitions().await.expect("makes"), 3, "up to 60 million ahead");
    assert_eq!(store.make_partitions().await.expect("makes"), 0);

    let done = store.append(one(1, Expected::None, 1..=4)).await.expect("appends");
    assert_eq!(done.position, 4 * WIDTH + 2);
    let rows = store.read(4 * WIDTH - 2, 10).await.expect("reads");
    assert_eq!(rows.iter().map(|row| row.version).collect::<Vec<Version>>(), [1, 2, 3, 4]);
    assert_eq!(store.load(stream(1), 1, 1_000).await.expect("loads").len(), 3);
    let again = store.append(one(1, Expected::None, 1..=4)).await.expect("is there");
    assert_eq!(again, done);

    assert_eq!(store.make_partitions().await.expect("makes"), 1, "the end has moved on");
    let archive = "ALTER TABLE es.event DETACH PARTITION es.event_0000; DROP TABLE es.event_0000";
    sqlx::raw_sql(archive).execute(&pool).await.unwrap();
    assert_eq!(store.make_partitions().await.expect("makes"), 0, "what is gone is not made anew");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn people_can_ask_for_events_as_json(pool: PgPool) {
    let store = PgEventStore::new(pool.clone());
    store.append(one(1, Expected::None, [1])).await.expect("appends");
    let row: (String, String, String) =
        sqlx::query_as("SELECT name, actor #>> '{}', body ->> 'text' FROM es.event_json")
            .fetch_one(&pool)
            .await
            .expect("reads");
    let expected = ("thing.happened", "system", "\u{fffd}\\u0000");
    assert_eq!((row.0.as_str(), row.1.as_str(), row.2.as_str()), expected);
}
