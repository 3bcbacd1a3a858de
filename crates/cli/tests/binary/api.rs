//! Commands against an API that fails in ways the real one only does on a bad day: it is late, it
//! hangs up, somebody else is faster. (What the real one answers is tested where it is built.)

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Ended, everstep, text};

const WORKFLOW: &str = "00000000-0000-0000-0000-000000000001";
const EXECUTION: &str = "00000000-0000-0000-0000-000000000002";

/// A server on loopback; runs the binary against it.
struct Double {
    url: String,
}

impl Double {
    async fn serving(routes: Router) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, routes).await });
        Self { url }
    }

    async fn run(&self, args: &[&str]) -> Ended {
        let mut command = everstep(args);
        command.args(["--api-url", &self.url]).env("EVERSTEP_TOKEN", "evs_double");
        tokio::task::spawn_blocking(move || Ended::of(&mut command)).await.unwrap()
    }
}

fn problem(status: u16, more: Value) -> Response {
    let mut body = json!({"type": "/problems/x_y", "title": "No", "status": status,
        "detail": "it said no", "code": "x_y", "instance": "/requests/42"});
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}

#[tokio::test]
async fn each_sort_of_refusal_has_its_exit_code() {
    let list = |Path(status): Path<u16>| async move { problem(status, json!({})) };
    for (status, code) in
        [(400, 2), (401, 4), (403, 4), (404, 3), (409, 5), (412, 5), (422, 2), (429, 7), (503, 1)]
    {
        let prefixed = Router::new().route("/{status}/api/v1/workflows", get(list));
        let mut double = Double::serving(prefixed).await;
        double.url = format!("{}/{status}/", double.url);
        let ended = double.run(&["workflow", "list"]).await.expect(code);
        assert!(ended.out.is_empty());
        assert!(ended.err.contains("it said no (x_y)"), "{ended:?}");
        assert!(ended.err.contains("/problems/x_y (request 42)"), "{ended:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_no_problem_document_is_told_as_what_it_is() {
    let routes = Router::new().fallback(|| async { (StatusCode::BAD_GATEWAY, "<html>") });
    let ended = Double::serving(routes).await.run(&["workflow", "list"]).await.expect(1);
    assert!(ended.err.contains("502"), "{ended:?}");
}

/// Things by name: their version and what they are made of.
type Things = Arc<Mutex<BTreeMap<String, (i64, Value)>>>;

fn id_of(name: &str) -> Uuid {
    Uuid::new_v5(&Uuid::nil(), name.as_bytes())
}

fn versioned(version: i64, body: Value) -> Response {
    ([("ETag", format!("\"{version}\""))], Json(body)).into_response()
}

/// The agents of an API whose every second change was made by somebody else in the meantime.
fn contended_agents(things: Things) -> Router {
    let create = |State(things): State<Things>, Json(body): Json<Value>| async move {
        let name = body["name"].as_str().unwrap().to_owned();
        let mut things = things.lock().unwrap();
        if things.contains_key(&name) {
            return problem(409, json!({"code": "agent_exists"}));
        }
        things.insert(name.clone(), (1, body));
        (StatusCode::CREATED, versioned(1, json!({"id": id_of(&name), "name": name})))
            .into_response()
    };
    let list = |State(things): State<Things>| async move {
        let things = things.lock().unwrap();
        let items: Vec<Value> =
            things.keys().map(|name| json!({"id": id_of(name), "name": name})).collect();
        Json(json!({"items": items, "next_cursor": null}))
    };
    let show = |State(things): State<Things>, Path(id): Path<Uuid>| async move {
        let things = things.lock().unwrap();
        let (_, (version, body)) = things.iter().find(|(name, _)| id_of(name) == id).unwrap();
        versioned(*version, body.clone())
    };
    let change = |State(things): State<Things>,
                  Path(id): Path<Uuid>,
                  headers: HeaderMap,
                  Json(body): Json<Value>| async move {
        let mut things = things.lock().unwrap();
        let (_, (version, kept)) = things.iter_mut().find(|(name, _)| id_of(name) == id).unwrap();
        if *version % 2 == 1 {
            *version += 1;
            return problem(412, json!({"current_version": *version}));
        }
        assert_eq!(headers["If-Match"], format!("\"{version}\""));
        assert_eq!(headers["Authorization"], "Bearer evs_double");
        let same = kept["provider"] == body["provider"];
        if !same {
            *version += 1;
            *kept = body;
        }
        versioned(*version, json!({"id": id}))
    };
    Router::new()
        .route("/api/v1/agents", post(create).get(list))
        .route("/api/v1/agents/{id}", get(show).put(change))
        .with_state(things)
}

#[tokio::test]
async fn apply_creates_updates_or_leaves_alone_and_survives_others_changes() {
    let things = Things::default();
    let double = Double::serving(contended_agents(things.clone())).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agent.yaml");
    let args = ["workflow", "apply", "-f", text(dir.path()), "-o", "json"];
    for (provider, outcome) in
        [("sandbox", "created"), ("local", "updated"), ("local", "unchanged")]
    {
        fs::write(&file, format!("name: triage\nprovider: {provider}\n")).unwrap();
        let applied = double.run(&args).await.expect(0).json();
        assert_eq!(applied["items"][0]["outcome"], outcome);
        assert_eq!(applied["items"][0]["id"], id_of("triage").to_string());
    }
    assert_eq!(things.lock().unwrap()["triage"].1["provider"], "local");
}

#[tokio::test]
async fn apply_tells_what_was_done_before_a_refusal_and_where_the_fault_is() {
    let refuse = || async {
        let fault = json!({"pointer": "/do/0/x/call", "line": 7, "code": "unknown_agent",
            "detail": "there is no agent x", "hint": "apply it first"});
        problem(422, json!({"code": "workflow_invalid", "errors": [fault]}))
    };
    let routes = contended_agents(Things::default()).route("/api/v1/workflows", post(refuse));
    let double = Double::serving(routes).await;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("agent.yaml"), "name: a").unwrap();
    fs::write(dir.path().join("a-workflow.yaml"), "document: {namespace: n, name: w}").unwrap();
    let ended = double.run(&["workflow", "apply", "-f", text(dir.path())]).await.expect(2);
    assert!(ended.out.contains("agent") && ended.out.contains("created"), "{ended:?}");
    let place = "a-workflow.yaml:7 /do/0/x/call: there is no agent x (unknown_agent)";
    assert!(ended.err.contains(place) && ended.err.contains("hint: apply it first"), "{ended:?}");
}

fn event(position: i64, kind: &str) -> String {
    let event = json!({"specversion": "1.0", "type": kind, "time": "2026-01-02T03:04:05.000006Z",
        "position": position.to_string(), "data": {}});
    format!("id: {position}\nevent: {kind}\ndata: {event}\n\n")
}

/// An execution that ends as `status`; its stream hangs up after each event.
fn hanging_up(status: &'static str) -> Router {
    let connections = Arc::new(AtomicU32::new(0));
    let stream = move |headers: HeaderMap| async move {
        let seen = headers.get("Last-Event-ID").map(|id| id.to_str().unwrap());
        let body = match connections.fetch_add(1, Ordering::SeqCst) {
            0 => event(10, "execution.started") + "id: 11\ndata: {\"half\":",
            1 => ": still here\n\n".to_owned(),
            _ => event(12, &format!("execution.{status}")),
        };
        assert_eq!(seen.is_some(), !body.contains("started"));
        assert!(seen.is_none_or(|seen| seen == "10"), "half an event counted");
        ([("Content-Type", "text/event-stream")], body)
    };
    let show = move |headers: HeaderMap| async move {
        assert_eq!(headers["Min-Position"], "12", "it might not see the end yet");
        Json(json!({"id": EXECUTION, "workflow_id": WORKFLOW, "status": status, "output": {"a": 1},
            "error": if status == "faulted" { json!({"detail": "it broke"}) } else { Value::Null }}))
    };
    let start = || async {
        let body = json!({"id": EXECUTION, "workflow_id": WORKFLOW, "status": "running"});
        (StatusCode::ACCEPTED, Json(body))
    };
    let place = format!("/api/v1/workflows/{WORKFLOW}/executions/{EXECUTION}");
    Router::new()
        .route(&format!("/api/v1/workflows/{WORKFLOW}/execute"), post(start))
        .route(&place, get(show))
        .route(&format!("{place}/stream"), get(stream))
}

#[tokio::test]
async fn watching_goes_on_where_a_lost_connection_ended() {
    let double = Double::serving(hanging_up("completed")).await;
    let args = ["execution", "watch", EXECUTION, "--workflow", WORKFLOW, "-o", "json"];
    let ended = double.run(&args).await.expect(0);
    let kinds: Vec<Value> = ended
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["type"].clone())
        .collect();
    assert_eq!(kinds, ["execution.started", "execution.completed"]);
}

