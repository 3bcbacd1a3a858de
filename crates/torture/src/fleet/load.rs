//! The load: executions are asked for on a fixed schedule, whatever the answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::api::{Answer, Client};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use uuid::Uuid;

use super::documents::Kind;
use super::history::{Ask, Outcome, Record, Why};
use crate::history::{Writer, now};

/// How long a caller waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long whoever had no answer goes on asking in the end.
const AGAIN: Duration = Duration::from_mins(1);

/// Asks the servers, and writes down what was asked and told.
#[derive(Debug)]
pub(super) struct Caller {
    /// A client of each server.
    pub(super) clients: Vec<Client>,
    /// The workflow of each kind.
    pub(super) workflows: Vec<(Kind, String)>,
    /// Where executions are to call.
    pub(super) outside: String,
    pub(super) writer: Writer,
    pub(super) asked: AtomicU64,
}

/// Asks for so many executions a second, until it is told to stop and all have their answers.
pub(super) async fn run(
    caller: Arc<Caller>,
    a_second: u32,
    seed: u64,
    go_on: watch::Receiver<bool>,
) -> Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut tick = interval(Duration::from_secs(1) / a_second);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut asks, mut known): (JoinSet<Result<()>>, Vec<Ask>) = (JoinSet::new(), vec![]);
    while *go_on.borrow() {
        tick.tick().await;
        // Now and then somebody asks again, perhaps while the first to be asked has not answered.
        let again = (!known.is_empty() && random.random_ratio(1, 20)).then(|| {
            let back = random.random_range(0..known.len().min(200));
            known[known.len() - 1 - back].clone()
        });
        let ask = again.unwrap_or_else(|| {
            let key = Uuid::from_u128(random.random()).to_string();
            Ask { key, kind: Kind::pick(&mut random) }
        });
        known.push(ask.clone());
        let server = random.random_range(0..caller.clients.len());
        let caller = caller.clone();
        asks.spawn(async move { caller.ask(server, &ask).await.map(drop) });
    }
    while let Some(done) = asks.join_next().await {
        done??;
    }
    Ok(())
}

impl Caller {
    /// Asks a server, and notes what came of it.
    pub(super) async fn ask(&self, server: usize, ask: &Ask) -> Result<Outcome> {
        let op = self.asked.fetch_add(1, Ordering::Relaxed);
        self.writer.add(&Record::Invoke { at: now(), op, server, ask: ask.clone() })?;
        let outcome = self.send(server, ask).await;
        let at = now();
        self.writer.add(&match &outcome {
            Outcome::Ok(execution) => Record::Ok { at, op, execution: *execution },
            Outcome::Fail(why) => Record::Fail { at, op, why: why.clone() },
            Outcome::Info { is_answered, why } => {
                Record::Info { at, op, is_answered: *is_answered, why: why.clone() }
            }
        })?;
        if let (Kind::Stopped, Outcome::Ok(execution)) = (ask.kind, &outcome) {
            self.cancel(server, *execution).await;
        }
        Ok(outcome)
    }

    fn workflow(&self, kind: Kind) -> &str {
        let found = self.workflows.iter().find(|(of, _)| *of == kind);
        found.map(|(_, workflow)| workflow.as_str()).unwrap_or_default()
    }

    async fn send(&self, server: usize, ask: &Ask) -> Outcome {
        let path = format!("/workflows/{}/execute", self.workflow(ask.kind));
        let body = json!({"input": {"url": self.outside, "key": ask.key}});
        let request = self.clients[server].request(Method::POST, &path);
        let request = request.header("idempotency-key", &ask.key).json(&body);
        match timeout(PATIENCE, self.clients[server].send(request)).await {
            Ok(Ok(answer)) => answered(&answer),
            Ok(Err(error)) => unanswered(&error),
            Err(_) => Outcome::Info { is_answered: false, why: "no answer in time".to_owned() },
        }
    }

    /// Cancels an execution after a moment; whether that arrives in time is all the same.
    async fn cancel(&self, server: usize, execution: Uuid) {
        sleep(Duration::from_secs(1)).await;
        let workflow = self.workflow(Kind::Stopped);
        let path = format!("/workflows/{workflow}/executions/{execution}/cancel");
        let request = self.clients[server].request(Method::POST, &path);
        let request = request.header("idempotency-key", format!("stop-{execution}"));
        let request = request.json(&json!({"reason": "nobody wants it"}));
        let _ = timeout(PATIENCE, self.clients[server].send(request)).await;
    }

    /// Asks for what nobody knows whether it was accepted, until it is, as callers do.
    pub(super) async fn ask_again(&self, asks: Vec<Ask>) -> Result<()> {
        let deadline = Instant::now() + AGAIN;
        for (nth, ask) in asks.into_iter().enumerate() {
            loop {
                let outcome = self.ask(nth % self.clients.len(), &ask).await?;
                if matches!(outcome, Outcome::Ok(_)) {
                    break;
                }
                ensure!(Instant::now() < deadline, "a command is never accepted: {outcome:?}");
                sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }
}

fn answered(answer: &Answer) -> Outcome {
    let id = answer.body["id"].as_str().and_then(|id| id.parse().ok());
    match (answer.status, id) {
        (202, Some(id)) => Outcome::Ok(id),
        (429 | 500.., _) => {
            let title: &Value = &answer.body["title"];
            let why = format!("{} {title}", answer.status);
            Outcome::Info { is_answered: true, why }
        }
        _ => Outcome::Fail(Why::Refused(format!("{} {}", answer.status, answer.text))),
    }
}

/// Only what was certainly not sent is known to have failed.
fn unanswered(error: &anyhow::Error) -> Outcome {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<reqwest::Error>());
    if causes.any(reqwest::Error::is_connect) {
        return Outcome::Fail(Why::NobodyThere);
    }
    Outcome::Info { is_answered: false, why: format!("{error:#}") }
}
