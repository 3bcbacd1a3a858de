//! Somebody whom every step of a workflow calls, and who can tell how often each step ran.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::http::Serving;

/// The step whose calls are held.
pub const HELD: u8 = 2;

/// A server on loopback that answers a call with its body. Calls of step [`HELD`] get no answer until
/// it is told to answer them. It ends when this is dropped.
#[derive(Debug)]
pub struct Witness {
    shared: Shared,
    held: watch::Sender<bool>,
    serving: Serving,
}

/// What it saw of a step, over all workflows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// How many workflows called.
    pub workflows: u64,
    /// How many of them called more than once.
    pub repeated: u64,
    /// How many called again though they had been answered: the step was done, and was done again.
    pub redone: u64,
}

#[derive(Debug, Clone)]
struct Shared {
    ledger: Arc<Mutex<HashMap<(u8, u64), Calls>>>,
    held: watch::Receiver<bool>,
    late: Duration,
}

#[derive(Debug, Clone, Copy, Default)]
struct Calls {
    begun: u32,
    answered: bool,
    redone: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Call {
    /// The workflow.
    id: u64,
    n: u64,
}

impl Witness {
    /// Starts one. Once held calls are answered, they and those that follow are answered so much later.
    pub async fn start(late: Duration) -> Result<Self> {
        let (held, receiver) = watch::channel(true);
        let shared = Shared { ledger: Arc::default(), held: receiver, late };
        let router = Router::new().route("/{step}", post(answer)).with_state(shared.clone());
        Ok(Self { shared, held, serving: Serving::start(router).await? })
    }

    /// Where it answers; the number of the step is to follow.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.serving.address)
    }

    /// Answers from now on. Who called before is not answered: call this when they are gone.
    pub fn answer(&self) {
        self.held.send_replace(false);
    }

    /// What it saw of a step so far.
    #[must_use]
    pub fn seen(&self, step: u8) -> Seen {
        let mut seen = Seen::default();
        for (_, calls) in self.shared.ledger().iter().filter(|((of, _), _)| *of == step) {
            seen.workflows += 1;
            seen.repeated += u64::from(calls.begun > 1);
            seen.redone += u64::from(calls.redone);
        }
        seen
    }

    /// Waits until so many workflows are in the step whose calls are held, or until no more have come
    /// for so long; how many there are.
    pub async fn gather(&self, count: u64, patience: Duration) -> u64 {
        let (mut most, mut grew) = (0, Instant::now());
        while most < count && grew.elapsed() < patience {
            let now = self.seen(HELD).workflows;
            if now > most {
                (most, grew) = (now, Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        most
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, HashMap<(u8, u64), Calls>> {
        // Whoever panicked while holding it had changed all or nothing.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(
    State(mut shared): State<Shared>,
    Path(step): Path<u8>,
    Json(call): Json<Call>,
) -> Json<Call> {
    let key = (step, call.id);
    {
        let mut ledger = shared.ledger();
        let calls = ledger.entry(key).or_default();
        calls.begun += 1;
        calls.redone |= calls.answered;
    }
    if step == HELD {
        if *shared.held.borrow() {
            // Its caller is to be gone before it would be answered; then this goes with the connection.
            let _ = shared.held.wait_for(|held| !held).await;
            return Json(call);
        }
        tokio::time::sleep(shared.late).await;
    }
    if let Some(calls) = shared.ledger().get_mut(&key) {
        calls.answered = true;
    }
    Json(call)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::Client;

    #[tokio::test]
    async fn a_step_that_was_answered_and_calls_again_was_redone() {
        let witness = Witness::start(Duration::ZERO).await.expect("it listens");
        let base = witness.url();
        let client = Client::new(base.trim_end_matches('/'), None);
        let call = |step: &str| {
            let request = client.at_root(reqwest::Method::POST, step);
            client.send(request.json(&json!({"id": 7, "n": 1})).timeout(Duration::from_millis(500)))
        };
        assert!(call("/2").await.is_err(), "held");
        assert_eq!(witness.gather(1, Duration::from_secs(5)).await, 1);
        witness.answer();
        let seen = call("/2").await.expect("answered").body;
        assert_eq!(seen, json!({"id": 7, "n": 1}));
        assert_eq!(witness.seen(2), Seen { workflows: 1, repeated: 1, redone: 0 });
        call("/2").await.expect("answered");
        assert_eq!(witness.seen(2), Seen { workflows: 1, repeated: 1, redone: 1 });
        assert_eq!(witness.seen(1), Seen::default());
    }
}
