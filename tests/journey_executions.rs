//! Executions over HTTP: started, waited for, looked at, listed, cancelled; and why they wait.

use std::collections::BTreeSet;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::documents::{CALLER, ECHO, FAULTY, MIXED, SLEEPER};
use crate::support::{Stub, World, eventually, ok};

#[tokio::test]
async fn an_execution_that_ends_within_the_wait_comes_back_whole() {
    let world = World::start().await;
    let api = world.api();
    let id = api.publish(ECHO).await;
    let done = api.run(&id, &json!({"a": [1, 2.5, "ü"]})).await;
    assert_eq!(done["status"], "completed");
    assert_eq!(done["output"], json!({"echoed": {"a": [1, 2.5, "ü"]}}));
    assert_eq!((&done["workflow_id"], &done["why"]), (&json!(id), &json!([])));
    assert_eq!(done["trigger"]["type"], "api");
    let task = &done["tasks"][0];
    assert_eq!((&task["name"], &task["task"]), (&json!("answer"), &json!("/do/0/answer")));
    assert_eq!((&task["status"], &task["attempt"]), (&json!("completed"), &json!(1)));
    assert_eq!(task["output"], done["output"]);
    assert!(done["duration_ms"].is_i64() && done["ended_at"].is_string(), "{done}");

    let path = format!("/workflows/{id}/execute");
    let accepted = api.post(&path, &json!({"input": null, "priority": "low"})).await;
    let body = ok(&accepted, 202);
    let location = accepted.header("location").expect("a location").to_owned();
    let there = format!("/workflows/{id}/executions/{}", body["id"].as_str().expect("an id"));
    assert_eq!(location, format!("/api/v1{there}"));
    let later = api.until(&there, |execution| execution["status"] == "completed").await;
    assert_eq!(later["output"], json!({"echoed": null}));
}

#[tokio::test]
async fn tasks_are_shown_in_the_order_in_which_they_began() {
    let world = World::start().await;
    let api = world.api();
    let id = api.publish(MIXED).await;
    let even = api.run(&id, &json!({"number": 1})).await;
    assert_eq!(even["status"], "completed", "{even}");
    assert_eq!(even["output"], json!({"first": 2, "branches": [{"left": 2}, {"sum": 6}]}));
    let names = |execution: &Value| -> Vec<String> {
        let tasks = execution["tasks"].as_array().expect("tasks").iter();
        tasks.map(|task| task["name"].as_str().expect("a name").to_owned()).collect()
    };
    let even = names(&even);
    assert_eq!(even[..4], ["first", "choose", "pause", "both"]);
    assert_eq!(even.last().map(String::as_str), Some("announce"));
    assert_eq!(even.iter().filter(|name| *name == "add").count(), 3);
    let odd = names(&api.run(&id, &json!({"number": 2})).await);
    assert_eq!(odd[..4], ["first", "choose", "skip", "both"]);
}

#[tokio::test]
async fn an_error_that_nothing_catches_is_shown_where_it_happened() {
    let world = World::start().await;
    let api = world.api();
    let id = api.publish(FAULTY).await;
    let done = api.run(&id, &Value::Null).await;
    assert_eq!(done["status"], "faulted");
    let error = &done["error"];
    assert_eq!(error["type"], "https://example.com/errors/refused");
    assert_eq!((&error["status"], &error["title"]), (&json!(418), &json!("No tea here")));
    assert_eq!(error["instance"], "/do/0/complain");
    assert_eq!(done["tasks"][0]["status"], "faulted");
}

