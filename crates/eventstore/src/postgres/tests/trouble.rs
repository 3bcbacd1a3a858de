//! Lost connections, lost answers, contention: each append happens once.

use futures::future::{join, join_all};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};
use uuid::Uuid;

use super::super::LOG;
use super::super::batch::{Batch, Outcome, salts};
use super::{PgEventStore, append, one, part, stream};
use crate::{Append, Appended, CommandKey, EventStore, Expected, Position, Reply, Version};

const WRITERS: u128 = 4;
const APPENDS: u128 = 25;

/// Cuts every other connection to this database.
async fn cut(connection: &mut PgConnection) -> i64 {
    let cut = sqlx::query_scalar(
        "SELECT count(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()) AS cut",
    );
    cut.fetch_one(connection).await.expect("a superuser may")
}

async fn write(store: &PgEventStore, writer: u128) -> Vec<Appended> {
    let mut done = vec![];
    for nth in 0..APPENDS {
        let first = 1_000 * (writer + 1) + 10 * nth;
        let at = Expected::At(Version::try_from(2 * nth).unwrap());
        let own = part(stream(100 + writer), at, first..first + 2);
        let shared = part(stream(1), Expected::Any, [first + 9]);
        done.push(store.append(append([own, shared])).await.expect("survives the cut"));
    }
    done
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn every_append_happens_once_though_connections_are_cut(
    pool_options: PgPoolOptions,
    options: PgConnectOptions,
) {
    let mut killer = PgConnection::connect_with(&options).await.expect("connects");
    let pool = pool_options.connect_with(options).await.expect("connects");
    let store = PgEventStore::new(pool.clone());
    let mut head = store.watch();
    let writing = join_all((0..WRITERS).map(|writer| write(&store, writer)));
    let cutting = async {
        for cut_at in [30, 90, 150, 210] {
            head.wait_for(|head| *head >= cut_at).await.expect("goes on");
            assert!(cut(&mut killer).await > 0, "there was something to cut");
        }
    };
    let (done, ()) = join(writing, cutting).await;
    let mut last: Vec<Position> =
        done.concat().into_iter().map(|done: Appended| done.position).collect();
    last.sort_unstable();

    let total = Position::try_from(WRITERS * APPENDS * 3).unwrap();
    assert_eq!(last, (1..=total / 3).map(|nth| 3 * nth).collect::<Vec<_>>(), "what was answered");
    let rows = store.read(0, 1_000).await.expect("reads");
    assert_eq!(rows.len(), usize::try_from(total).unwrap(), "is what is stored");
    assert_eq!(store.load(stream(1), 0, 1_000).await.expect("loads").len(), 100);
    assert_eq!(*head.wait_for(|head| *head >= total).await.expect("lives"), total);
    drop(store);
    pool.close().await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_connection_that_was_cut_while_idle_goes_unnoticed(
    pool_options: PgPoolOptions,
    options: PgConnectOptions,
) {
    let mut killer = PgConnection::connect_with(&options).await.expect("connects");
    let pool = pool_options
        .idle_timeout(None)
        .test_before_acquire(false)
        .connect_with(options)
        .await
        .expect("connects");
    let store = PgEventStore::new(pool.clone());
    store.append(one(1, Expected::None, [1])).await.expect("appends");
    cut(&mut killer).await;
    assert_eq!(store.load(stream(1), 0, 1_000).await.expect("loads").len(), 1);
    cut(&mut killer).await;
    assert_eq!(store.append(one(1, Expected::At(1), [2])).await.expect("appends").versions, [2]);
    cut(&mut killer).await;
    assert_eq!(store.read(0, 10).await.expect("reads").len(), 2);
    drop(store);
    pool.close().await;
}

/// An append whose answer never arrived is one that was stored and is sent again as it was.
#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn an_append_whose_answer_was_lost_is_recognised(pool: PgPool) {
    let store = PgEventStore::new(pool.clone());
    store.append(one(1, Expected::None, [1])).await.expect("appends");
    let key =
        CommandKey { principal: Uuid::nil(), key: "POST / k".to_owned(), fingerprint: [7; 32] };
    let reply = Reply { status: 200, location: None, body: "{}".to_owned() };
    let lost = Append {
        reply: Some((key, reply)),
        ..append([
            part(stream(1), Expected::Any, [2, 3]),
            part(stream(2), Expected::None, [4]),
            part(stream(1_000), Expected::Any, []),
        ])
    };
    let mut connection = pool.acquire().await.expect("connects");
    let outcomes =
        Batch::of([(&lost, salts(&lost))]).run(LOG, &mut connection).await.expect("appends");
    let [Outcome::Appended(first, _)] = &outcomes[..] else { panic!("{outcomes:?}") };
    store.append(one(1, Expected::At(3), [5])).await.expect("somebody else appends");
    assert_eq!(store.append(lost.clone()).await.expect("is there"), *first);
    assert_eq!(store.append(lost).await.expect("is there"), *first);
    assert_eq!(store.head().await.expect("head"), 5);
}

/// The same append from many callers at once, as when a message is delivered twice.
#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn the_same_append_from_many_at_once_is_stored_once(pool: PgPool) {
    let store = PgEventStore::new(pool);
    for expected in [Expected::Any, Expected::None, Expected::At(0)] {
        let id = match expected {
            Expected::Any => 1,
            Expected::None => 2,
            Expected::At(_) | Expected::Exists => 3,
        };
        let same = one(id, expected, 10 * id..10 * id + 3);
        let done = join_all((0..12).map(|_| store.append(same.clone()))).await;
        let first = done[0].as_ref().expect("appends").clone();
        for done in done {
            assert_eq!(done.expect("appends"), first);
        }
        assert_eq!(store.load(stream(id), 0, 1_000).await.expect("loads").len(), 3);
    }
    assert_eq!(store.head().await.expect("head"), 9);
}
