//! GitHub's HTTP API, as much of it as labels and reactions need, with a ledger of all calls.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::http::Serving;

/// A server that takes calls as GitHub does:
///
/// - `POST /repos/{owner}/{repo}/issues/{number}/labels` with `{"labels": [...]}`
/// - `POST /repos/{owner}/{repo}/issues/comments/{id}/reactions` with `{"content": "..."}`
/// - `GET /` to see whether it is there
///
/// A call that repeats an `Idempotency-Key` gets the first one's answer and does nothing again.
#[derive(Debug)]
pub struct Stub {
    serving: Serving,
    shared: Arc<Shared>,
}

/// A call as the ledger has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Call {
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// `Idempotency-Key`.
    pub key: Option<String>,
    /// `Authorization`.
    pub authorization: Option<String>,
    /// `X-GitHub-Delivery`, if the caller says which delivery it answers.
    pub delivery: Option<String>,
    /// The JSON body, null if there is none.
    pub body: Value,
    /// What it was answered.
    pub status: u16,
    /// Whether its key had come before, so that it was answered from memory.
    pub repeated: bool,
}

#[derive(Debug)]
struct Shared {
    book: Mutex<Book>,
    /// Whether calls are answered, or held.
    open: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Book {
    calls: Vec<Call>,
    answers: HashMap<String, (u16, Value)>,
    /// Last part of the paths whose first call fails, with the status it gets.
    fails: HashMap<String, u16>,
    failed: HashSet<String>,
    file: Option<File>,
}

impl Stub {
    /// Starts one; with `file`, each call is also appended there as a line of JSON.
    pub async fn start(file: Option<&Path>) -> io::Result<Self> {
        let open = |path| OpenOptions::new().create(true).append(true).open(path);
        let file = file.map(open).transpose()?;
        let book = Mutex::new(Book { file, ..Book::default() });
        let shared = Arc::new(Shared { book, open: watch::Sender::new(true) });
        let router = Router::new().fallback(take).with_state(shared.clone());
        Ok(Self { serving: Serving::start(router).await?, shared })
    }

    /// Where it is, such as `http://127.0.0.1:40123`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.serving.address)
    }

    /// From now on, paths that end in `/{last}` answer `status` to the first key of each delivery
    /// (of each path, where the caller names no delivery).
    pub fn fail_first(&self, last: &str, status: u16) {
        self.shared.book().fails.insert(last.to_owned(), status);
    }

    /// Holds all answers back until [`Stub::release`]: calls arrive, and are not in the ledger yet.
    pub fn hold(&self) {
        self.shared.open.send_replace(false);
    }

    /// Answers again.
    pub fn release(&self) {
        self.shared.open.send_replace(true);
    }

    /// All calls so far, in the order of their answers.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.shared.book().calls.clone()
    }
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("nobody panics while holding it")
    }
}

async fn take(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut open = shared.open.subscribe();
    if open.wait_for(|open| *open).await.is_err() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let text = |name: &str| headers.get(name)?.to_str().ok().map(ToOwned::to_owned);
    let call = Call {
        method: method.to_string(),
        path: uri.path().to_owned(),
        key: text("idempotency-key"),
        authorization: text("authorization"),
        delivery: text("x-github-delivery"),
        body: serde_json::from_slice(&body).unwrap_or_default(),
        status: 0,
        repeated: false,
    };
    let (status, body) = shared.book().enter(call);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(body)).into_response()
}

impl Book {
    /// Writes a call down and says what it is answered.
    fn enter(&mut self, mut call: Call) -> (u16, Value) {
        let known = call.key.as_ref().and_then(|key| self.answers.get(key)).cloned();
        call.repeated = known.is_some();
        let answer = known.unwrap_or_else(|| self.answer(&call));
        call.status = answer.0;
        if let Some(key) = &call.key {
            self.answers.insert(key.clone(), answer.clone());
        }
        if let Some(file) = &mut self.file {
            // A ledger that cannot be written shows as one with lines missing.
            let _ = serde_json::to_writer(&*file, &call).map(|()| file.write_all(b"\n"));
        }
        self.calls.push(call);
        answer
    }

