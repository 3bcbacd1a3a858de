//! Callers: each runs one workflow again and again under idempotency keys, looks at what came of it
//! at once, and notes every answer.

use std::ops::Range;
use std::time::Duration;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use testkit::api::Answer;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::User;
use super::ledger::{Asked, Noted};
use crate::check::{Invariant, Violation};

/// The workflow: its input is its output.
pub(super) const ECHO: &str = "
document: {dsl: 1.0.3, namespace: torture, name: echo, version: 1.0.0}
do:
  - answer:
      set:
        echoed: ${ . }
";
/// How long a caller waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A caller of one tenant.
pub(super) struct Caller {
    /// `TENANT.NUMBER`; it stands in all its inputs.
    name: String,
    user: User,
    random: StdRng,
    /// How long it pauses between two calls, in milliseconds.
    pause: Range<u64>,
    noted: Noted,
}

impl Caller {
    pub(super) fn new(name: String, user: User, seed: u64, pause: Range<u64>) -> Self {
        let random = StdRng::seed_from_u64(seed);
        let noted = Noted { tenant: usize::from(!name.starts_with('0')), ..Noted::default() };
        Self { name, user, random, pause, noted }
    }

    /// Calls until it is told to stop.
    pub(super) async fn run(mut self, go_on: watch::Receiver<bool>) -> Noted {
        while *go_on.borrow() {
            let pause = self.random.random_range(self.pause.clone());
            sleep(Duration::from_millis(pause)).await;
            match self.random.random_range(0..10) {
                0..6 => self.start().await,
                6 => self.repeat().await,
                7 | 8 => self.look().await,
                _ => self.list().await,
            }
        }
        self.noted
    }

    /// Runs the workflow under a new key.
    async fn start(&mut self) {
        let key = Uuid::from_u128(self.random.random()).to_string();
        let input = json!({"by": self.name, "key": key});
        self.noted.asked.push(Asked { key, input, answers: vec![] });
        self.ask(self.noted.asked.len() - 1).await;
    }

    /// Asks again what was asked before.
    async fn repeat(&mut self) {
        if !self.noted.asked.is_empty() {
            let nth = self.random.random_range(0..self.noted.asked.len());
            self.ask(nth).await;
        }
    }

    async fn ask(&mut self, nth: usize) {
        let asked = self.noted.asked[nth].clone();
        match ask(&self.user, &asked).await {
            Some(answer) if answer.status == 202 => {
                let id = answer.body["id"].as_str().unwrap_or_default().to_owned();
                let at = answer.header("x-position").and_then(|text| text.parse().ok());
                self.noted.asked[nth].answers.push((id, at.unwrap_or_default()));
            }
            Some(answer) if answer.status < 500 && answer.status != 429 => {
                let what = format!("a right command was refused: {}", answer.text);
                self.found(Invariant::I16, what);
            }
            Some(_) | None => self.noted.unknown += 1,
        }
    }

    /// Looks at something that was accepted, as of that moment: it must be there, and right.
    async fn look(&mut self) {
        let known: Vec<&Asked> =
            self.noted.asked.iter().filter(|asked| !asked.answers.is_empty()).collect();
        if known.is_empty() {
            return;
        }
        // Mostly something new.
        let back = self.random.random_range(0..known.len().min(20));
        let asked = known[known.len() - 1 - back].clone();
        let (id, at) = &asked.answers[0];
        let path = format!("/workflows/{}/executions/{id}", self.user.workflow);
        let Some(answer) = self.get(&path, *at).await else { return };
        if answer.status != 200 || answer.body["input"] != asked.input {
            let what = format!("execution {id}, accepted at {at}, is told as {}", answer.text);
            self.found(Invariant::I8, what);
        }
    }

    /// Looks at all workflows, and at the newest executions: all must be of its own tenant.
    async fn list(&mut self) {
        let Some(answer) = self.get("/workflows", 0).await else { return };
        let workflow = self.user.workflow.clone();
        self.check_own(&answer, |item| item["id"].as_str() == Some(&workflow));
        let path = format!("/workflows/{workflow}/executions?limit=20");
        let Some(answer) = self.get(&path, 0).await else { return };
        let tenant = self.name[..1].to_owned();
        self.check_own(&answer, |item| {
            item["input"]["by"].as_str().is_none_or(|by| by.starts_with(&tenant))
        });
    }

    fn check_own(&mut self, answer: &Answer, is_own: impl Fn(&Value) -> bool) {
        let items = answer.body["items"].as_array();
        if let Some(theirs) = items.into_iter().flatten().find(|item| !is_own(item)) {
            self.found(Invariant::I18, format!("{} is told of {theirs}", self.name));
        }
    }

    /// An answer that says something.
    async fn get(&mut self, path: &str, position: i64) -> Option<Answer> {
        let request = self.user.client.request(Method::GET, path).header("min-position", position);
        let answer = timeout(PATIENCE, self.user.client.send(request)).await;
        let answer = answer.ok().and_then(Result::ok);
        let answer = answer.filter(|answer| answer.status < 500 && answer.status != 429);
        match &answer {
            Some(_) => self.noted.read += 1,
            None => self.noted.unknown += 1,
        }
        answer
    }

    fn found(&mut self, invariant: Invariant, what: String) {
        self.noted.violations.push(Violation { invariant, what });
    }
}

/// Runs the workflow; nothing if no whole answer came in time.
pub(super) async fn ask(user: &User, asked: &Asked) -> Option<Answer> {
    let body: Value = json!({"input": asked.input});
    let path = format!("/workflows/{}/execute", user.workflow);
    let request = user.client.request(Method::POST, &path);
    let request = request.header("idempotency-key", &asked.key).json(&body);
    timeout(PATIENCE, user.client.send(request)).await.ok()?.ok()
}
