//! Values that are kept apart from the events that say them.

use domain::personal::INLINE_LIMIT;
use futures::future::join_all;

use super::*;
use crate::{Filter, Position, Recorded, fitting};

/// A value of some hundred kilobytes that has every sort of character.
fn document(seed: usize) -> Value {
    let text = "\"Ångström\" \\ 東京 {\"$personal\":[1]} \u{1}";
    json!({ "seed": seed, "text": text.repeat(5_000) })
}

async fn stored(pool: &PgPool) -> Vec<Recorded> {
    PgEventStore::new(pool.clone()).read(0, 1_000).await.expect("reads")
}

fn of<'a>(rows: &'a [Recorded], category: &'a str) -> impl Iterator<Item = &'a Recorded> {
    rows.iter().filter(move |row| row.category == category)
}

fn streams(rows: &[Recorded]) -> usize {
    let streams: std::collections::BTreeSet<_> =
        of(rows, "payload").map(|row| row.stream).collect();
    streams.len()
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_large_value_is_kept_once_however_many_events_say_it(pool: PgPool) {
    let store = sealed(&pool);
    for id in 1..=3 {
        let done = store.append(said(id, None, document(1))).await.expect("appends");
        assert_eq!(done.versions, [1], "only what was asked for is told");
    }
    store.append(said(4, None, json!([document(1), "more"]))).await.expect("appends");
    store.append(said(5, None, json!("small"))).await.expect("appends");
    let rows = stored(&pool).await;
    assert_eq!(streams(&rows), 2);
    assert!(of(&rows, "execution").all(|row| row.body.get().len() < 1_024), "events are small");
    for id in 1..=3 {
        assert_eq!(output(&store, id).await.known(), Some(&document(1)));
    }
    assert_eq!(output(&store, 4).await.known(), Some(&json!([document(1), "more"])));
    assert_eq!(output(&store, 5).await.known(), Some(&json!("small")));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn whoever_reads_gets_large_values_with_their_events(pool: PgPool) {
    let store = sealed(&pool);
    store.append(said(1, None, document(1))).await.expect("appends");
    store.append(said(2, None, document(2))).await.expect("appends");
    let executions = Filter { tenant: Some(tenant()), categories: Some(vec!["execution"]) };
    let read = store.read(0, 1_000).await.expect("reads");
    let selected = store.select(&executions, 0, 10).await.expect("reads").events;
    for rows in [&read, &selected] {
        let mut seeds = vec![];
        for row in of(rows, "execution") {
            let data: Value = serde_json::from_str(&row.data()).expect("is JSON");
            let seed = data["output"]["$personal"][0]["seed"].as_u64().expect("a number");
            assert_eq!(data["output"]["$personal"][0], document(usize::try_from(seed).unwrap()));
            assert!(row.size() > 150_000);
            seeds.push(seed);
        }
        assert_eq!(seeds, [1, 2]);
    }
    // No more than a few megabytes are decoded at once.
    let many: Vec<Recorded> = selected.iter().cycle().take(100).cloned().collect();
    assert!((10..50).contains(&fitting(&many)), "{}", fitting(&many));
    assert_eq!(fitting(&selected[..1]), 1);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn many_who_say_the_same_large_value_at_once_all_do(pool: PgPool) {
    let stores = [sealed(&pool), sealed(&pool)];
    let appends = (1..=16).map(|id| {
        let store = &stores[usize::try_from(id % 2).expect("fits")];
        store.append(said(id, None, document(1)))
    });
    for done in join_all(appends).await {
        done.expect("appends");
    }
    assert_eq!(streams(&stored(&pool).await), 1);
    for id in 1..=16 {
        assert_eq!(output(&stores[0], id).await.known(), Some(&document(1)));
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_large_value_that_is_said_again_is_the_same_append(pool: PgPool) {
    let store = sealed(&pool);
    let first = store.append(said(1, None, document(1))).await.expect("appends");
    let again = store.append(said(1, None, document(1))).await.expect("is the same");
    assert_eq!(again.versions, first.versions);
    let other = store.append(said(1, None, document(2))).await;
    assert!(
        matches!(other, Err(Error::Conflict { stream: of, .. }) if of == stream(1)),
        "{other:?}"
    );
    assert_eq!(streams(&stored(&pool).await), 1, "nothing is left of what was refused");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_large_value_goes_with_the_key_of_whom_it_is_about(pool: PgPool) {
    let (store, keys) = (sealed(&pool), keyring(&pool));
    let ada = keys.subject(tenant(), "ada").await.expect("is made");
    store.append(said(1, Some(ada), document(1))).await.expect("appends");
    store.append(said(2, None, document(1))).await.expect("appends");
    let rows = stored(&pool).await;
    assert_eq!(streams(&rows), 2, "what two people say has two names");
    assert!(rows.iter().all(|row| !row.body.get().contains("ngstr")));
    erase(&store, &keys, ada).await;
    store.append(said(3, Some(ada), document(1))).await.expect("appends");
    // Whoever has no key drops what an event could not hold.
    let more = json!("x".repeat(300_000));
    sealed(&pool).append(said(4, Some(ada), more)).await.expect("appends");
    for store in [&store, &sealed(&pool)] {
        store.read(0, 1_000).await.expect("reads");
        for id in [1, 3, 4] {
            assert_eq!(output(store, id).await.known(), None);
        }
        assert_eq!(output(store, 2).await.known(), Some(&document(1)));
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn the_largest_value_in_one_piece_and_the_smallest_in_two(pool: PgPool) {
    let store = sealed(&pool);
    for (id, size) in [(1, INLINE_LIMIT - 2), (2, INLINE_LIMIT - 1), (3, 120 << 10), (4, 4 << 20)] {
        let value = json!("\"".repeat(size / 2));
        store.append(said(id, None, value.clone())).await.expect("appends");
        assert_eq!(output(&store, id).await.known(), Some(&value), "{size}");
    }
    assert!(streams(&stored(&pool).await) >= 2);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_piece_that_is_lost_is_noticed(pool: PgPool) {
    let store = sealed(&pool);
    store.append(said(1, None, document(1))).await.expect("appends");
    let rows = stored(&pool).await;
    let last: Position = of(&rows, "payload").map(|row| row.position).max().expect("has pieces");
    for (which, what) in [("= $1", "a piece"), ("<= $1", "all pieces")] {
        let delete =
            format!("DELETE FROM es.event WHERE category = 'payload' AND position {which}");
        let delete = delete.replace("$1", &last.to_string());
        let sql = format!(
            "SET session_replication_role = replica; {delete}; RESET session_replication_role"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&pool).await.expect("the owner may");
        let read = store.load(stream(1), 0, 1_000).await;
        let read = read.and_then(|rows| fact(&rows[0]));
        assert!(matches!(read, Err(Error::Damaged(_) | Error::Decode { .. })), "{what}: {read:?}");
    }
}