#[tokio::test]
async fn one_key_starts_one_execution_however_many_ask_at_once() {
    let world = World::start().await;
    let api = world.api();
    let id = api.publish(ECHO).await;
    let path = format!("/workflows/{id}/execute");
    let body = json!({"input": {"order": 1}});
    let answers = join_all((0..8).map(|_| api.post_once(&path, "order-1", &body))).await;
    let ids: BTreeSet<String> =
        answers.iter().map(|answer| ok(answer, 202)["id"].to_string()).collect();
    assert_eq!(ids.len(), 1);
    let replayed = |answer: &&testkit::api::Answer| answer.header("idempotency-replayed").is_some();
    assert_eq!(answers.iter().filter(replayed).count(), 7);

    let waited = format!("{path}?wait=60s");
    let other = api.post_once(&path, "order-1", &json!({"input": {"order": 2}})).await;
    assert_eq!(ok(&other, 422)["code"], "idempotency_key_reused");
    let first = ok(&api.post_once(&waited, "order-3", &body).await, 200);
    let again = ok(&api.post_once(&waited, "order-3", &body).await, 200);
    assert_eq!((&again["id"], &again["output"]), (&first["id"], &first["output"]));
    assert_eq!(api.items(&format!("/workflows/{id}/executions")).await.len(), 2);
}

#[tokio::test]
async fn a_sleeping_execution_says_so_and_can_be_cancelled() {
    let world = World::start().await;
    let api = world.api();
    let id = api.publish(SLEEPER).await;
    let path = api.start(&id, &Value::Null).await;
    let waiting = api.until(&path, |execution| execution["status"] == "waiting").await;
    let why = &waiting["why"][0];
    assert_eq!((&why["waits_for"], &why["task"]), (&json!("timer"), &json!("/do/0/sleep")));
    assert!(why["since"].is_string() && why["until"].is_string(), "{why}");
    assert!(why["until"].as_str() > why["since"].as_str(), "{why}");
    assert_eq!(waiting["tasks"][0]["status"], "running");

    let cancel = format!("{path}/cancel");
    let cancelled = ok(&api.post(&cancel, &json!({"reason": "overslept"})).await, 202);
    assert_eq!(cancelled["status"], "cancelled");
    let shown = api.body(&path).await;
    assert_eq!((&shown["status"], &shown["reason"]), (&json!("cancelled"), &json!("overslept")));
    assert_eq!((&shown["why"], &shown["tasks"][0]["status"]), (&json!([]), &json!("cancelled")));
    assert_eq!(api.post(&cancel, &json!({})).await.status, 202, "it is cancelled already");

    let echo = api.publish(ECHO).await;
    let done = api.run(&echo, &Value::Null).await["id"].as_str().expect("an id").to_owned();
    let late = format!("/workflows/{echo}/executions/{done}/cancel");
    assert_eq!(ok(&api.post(&late, &json!({})).await, 409)["code"], "execution_finished");
    let misplaced = format!("/workflows/{id}/executions/{done}/cancel");
    assert_eq!(ok(&api.post(&misplaced, &json!({})).await, 404)["code"], "execution_not_found");
}

#[tokio::test]
async fn an_execution_that_waits_for_another_system_says_so() {
    let world = World::start().await;
    let (api, stub) = (world.api(), Stub::start().await);
    let id = api.publish(CALLER).await;
    stub.hold();
    let url = format!("{}/slow", stub.url());
    let path = api.start(&id, &json!({"url": url, "number": 7})).await;
    eventually("the call", async || stub.calls().pop()).await;
    let waiting = api.until(&path, |execution| execution["why"] != json!([])).await;
    let why = &waiting["why"][0];
    assert_eq!((&why["waits_for"], &why["task"]), (&json!("http"), &json!("/do/0/ask")));
    assert!(why["detail"].as_str().expect("words").contains("/slow"), "{why}");

    stub.release();
    let done = api.until(&path, |execution| execution["status"] == "completed").await;
    assert_eq!(done["output"], json!({"path": "/slow", "got": {"number": 7}}));
    let calls = stub.calls();
    assert_eq!((calls.len(), calls[0].method.as_str()), (1, "POST"));
    assert!(!calls[0].key().is_empty());
}

