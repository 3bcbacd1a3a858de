//! Many callers, one transaction: nobody pays for a neighbour.

use std::sync::Arc;

use futures::future::join_all;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use uuid::Uuid;

use super::{PgEventStore, one};
use crate::{Append, CommandKey, Error, EventStore, Expected, Position, Reply};

/// How many transactions this database has committed that wrote to the log.
async fn groups(pool: &PgPool) -> i64 {
    let calls = sqlx::query_scalar("SELECT count(DISTINCT xmin::text) FROM es.event");
    calls.fetch_one(pool).await.expect("counts")
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn callers_at_the_same_time_share_transactions(pool: PgPool) {
    let store = Arc::new(PgEventStore::new(pool.clone()));
    let appends = (1..=200).map(|id| store.append(one(id, Expected::None, [id])));
    let mut positions: Vec<Position> =
        join_all(appends).await.into_iter().map(|done| done.expect("appends").position).collect();
    positions.sort_unstable();
    assert_eq!(positions, (1..=200).collect::<Vec<_>>());
    let groups = groups(&pool).await;
    assert!(groups < 20, "200 appends took {groups} transactions");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_conflict_leaves_its_neighbours_alone(pool: PgPool) {
    let store = PgEventStore::new(pool);
    store.append(one(1, Expected::None, [1_001])).await.expect("appends");
    let appends = (1..=50).map(|id| store.append(one(id, Expected::None, [id])));
    let done = join_all(appends).await;
    assert!(matches!(&done[0], Err(Error::Conflict { actual: 1, .. })), "{:?}", done[0]);
    assert!(done[1..].iter().all(Result::is_ok));
    assert_eq!(store.head().await.expect("head"), 50);
}

/// What the database itself refuses: here a position that is taken, as after a bad restore.
#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn data_that_the_database_refuses_fails_alone(pool: PgPool) {
    let store = PgEventStore::new(pool);
    let mut bad = one(25, Expected::None, [25]);
    // Postgres keeps no NUL in a text; no event of ours has such a name.
    bad.streams[0].events[0].name = "thing\0happened".to_owned();
    let appends = (1..=50).map(|id| {
        let append = if id == 25 { bad.clone() } else { one(id, Expected::None, [id]) };
        store.append(append)
    });
    let done = join_all(appends).await;
    let failed: Vec<usize> =
        (0..).zip(&done).filter(|(_, done)| done.is_err()).map(|(nth, _)| nth).collect();
    assert_eq!(failed, [24]);
    assert!(matches!(done[24], Err(Error::Database(_))), "{:?}", done[24]);
    assert_eq!(store.head().await.expect("head"), 49);
}

/// Each statement of the append names one table, with the log as a constant, and joins it with
/// nothing but arrays: what a distributed Postgres can send to where the log is.
#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn every_statement_of_an_append_can_be_routed_by_its_log(pool: PgPool) {
    for (function, expected) in [("append", 9), ("append_one", 9)] {
        let body: String = sqlx::query_scalar(
            "SELECT prosrc FROM pg_proc WHERE proname = $1 ORDER BY pronargs DESC LIMIT 1",
        )
        .bind(function)
        .fetch_one(&pool)
        .await
        .expect("is there");
        let mut statements = 0;
        for statement in body.split(';') {
            let tables = statement.matches(" es.").count();
            assert!(tables <= 1, "more than one table: {statement}");
            if tables == 0 {
                continue;
            }
            statements += 1;
            let inserts = statement.contains("INSERT INTO");
            let routed = if inserts { "p_log" } else { "log_id = p_log" };
            assert!(statement.contains(routed), "without its log: {statement}");
            assert!(!statement.contains("LATERAL"), "correlated: {statement}");
        }
        assert_eq!(statements, expected, "all statements of {function} were looked at");
    }
}

/// What is sent the short way and refused there is judged like everything else, and leaves nothing.
#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_lonely_append_that_is_refused_leaves_the_log_as_it_was(pool: PgPool) {
    let store = PgEventStore::new(pool.clone());
    let row = async || {
        let row = sqlx::query_scalar::<_, String>("SELECT ctid::text FROM es.log");
        row.fetch_one(&pool).await.expect("is there")
    };
    let keyed = |id, key: &str, fingerprint| Append {
        reply: Some((
            CommandKey { principal: Uuid::nil(), key: key.to_owned(), fingerprint },
            Reply { status: 201, location: None, body: "{}".to_owned() },
        )),
        ..one(id, Expected::None, [id])
    };
    let first = store.append(keyed(1, "a", [1; 32])).await.expect("appends");
    let written = row().await;
    assert_eq!(store.append(keyed(1, "a", [1; 32])).await.expect("is the same"), first);
    let used = store.append(keyed(2, "a", [2; 32])).await;
    assert!(matches!(used, Err(Error::KeyUsed)), "{used:?}");
    let stale = store.append(keyed(1, "b", [1; 32])).await;
    assert!(matches!(stale, Err(Error::Conflict { actual: 1, .. })), "{stale:?}");
    for expected in [Expected::None, Expected::At(2), Expected::At(7)] {
        let conflict = store.append(one(1, expected, [9])).await;
        assert!(matches!(conflict, Err(Error::Conflict { actual: 1, .. })), "{conflict:?}");
    }
    assert_eq!(store.head().await.expect("head"), 1);
    assert_eq!(row().await, written, "nothing was written");
    let next = store.append(one(1, Expected::At(1), [9])).await.expect("appends");
    assert_eq!((next.position, next.versions), (2, vec![2]));
    assert_eq!(store.read(0, 10).await.expect("reads").len(), 2);
}

/// Two processes on one log take turns.
#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn processes_share_a_log(pool_options: PgPoolOptions, options: PgConnectOptions) {
    let mut pools = vec![];
    for _ in 0..2 {
        pools.push(pool_options.clone().connect_with(options.clone()).await.expect("connects"));
    }
    let stores: Vec<_> = pools.iter().map(|pool| PgEventStore::new(pool.clone())).collect();
    let write = async |store: &PgEventStore, from: u128| {
        for nth in 0..40 {
            let same_moment = (0..5).map(|caller| {
                let id = from + 5 * nth + caller;
                store.append(one(id, Expected::None, [id]))
            });
            for done in join_all(same_moment).await {
                done.expect("appends");
            }
        }
    };
    futures::future::join(write(&stores[0], 1_000), write(&stores[1], 2_000)).await;
    let rows = stores[0].read(0, 1_000).await.expect("reads");
    assert_eq!(rows.len(), 400);
    drop(stores);
    for pool in pools {
        pool.close().await;
    }
}
