//! An outside system that steps of workflows call, that is unreliable in a way that can be foretold,
//! and that keeps a ledger of who called with what key and what they were told.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use uuid::Uuid;

use crate::http::Serving;

/// How long an answer takes at least, and how much longer it may take.
const LATE: (u64, u64) = (50, 800);

/// What callers are told one after another, by chance and per step of an execution; all after that
/// succeed.
const MOODS: [&[Told]; 5] = [
    &[],
    &[Told::Unavailable],
    &[Told::Nothing],
    &[Told::Nothing, Told::Unavailable],
    &[Told::Unavailable, Told::Nothing, Told::Nothing],
];

/// The system. A call is a POST of `{"execution": ID}` to its URL and a step's name; steps called
/// `unsure` are subject to moods. It ends when this is dropped.
#[derive(Debug)]
pub struct Outside {
    shared: Shared,
    holding: watch::Sender<bool>,
    serving: Serving,
}

/// What a caller was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// 200, and what it had sent.
    Success,
    /// 503: nothing was done.
    Unavailable,
    /// The connection broke off within the answer: nobody knows what was done.
    Nothing,
}

/// A call as the ledger has it.
#[derive(Debug, Clone)]
pub struct Call {
    /// On behalf of which execution.
    pub execution: Uuid,
    /// Its step.
    pub step: String,
    /// The idempotency key.
    pub key: String,
    /// When it came.
    pub at: Instant,
    /// What it was told, once that was decided; whether the caller still listened is not known.
    pub told: Option<Told>,
}

#[derive(Debug, Clone)]
struct Shared {
    ledger: Arc<Mutex<Ledger>>,
    holding: watch::Receiver<bool>,
}

#[derive(Debug, Default)]
struct Ledger {
    calls: Vec<Call>,
    /// How often each step of an execution has called.
    counts: HashMap<(Uuid, String), usize>,
    /// How often each key was seen.
    keys: HashMap<String, usize>,
}

#[derive(Debug, Deserialize)]
struct Asked {
    execution: Uuid,
}

impl Outside {
    /// Starts one.
    pub async fn start() -> Result<Self> {
        let (holding, held) = watch::channel(false);
        let shared = Shared { ledger: Arc::default(), holding: held };
        let router = Router::new().route("/{step}", post(take)).with_state(shared.clone());
        Ok(Self { shared, holding, serving: Serving::start(router).await? })
    }

    /// Where it is; the name of a step is to follow.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.serving.address)
    }

    /// Whether calls under a key that was seen before are held from now on. So who called first, and was
    /// slow to hear of the answer, is faster than who took over.
    pub fn hold_repeats(&self, hold: bool) {
        self.holding.send_replace(hold);
    }

    /// All calls so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.shared.ledger().calls.clone()
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // Whoever panicked while holding it had changed all or nothing.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// Notes a call: its number, what it is to be told, and whether its key is known.
    fn note(&mut self, execution: Uuid, step: &str, key: &str) -> (usize, Told, bool) {
        let count = self.counts.entry((execution, step.to_owned())).or_default();
        let mood = MOODS[usize::from(execution.as_bytes()[15]) % MOODS.len()];
        let told = if step == "unsure" { mood.get(*count).copied() } else { None };
        *count += 1;
        let seen = self.keys.entry(key.to_owned()).or_default();
        *seen += 1;
        let (step, key, at) = (step.to_owned(), key.to_owned(), Instant::now());
        self.calls.push(Call { execution, step, key, at, told: None });
        (self.calls.len() - 1, told.unwrap_or(Told::Success), *seen > 1)
    }
}

async fn take(
    State(mut shared): State<Shared>,
    Path(step): Path<String>,
    headers: HeaderMap,
    Json(Asked { execution }): Json<Asked>,
) -> Response {
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or_default();
    let (number, told, is_repeat) = shared.ledger().note(execution, &step, key);
    // By chance, but the same for an execution whenever it is asked about.
    let late = LATE.0 + u64::from(execution.as_bytes()[14]) * LATE.1 / 256;
    tokio::time::sleep(Duration::from_millis(late)).await;
    if is_repeat {
        let _ = shared.holding.wait_for(|holding| !holding).await;
    }
    shared.ledger().calls[number].told = Some(told);
    match told {
        Told::Success => Json(json!({"execution": execution, "step": step})).into_response(),
        Told::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({}))).into_response(),
        Told::Nothing => Response::new(broken()),
    }
}

/// A body that breaks off before anything of it was sent.
fn broken() -> Body {
    let error = io::Error::from(io::ErrorKind::ConnectionReset);
    Body::from_stream(futures::stream::once(async { Err::<Bytes, _>(error) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Client;

    #[tokio::test]
    async fn every_call_is_in_the_ledger_and_what_it_was_told() {
        let outside = Outside::start().await.expect("it listens");
        let client = Client::new(outside.url().trim_end_matches('/'), None);
        // Its last byte decides its mood: nothing, then unavailable, then well.
        let execution = Uuid::from_u128(3);
        let call = async |step: &str| {
            let request = client.at_root(reqwest::Method::POST, step);
            let request =
                request.header("idempotency-key", "k").json(&json!({"execution": execution}));
            client.send(request).await.map(|answer| answer.status)
        };
        assert!(call("/unsure").await.is_err());
        assert_eq!(call("/unsure").await.expect("an answer"), 503);
        assert_eq!(call("/unsure").await.expect("an answer"), 200);
        assert_eq!(call("/sure").await.expect("an answer"), 200);
        let told: Vec<_> = outside.calls().iter().filter_map(|call| call.told).collect();
        assert_eq!(told, [Told::Nothing, Told::Unavailable, Told::Success, Told::Success]);
        assert!(outside.calls().iter().all(|call| call.key == "k" && call.execution == execution));
    }

    #[tokio::test]
    async fn repeats_are_held_and_first_calls_are_not() {
        let outside = Outside::start().await.expect("it listens");
        let client = Client::new(outside.url().trim_end_matches('/'), None);
        outside.hold_repeats(true);
        let call = || {
            let body = json!({"execution": Uuid::nil()});
            let request = client.at_root(reqwest::Method::POST, "/sure").json(&body);
            client.send(request.timeout(Duration::from_secs(1)))
        };
        assert!(call().await.is_ok());
        assert!(call().await.is_err());
        outside.hold_repeats(false);
        assert!(call().await.is_ok());
    }
}