#[tokio::test]
async fn executions_are_listed_page_by_page_and_by_what_they_are() {
    let world = World::start().await;
    let api = world.api();
    let echo = api.publish(ECHO).await;
    let sleeper = api.publish(SLEEPER).await;
    let faulty = api.publish(FAULTY).await;
    for number in 0..5 {
        api.run(&echo, &json!(number)).await;
    }
    api.run(&faulty, &Value::Null).await;
    let asleep = api.start(&sleeper, &Value::Null).await;
    api.until(&asleep, |execution| execution["status"] == "waiting").await;

    let mut seen = vec![];
    let mut page = api.body("/executions?limit=3").await;
    loop {
        let items = page["items"].as_array().expect("items");
        assert!((1..=3).contains(&items.len()), "{page}");
        seen.extend(items.iter().map(|item| item["id"].to_string()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        page = api.body(&format!("/executions?limit=3&cursor={cursor}")).await;
    }
    assert_eq!(seen.len(), 7);
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 7, "no execution stands on two pages");

    for (query, count) in [
        ("status=completed".to_owned(), 5),
        ("status=faulted".to_owned(), 1),
        ("status=waiting".to_owned(), 1),
        ("status=cancelled".to_owned(), 0),
        (format!("workflow_id={echo}"), 5),
        (format!("workflow_id={echo}&status=faulted"), 0),
    ] {
        assert_eq!(api.items(&format!("/executions?{query}")).await.len(), count, "{query}");
    }
    let of_one = api.items(&format!("/workflows/{faulty}/executions?status=faulted")).await;
    assert_eq!(of_one.len(), 1);
    assert!(of_one[0].get("tasks").is_none(), "lists are short: {}", of_one[0]);
}

/// Asks somebody who answers with what they are sent, and hands the answer on twice.
const CARRIER: &str = r"
document: {dsl: '1.0.3', namespace: test, name: carrier, version: '1.0.0'}
do:
  - ask:
      call: http
      with: {method: post, endpoint: URL, body: {text: '${ .text * .times }'}}
      output: {as: .got}
  - hand: {set: {text: '${ .text }', n: 1}}
  - pause: {wait: {milliseconds: 1}}
  - on: {set: {text: '${ .text }', n: 2}}
";

#[tokio::test]
async fn a_large_document_passes_through_a_workflow_and_is_kept_once() {
    let world = World::start().await;
    let (api, stub) = (world.api(), Stub::start().await);
    let id = api.publish(&CARRIER.replace("URL", &format!("{}/echo", stub.url()))).await;
    let large = "Ångström ".repeat(1_000);
    let done = api.run(&id, &json!({"text": large, "times": 100})).await;
    assert_eq!(done["status"], "completed", "{}", done["error"]);
    assert_eq!(done["output"], json!({"text": large.repeat(100), "n": 2}));

    let there = format!("/workflows/{id}/executions/{}", done["id"].as_str().expect("an id"));
    let listed = api.until(&there, |execution| execution["status"] == "completed").await;
    assert_eq!(listed["output"], done["output"], "the read model has it too");
    let exported = api.get(&format!("{there}/events")).await.text;
    assert!(exported.contains(&large.repeat(100)), "and so has the export");
    let (large, small): (i64, i64) = sqlx::query_as(
        "SELECT sum(length(body)) FILTER (WHERE category = 'payload')::bigint,
             max(length(body)) FILTER (WHERE category = 'execution')::bigint
         FROM es.event",
    )
    .fetch_one(&world.pool().await)
    .await
    .expect("reads");
    assert!(small < 4_096, "events are small: {small} bytes");
    // The document three times, in base64: what is sent, with its answer; and what is handed on, twice,
    // with another number each time.
    assert!((3_000_000..9_000_000).contains(&large), "{large} bytes");
    for args in [&["audit", "verify", "--live"][..], &["replay", "--verify"]] {
        let done = world.run(args).await;
        assert_eq!(done.code, 0, "{args:?}: {done:?}");
    }
}
