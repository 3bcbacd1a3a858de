//! Another system, called over HTTP: answers as it is told to and keeps a ledger of all calls.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The system. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Stub {
    url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// A call as the ledger has it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Call {
    /// A header field, empty if it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The idempotency key.
    pub(crate) fn key(&self) -> &str {
        self.header("idempotency-key")
    }
}

#[derive(Debug)]
struct Shared {
    ledger: Mutex<Ledger>,
    /// How many calls, in the order they came, are answered; the others are held.
    answered: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Ledger {
    calls: Vec<Call>,
    script: HashMap<String, VecDeque<u16>>,
}

impl Stub {
    /// Starts one that answers 200 to everything, with what it was sent.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let ledger = Mutex::default();
        let shared = Arc::new(Shared { ledger, answered: watch::Sender::new(usize::MAX) });
        let router = Router::new().fallback(take).with_state(shared.clone());
        let task = tokio::spawn(async move {
            // It ends by being aborted; what goes wrong shows as a refused connection.
            let _ = axum::serve(listener, router).await;
        });
        Self { url, shared, task }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The next calls of `path` are answered with these statuses, those after them with 200.
    pub(crate) fn answer(&self, path: &str, statuses: &[u16]) {
        let statuses = statuses.iter().copied().collect();
        self.ledger().script.insert(path.to_owned(), statuses);
    }

    /// Holds the answers to all calls from now on until [`Stub::release`]; calls are in the ledger
    /// at once.
    pub(crate) fn hold(&self) {
        self.release_until(self.calls().len() + 1);
    }

    /// Answers again.
    pub(crate) fn release(&self) {
        self.release_until(usize::MAX);
    }

    /// Answers again, until the ledger has `length` calls: that one is held, and all after it.
    pub(crate) fn release_until(&self, length: usize) {
        self.shared.answered.send_replace(length - 1);
    }

    /// All calls so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.ledger().calls.clone()
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.shared.ledger()
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("nobody panics while holding it")
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let call = Call { method: method.to_string(), path: path.clone(), headers, body: body.clone() };
    let (number, status) = {
        let mut ledger = shared.ledger();
        ledger.calls.push(call);
        let status = ledger.script.get_mut(&path).and_then(VecDeque::pop_front).unwrap_or(200);
        (ledger.calls.len(), status)
    };
    let mut answered = shared.answered.subscribe();
    let status = match answered.wait_for(|answered| number <= *answered).await {
        Ok(_) => StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(json!({"path": path, "got": body}))).into_response()
}