#[tokio::test]
async fn a_run_that_fails_is_shown_and_exits_with_10() {
    let double = Double::serving(hanging_up("faulted")).await;
    let ended = double.run(&["workflow", "run", WORKFLOW, "--input", "{}"]).await.expect(10);
    assert!(ended.out.contains("faulted") && ended.err.contains("it broke"), "{ended:?}");
}

#[tokio::test]
async fn a_run_that_is_not_waited_for_is_only_started() {
    let double = Double::serving(hanging_up("cancelled")).await;
    let ended = double.run(&["workflow", "run", WORKFLOW, "--detach"]).await.expect(0);
    assert_eq!(ended.out.trim(), EXECUTION);
}

#[tokio::test]
async fn a_run_that_takes_too_long_exits_with_9_and_goes_on() {
    let endless = || async {
        let stream = futures::stream::pending::<Result<String, std::io::Error>>();
        ([("Content-Type", "text/event-stream")], axum::body::Body::from_stream(stream))
    };
    let start = || async {
        let body = json!({"id": EXECUTION, "workflow_id": WORKFLOW, "status": "waiting"});
        (StatusCode::ACCEPTED, Json(body))
    };
    let place = format!("/api/v1/workflows/{WORKFLOW}/executions/{EXECUTION}");
    let routes = Router::new()
        .route(&format!("/api/v1/workflows/{WORKFLOW}/execute"), post(start))
        .route(&format!("{place}/stream"), get(endless));
    let double = Double::serving(routes).await;
    let ended = double.run(&["workflow", "run", WORKFLOW, "--timeout", "1"]).await.expect(9);
    assert!(ended.err.contains("everstep execution cancel"), "{ended:?}");
}

#[tokio::test]
async fn lists_follow_their_cursors_up_to_the_limit() {
    let list = |axum::extract::RawQuery(query): axum::extract::RawQuery| async move {
        let query = query.unwrap_or_default();
        let (item, next) = if query.contains("cursor=b") { (2, None) } else { (1, Some("b")) };
        let items = json!([{"id": Uuid::from_u128(item), "workflow_id": WORKFLOW, "status": "completed",
            "duration_ms": 1500, "extra": "kept"}]);
        Json(json!({"items": items, "next_cursor": next}))
    };
    let double = Double::serving(Router::new().route("/api/v1/executions", get(list))).await;
    let all = double.run(&["execution", "list", "-o", "json"]).await.expect(0).json();
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
    assert_eq!(all["items"][0]["extra"], "kept", "programs get it all");
    let one = double.run(&["execution", "list", "--limit", "1"]).await.expect(0);
    assert!(one.out.starts_with("ID ") && one.out.contains("1.5 s"), "{one:?}");
    assert!(one.err.contains("--limit"), "{one:?}");
    let none = double.run(&["execution", "get", &Uuid::from_u128(9).to_string()]).await.expect(3);
    assert!(none.err.contains("no execution"), "{none:?}");
}
