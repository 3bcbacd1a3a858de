//! A client that reads its own writes and takes no 5xx for an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use testkit::api::{Answer, Client};

use super::eventually;

/// The client. Clones share what they have seen.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    client: Client,
    /// The position of the last command that was answered.
    seen: Arc<AtomicI64>,
}

impl Api {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, seen: Arc::default() }
    }

    /// A request to make more of; `path` is below `/api/v1`.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, path)
    }

    /// A request to make more of; `path` counts from the root.
    pub(crate) fn at_root(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.at_root(method, path)
    }

    /// Sends a request.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        let answer = self.client.send(request).await.expect("an answer");
        assert!(answer.status < 500, "it broke: {} {}", answer.status, answer.text);
        if let Some(position) = answer.header("x-position").and_then(|text| text.parse().ok()) {
            self.seen.fetch_max(position, Ordering::Relaxed);
        }
        answer
    }

    /// Gets what is there after everything this client did.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        let position = self.seen.load(Ordering::Relaxed);
        self.send(self.request(Method::GET, path).header("min-position", position)).await
    }

    /// Gets one thing that must be there.
    pub(crate) async fn body(&self, path: &str) -> Value {
        ok(&self.get(path).await, 200)
    }

    /// The first page of a list.
    pub(crate) async fn items(&self, path: &str) -> Vec<Value> {
        self.body(path).await["items"].as_array().cloned().expect("a list")
    }

    /// Looks at `path` until it is as wanted.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        eventually(path, async || {
            let now = self.get(path).await.body;
            if now != last {
                // What it was when it did not come in time is the first thing one wants to know.
                eprintln!("{path}: {now}");
                last = now.clone();
            }
            wanted(&now).then_some(now)
        })
        .await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// Posts under an idempotency key.
    pub(crate) async fn post_once(&self, path: &str, key: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, path).header("idempotency-key", key);
        self.send(request.json(body)).await
    }

    pub(crate) async fn put(&self, path: &str, version: u64, body: &Value) -> Answer {
        let request = self.request(Method::PUT, path).header("if-match", format!("\"{version}\""));
        self.send(request.json(body)).await
    }

    pub(crate) async fn delete(&self, path: &str, version: u64) -> Answer {
        let request = self.request(Method::DELETE, path);
        self.send(request.header("if-match", format!("\"{version}\""))).await
    }

    /// Posts something that must be made; its id.
    pub(crate) async fn create(&self, path: &str, body: &Value) -> String {
        id(&ok(&self.post(path, body).await, 201))
    }

    /// Posts a workflow document.
    pub(crate) async fn post_document(&self, path: &str, document: &str) -> Answer {
        self.document(Method::POST, path, document, None).await
    }

    /// Sends a document, for a certain version of the workflow if one is given.
    pub(crate) async fn document(
        &self,
        method: Method,
        path: &str,
        document: &str,
        version: Option<u64>,
    ) -> Answer {
        let mut request = self.request(method, path).header("content-type", "application/yaml");
        if let Some(version) = version {
            request = request.header("if-match", format!("\"{version}\""));
        }
        self.send(request.body(document.to_owned())).await
    }

    /// Publishes a workflow that must be valid; its id.
    pub(crate) async fn publish(&self, document: &str) -> String {
        id(&ok(&self.post_document("/workflows", document).await, 201))
    }

    /// Starts an execution; its path.
    pub(crate) async fn start(&self, workflow: &str, input: &Value) -> String {
        let path = format!("/workflows/{workflow}/execute");
        let accepted = ok(&self.post(&path, &json!({"input": input})).await, 202);
        format!("/workflows/{workflow}/executions/{}", id(&accepted))
    }

    /// Runs a workflow to its end; the execution.
    pub(crate) async fn run(&self, workflow: &str, input: &Value) -> Value {
        let path = format!("/workflows/{workflow}/execute?wait=60s");
        ok(&self.post(&path, &json!({"input": input})).await, 200)
    }
}

/// The body of an answer that must have this status.
#[track_caller]
pub(crate) fn ok(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text);
    answer.body.clone()
}

/// The id in a body.
#[track_caller]
fn id(body: &Value) -> String {
    body["id"].as_str().unwrap_or_else(|| panic!("no id in {body}")).to_owned()
}
