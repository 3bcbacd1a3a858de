//! Old events in files: everything goes on as if they were in the table.

use std::fs;

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::documents::ECHO;
use crate::support::{Api, World, eventually, ok};

/// What nobody but Ada is called.
const CANARY: &str = "ada.lovelace@example.com";

/// Makes the first partition end at a position, as if it had been that narrow from the beginning.
async fn end_partition_at(world: &World, last: i64) {
    let part = |name: &str, which: &str, (first, end): (i64, i64)| {
        format!(
            "CREATE TABLE es.{name} (LIKE es.event INCLUDING DEFAULTS);
             CREATE UNIQUE INDEX ON es.{name} (log_id, stream, version, category, tenant);
             INSERT INTO es.{name} SELECT * FROM es.whole WHERE {which};
             ALTER TABLE es.event ATTACH PARTITION es.{name} FOR VALUES FROM ({first}) TO ({end});"
        )
    };
    let sql = format!(
        "BEGIN;
         ALTER TABLE es.event DETACH PARTITION es.event_0000;
         ALTER TABLE es.event_0000 RENAME TO whole;
         {} {}
         CREATE TABLE public.kept AS SELECT salt FROM es.whole WHERE position = 2;
         DROP TABLE es.whole;
         COMMIT;",
        part("event_0000", &format!("position <= {last}"), (1, last + 1)),
        part("event_9000", &format!("position > {last}"), (last + 1, 20_000_001)),
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&world.pool().await).await.expect("is split");
}

/// Some executions, one of them about a person; until all of it is sealed. The workflow, and what the
/// first execution's events are.
async fn history(world: &World, api: &Api) -> (String, String) {
    let echo = api.publish(ECHO).await;
    let first = api.start(&echo, &json!({"n": 0})).await;
    let body = json!({"input": {"to": CANARY}, "subject": CANARY});
    ok(&api.post(&format!("/workflows/{echo}/execute"), &body).await, 202);
    for number in 1..6 {
        api.run(&echo, &json!({"n": number})).await;
    }
    sealed(world).await;
    (echo, format!("{first}/events"))
}

async fn sealed(world: &World) {
    let pool = world.pool().await;
    eventually("the seal", async || {
        let sql = "SELECT n.position = l.position FROM es.notary n JOIN es.log l USING (log_id)";
        sqlx::query_scalar::<_, bool>(sql).fetch_one(&pool).await.expect("asks").then_some(())
    })
    .await;
}

#[tokio::test]
async fn archived_events_serve_executions_queries_replay_and_audit() {
    let world = World::start().await;
    let api = world.api();
    let (echo, events) = history(&world, &api).await;
    let head = world.head().await;
    let told = api.get(&events).await.text;
    let exported = world.exported().await;
    end_partition_at(&world, head - 3).await;

    let dir = tempfile::tempdir().expect("a directory");
    let to = dir.path().to_str().expect("a path");
    let before = head.to_string();
    let done = world.run(&["log", "archive", "--before", &before, "--to", to]).await;
    assert_eq!(done.code, 0, "{done:?}");
    let listed = world.run(&["log", "list", "--output", "json"]).await;
    let listed: Value = serde_json::from_str(&listed.out).expect("JSON");
    let path = listed["items"][0]["path"].as_str().expect("a file").to_owned();
    assert_eq!(listed["items"][0]["last"], head - 3, "{listed}");
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM es.event WHERE position <= $1")
        .bind(head - 3)
        .fetch_one(&world.pool().await)
        .await
        .expect("counts");
    assert_eq!(left, 0, "they have left the table");

    assert_eq!(api.get(&events).await.text, told);
    assert_eq!(api.run(&echo, &json!({"n": 9})).await["status"], "completed");
    sealed(&world).await;
    assert_eq!(world.exported().await[..exported.len()], exported);
    for args in [&["audit", "verify", "--live"][..], &["replay", "--verify"], &["replay"]] {
        let done = world.run(args).await;
        assert_eq!(done.code, 0, "{args:?}: {done:?}");
    }
    let id = exported[1]["id"].as_str().expect("an id");
    let proof = world.run(&["audit", "proof", id]).await;
    assert_eq!(proof.code, 0, "{proof:?}");
    let erased = world.run(&["subject", "erase", CANARY]).await;
    assert_eq!(erased.code, 0, "{erased:?}");
    eventually("the erasure", async || {
        let all = world.run(&["replay", "--to", "ndjson"]).await;
        (all.code == 0 && !all.out.contains(CANARY)).then_some(())
    })
    .await;

    // A file that changed is not the log; one that is gone for a while is waited for.
    let whole = fs::read(&path).expect("reads");
    let mut other = whole.clone();
    let salt: Vec<u8> = sqlx::query_scalar("SELECT salt FROM public.kept")
        .fetch_one(&world.pool().await)
        .await
        .expect("the salt of an event");
    // Chance does not compress, so it stands there as it is.
    let at = whole.windows(salt.len()).position(|bytes| bytes == salt).expect("stands in it");
    other[at] ^= 1;
    fs::write(&path, other).expect("writes");
    let done = world.run(&["audit", "verify", "--live"]).await;
    assert_eq!(done.code, 8, "{done:?}");
    fs::remove_file(&path).expect("removes");
    let done = world.run(&["audit", "verify", "--live"]).await;
    assert!(done.code == 1 && done.err.contains(&path), "{done:?}");
    fs::write(&path, whole).expect("writes");
    let done = world.run(&["audit", "verify", "--live"]).await;
    assert_eq!(done.code, 0, "{done:?}");
}
