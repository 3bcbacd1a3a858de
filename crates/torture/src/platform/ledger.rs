//! What callers were told, and what of it must hold in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;
use tokio::time::sleep;
use uuid::Uuid;

use super::{User, callers};
use crate::check::{Invariant, Violation};

/// How long whoever had no answer goes on asking.
const AGAIN: Duration = Duration::from_secs(30);

/// A command, asked once or more under one key.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) key: String,
    pub(super) input: Value,
    /// The execution and the position of each answer that accepted it.
    pub(super) answers: Vec<(String, i64)>,
}

/// What one caller noted.
#[derive(Debug, Default)]
pub(super) struct Noted {
    pub(super) tenant: usize,
    pub(super) asked: Vec<Asked>,
    pub(super) unknown: usize,
    pub(super) read: usize,
    pub(super) violations: Vec<Violation>,
}

/// What all noted.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    asked: Vec<(usize, Asked)>,
    /// The executions that were accepted.
    pub(super) accepted: BTreeSet<String>,
    pub(super) unknown: usize,
    pub(super) read: usize,
    pub(super) violations: Vec<Violation>,
}

impl Ledger {
    pub(super) fn add(&mut self, noted: Noted) {
        let Noted { tenant, asked, unknown, read, violations } = noted;
        self.asked.extend(asked.into_iter().map(|asked| (tenant, asked)));
        self.unknown += unknown;
        self.read += read;
        self.violations.extend(violations);
    }

    /// Asks whatever had no answer until it has one, as callers do.
    pub(super) async fn ask_again(&mut self, tenants: &[User]) -> Result<()> {
        let deadline = Instant::now() + AGAIN;
        for (tenant, asked) in &mut self.asked {
            while asked.answers.is_empty() {
                let answer = callers::ask(&tenants[*tenant], asked).await;
                let told = answer.as_ref().map(|answer| answer.text.as_str()).unwrap_or_default();
                ensure!(Instant::now() < deadline, "a command is never accepted: {told}");
                if let Some(answer) = answer.filter(|answer| answer.status == 202) {
                    let id = answer.body["id"].as_str().unwrap_or_default().to_owned();
                    asked.answers.push((id, 0));
                    break;
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    /// I16 and I1: each key stands for one execution, no two for the same, all are in the log, and
    /// nothing else is.
    pub(super) fn compare(&mut self, there: &[Uuid]) {
        let there: BTreeSet<String> = there.iter().map(ToString::to_string).collect();
        let mut keys: BTreeMap<&str, &str> = BTreeMap::new();
        let mut found = vec![];
        let mut tell = |invariant, what| found.push(Violation { invariant, what });
        for (_, Asked { key, answers, .. }) in &self.asked {
            for (id, _) in answers {
                if *id != answers[0].0 {
                    tell(Invariant::I16, format!("key {key} is {} and {id}", answers[0].0));
                }
                if !there.contains(id) {
                    tell(Invariant::I1, format!("execution {id} was accepted and is not there"));
                }
                if let Some(other) = keys.insert(id, key).filter(|other| other != key) {
                    tell(Invariant::I16, format!("{id} is of the keys {key} and {other}"));
                }
            }
        }
        for id in &there {
            if !keys.contains_key(id.as_str()) {
                tell(Invariant::I2, format!("nobody asked for execution {id}"));
            }
        }
        self.accepted = keys.into_keys().map(str::to_owned).collect();
        self.violations.extend(found);
    }
}
