//! What a process remembers of what it stored: opened, but not for longer than anybody may open it.

use domain::Fact;
use serde_json::json;
use sqlx::PgPool;

use super::*;
use crate::Recorded;

fn remembering(pool: &PgPool, keys: Arc<Keyring>) -> Sealed<PgEventStore> {
    Sealed::new(PgEventStore::new(pool.clone()).for_followers(), keys)
}

/// An append that says what it says also as a fact, as commands do.
fn remarked(id: u128, subject: Option<Id<Subject>>) -> Append {
    let mut append = said(id, subject, json!(CANARY));
    let draft = &mut append.streams[0].events[0];
    let event = Event::Completed { output: Personal::from(json!(CANARY)), parent: None };
    draft.fact = Some(Arc::new(Fact::Execution(event)));
    append
}

/// What is told of an event of a stream, without a question to the database.
async fn recalled(store: &dyn EventStore, id: u128) -> Option<Recorded> {
    let recalled = store.recall(stream(id), 0).await.expect("recalls");
    recalled.and_then(|mut recalled| recalled.events.pop())
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_log_that_remembers_and_seals_is_a_log_like_any_other(pool: PgPool) {
    conformance::check(&remembering(&pool, keyring(&pool))).await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_was_stored_here_need_neither_be_opened_nor_read(pool: PgPool) {
    let (store, keys) = (remembering(&pool, keyring(&pool)), keyring(&pool));
    let ada = keys.subject(tenant(), "ada").await.expect("is made");
    store.append(remarked(1, Some(ada))).await.expect("appends");
    let row = recalled(&store, 1).await.expect("is remembered");
    let read = sealed(&pool).load(stream(1), 0, 10).await.expect("loads").remove(0);
    assert_eq!((row.data(), row.body.get()), (read.data(), read.body.get()));
    assert!(row.fact.is_some() && read.fact.is_none());
    assert_eq!(fact(&row).expect("is there"), fact(&read).expect("reads"));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn nothing_is_told_from_memory_once_the_key_is_gone(pool: PgPool) {
    let keys = keyring(&pool);
    let store = remembering(&pool, keys.clone());
    let ada = keys.subject(tenant(), "ada").await.expect("is made");
    store.append(remarked(1, Some(ada))).await.expect("appends");
    keys.destroy(tenant(), ada).await.expect("is destroyed");
    let row = recalled(&store, 1).await.expect("is remembered");
    assert!(!row.data().contains("Ada") && row.fact.is_none(), "{row:?}");
    assert!(output(&store, 1).await.is_erased());
    store.append(remarked(2, Some(ada))).await.expect("appends");
    let row = recalled(&store, 2).await.expect("is remembered");
    assert!(!row.data().contains("Ada") && row.fact.is_none(), "{row:?}");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn an_erasure_takes_what_was_said_out_of_memory(pool: PgPool) {
    let store = remembering(&pool, keyring(&pool));
    let keys = keyring(&pool);
    let ada = keys.subject(tenant(), "ada").await.expect("is made");
    store.append(remarked(1, Some(ada))).await.expect("appends");
    assert!(recalled(&store, 1).await.is_some());
    // The key is destroyed by another process.
    erase(&store, &keys, ada).await;
    let memory = store.log.recall(stream(1), 0).await.expect("recalls");
    assert!(memory.is_none(), "{memory:?}");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn large_values_do_not_stay_in_memory(pool: PgPool) {
    let (store, keys) = (remembering(&pool, keyring(&pool)), keyring(&pool));
    let ada = keys.subject(tenant(), "ada").await.expect("is made");
    let mut append = remarked(1, Some(ada));
    let large = json!({"output": {"$personal": ["x".repeat(20_000)]}, "parent": null});
    append.streams[0].events[0].body = large.to_string();
    store.append(append).await.expect("appends");
    let row = recalled(&store, 1).await.expect("is remembered");
    assert!(row.fact.is_none() && row.data().len() > 20_000);
    let kept = store.log.recall(stream(1), 0).await.expect("recalls").expect("is remembered");
    assert!(kept.events[0].size() < 1_000);
    let rows = store.log.read(0, 10).await.expect("reads");
    let pieces: Vec<_> = rows.iter().filter(|row| row.category == "payload").collect();
    assert!(!pieces.is_empty() && pieces.iter().all(|piece| piece.opened.is_none()));
}