    fn answer(&mut self, call: &Call) -> (u16, Value) {
        let parts: Vec<&str> = call.path.trim_matches('/').split('/').collect();
        let last = parts.last().copied().unwrap_or_default();
        if let Some(status) = self.fails.get(last) {
            let of = call.delivery.as_deref().unwrap_or(&call.path);
            if self.failed.insert(format!("{last} {of}")) {
                return (*status, json!({"message": "Service Unavailable"}));
            }
        }
        match (call.method.as_str(), parts.as_slice()) {
            ("GET", [""]) => (200, json!({"current_user_url": "/user"})),
            ("POST", ["repos", _, _, "issues", number, "labels"]) if is_number(number) => {
                labelled(&call.body)
            }
            ("POST", ["repos", _, _, "issues", "comments", id, "reactions"]) if is_number(id) => {
                reacted(&call.body)
            }
            _ => (404, json!({"message": "Not Found"})),
        }
    }
}

fn is_number(text: &str) -> bool {
    text.parse::<u64>().is_ok()
}

fn labelled(body: &Value) -> (u16, Value) {
    match body["labels"].as_array() {
        Some(names) if names.iter().all(Value::is_string) => {
            (200, names.iter().map(|name| json!({"name": name})).collect())
        }
        _ => (422, json!({"message": "labels must be an array of names"})),
    }
}

fn reacted(body: &Value) -> (u16, Value) {
    match body["content"].as_str() {
        Some(content) => (201, json!({"id": 1, "content": content})),
        None => (422, json!({"message": "content is missing"})),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: &str = "/repos/octo-org/octo-repo/issues/1/labels";

    async fn post(stub: &Stub, path: &str, key: &str, body: &Value) -> u16 {
        let request = crate::http::client().post(format!("{}{path}", stub.url())).json(body);
        request.header("idempotency-key", key).send().await.expect("an answer").status().as_u16()
    }

    #[tokio::test]
    async fn a_repeated_key_is_answered_again_and_marked() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("ledger");
        let stub = Stub::start(Some(&file)).await.expect("starts");
        let labels = json!({"labels": ["bug"]});
        for _ in 0..2 {
            assert_eq!(post(&stub, LABELS, "a", &labels).await, 200);
        }
        assert_eq!(post(&stub, "/elsewhere", "b", &labels).await, 404);

        let calls = stub.calls();
        let seen: Vec<_> = calls.iter().map(|call| (call.status, call.repeated)).collect();
        assert_eq!(seen, [(200, false), (200, true), (404, false)]);
        assert_eq!(calls[0].body, labels);
        assert_eq!(std::fs::read_to_string(file).expect("the ledger").lines().count(), 3);
    }

    #[tokio::test]
    async fn the_first_key_fails_and_keeps_failing_and_the_next_one_works() {
        let stub = Stub::start(None).await.expect("starts");
        stub.fail_first("labels", 503);
        let labels = json!({"labels": []});
        for (key, status) in [("a", 503), ("a", 503), ("b", 200)] {
            assert_eq!(post(&stub, LABELS, key, &labels).await, status);
        }
    }

    #[tokio::test]
    async fn a_held_call_is_answered_after_the_release() {
        let stub = Stub::start(None).await.expect("starts");
        stub.hold();
        let body = json!({"content": "eyes"});
        let path = "/repos/octo-org/octo-repo/issues/comments/7/reactions";
        let call = post(&stub, path, "a", &body);
        tokio::pin!(call);
        assert!(futures::poll!(&mut call).is_pending());
        assert_eq!(stub.calls(), []);
        stub.release();
        assert_eq!(call.await, 201);
    }
}
