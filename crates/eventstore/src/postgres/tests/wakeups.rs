//! Waking up: by an announcement, and without one.

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};

use super::super::LOG;
use super::super::batch::{Batch, salts};
use super::super::bell::channel;
use super::{PgEventStore, one};
use crate::{EventStore, Expected};

async fn two(
    pool_options: PgPoolOptions,
    options: PgConnectOptions,
) -> (PgPool, PgEventStore, PgPool, PgEventStore) {
    let mine = pool_options.clone().connect_with(options.clone()).await.expect("connects");
    let theirs = pool_options.connect_with(options).await.expect("connects");
    let (a, b) = (PgEventStore::new(mine.clone()), PgEventStore::new(theirs.clone()));
    (mine, a, theirs, b)
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn appends_are_announced_and_the_newest_stands_for_all(pool: PgPool) {
    let mut listener = PgListener::connect_with(&pool).await.expect("connects");
    listener.listen(&channel(LOG)).await.expect("listens");
    let store = PgEventStore::new(pool);
    store.append(one(1, Expected::None, [1, 2])).await.expect("appends");
    assert_eq!(listener.recv().await.expect("hears").payload(), "2");

    // What follows without a pause is one announcement.
    (3..=500).for_each(|position| store.bell.ring(position));
    assert_eq!(listener.recv().await.expect("hears").payload(), "500");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_process_hears_of_what_another_appends(
    pool_options: PgPoolOptions,
    options: PgConnectOptions,
) {
    let (mine, a, theirs, b) = two(pool_options, options).await;
    let mut heard = b.watch();
    for nth in 0..5 {
        a.append(one(1, Expected::At(nth), [u128::from(nth.unsigned_abs())])).await.unwrap();
        heard.wait_for(|head| *head > nth).await.expect("hears");
        assert_eq!(b.read(nth, 10).await.expect("reads").len(), 1, "what was told is there");
    }
    drop((a, b));
    mine.close().await;
    theirs.close().await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn an_append_that_nobody_announced_is_found(pool: PgPool) {
    let store = PgEventStore::new(pool.clone());
    let mut heard = store.watch();
    assert_eq!(*heard.borrow(), 0);
    let unannounced = one(1, Expected::None, [1]);
    let mut connection = pool.acquire().await.expect("connects");
    Batch::of([(&unannounced, salts(&unannounced))])
        .run(LOG, &mut connection)
        .await
        .expect("appends");
    assert_eq!(*heard.wait_for(|head| *head > 0).await.expect("finds"), 1);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_false_announcement_deceives_nobody(pool: PgPool) {
    let store = PgEventStore::new(pool.clone());
    let mut heard = store.watch();
    sqlx::query("SELECT pg_notify($1, '999')")
        .bind(channel(LOG))
        .execute(&pool)
        .await
        .expect("lies");
    let mut connection = pool.acquire().await.expect("connects");
    let silent = one(1, Expected::None, [1]);
    Batch::of([(&silent, salts(&silent))]).run(LOG, &mut connection).await.expect("appends");
    assert_eq!(*heard.wait_for(|head| *head > 0).await.expect("finds"), 1);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_runs_in_the_background_ends_with_the_store(pool: PgPool) {
    let store = PgEventStore::new(pool.clone());
    let mut heard = store.watch();
    store.append(one(1, Expected::None, [1])).await.expect("appends");
    drop(store);
    while heard.changed().await.is_ok() {}
    pool.close().await;
    assert_eq!(pool.size(), 0, "no connection is held");
}
