//! What the log says of executions: their waits, how those ended, and how they ended themselves.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use chrono::DateTime;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

/// Microseconds since 1970 by the database's clock.
pub(super) type Micros = i64;

/// An execution as its events tell it.
#[derive(Debug, Default)]
pub(super) struct Execution {
    /// Whether it was asked for through the API.
    pub(super) is_asked_for: bool,
    /// When its start was recorded.
    pub(super) started: Micros,
    /// The execution and the wait that it was started for.
    pub(super) parent: Option<(Uuid, u64)>,
    /// The key in its input, if it was asked for.
    pub(super) key: Option<String>,
    pub(super) waits: BTreeMap<u64, Wait>,
    /// The names of its last events; one, if all is right.
    pub(super) ends: Vec<String>,
    /// How many events came after the first of those.
    pub(super) after_end: usize,
}

/// A wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// The name of its task.
    pub(super) step: String,
    pub(super) what: What,
    /// How it ended, and when that was recorded.
    pub(super) closed: Option<(String, Micros)>,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// A moment.
    Timer { due: Micros },
    /// An HTTP call, under an idempotency key.
    Http { key: String },
    /// Another execution.
    Workflow,
}

/// An event of an execution.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) execution: Uuid,
    pub(super) name: String,
    pub(super) body: Value,
    pub(super) recorded: Micros,
}

/// All executions, from the log.
pub(super) async fn read(db: &mut PgConnection) -> Result<BTreeMap<Uuid, Execution>> {
    let rows: Vec<(Uuid, String, Vec<u8>, Micros)> = sqlx::query_as(
        "SELECT stream, name, body, (extract(epoch FROM recorded_at) * 1000000)::bigint
         FROM es.event WHERE log_id = 1 AND category = 'execution' ORDER BY position",
    )
    .fetch_all(db)
    .await?;
    let events = rows.into_iter().map(|(execution, name, body, recorded)| {
        Ok(Event { execution, name, body: serde_json::from_slice(&body)?, recorded })
    });
    fold(events.collect::<Result<Vec<_>>>()?)
}

/// All executions, from their events in order.
pub(super) fn fold(events: impl IntoIterator<Item = Event>) -> Result<BTreeMap<Uuid, Execution>> {
    let mut all = BTreeMap::<Uuid, Execution>::new();
    for Event { execution: id, name, body, recorded } in events {
        let execution = all.entry(id).or_default();
        if !execution.ends.is_empty() {
            execution.after_end += 1;
        }
        match name.as_str() {
            "execution.started" => execution.start(&body, recorded),
            "execution.turn_taken" => {
                execution.turn(id, &body, recorded).with_context(|| body.to_string())?;
            }
            _ => execution.ends.push(name),
        }
    }
    Ok(all)
}

impl Execution {
    fn start(&mut self, body: &Value, recorded: Micros) {
        self.started = recorded;
        self.is_asked_for = body["trigger"] == "api";
        let caller = &body["trigger"]["workflow"];
        let execution = caller["execution"].as_str().and_then(|id| id.parse().ok());
        self.parent = execution.zip(caller["wait"].as_u64());
        let key = body["input"]["$personal"][0]["key"].as_str();
        self.key = key.filter(|_| self.is_asked_for).map(str::to_owned);
    }

    fn turn(&mut self, id: Uuid, body: &Value, recorded: Micros) -> Result<()> {
        for closed in list(&body["closed"]) {
            let how = &closed["how"];
            let kind = || how.as_object().and_then(|how| how.keys().next().cloned());
            let how = how.as_str().map(str::to_owned).or_else(kind).unwrap_or_default();
            let wait = closed["wait"].as_u64().and_then(|wait| self.waits.get_mut(&wait));
            wait.context("it closes what was never opened")?.closed = Some((how, recorded));
        }
        for opened in list(&body["opened"]) {
            let (number, task) = (opened["id"].as_u64(), opened["task"].as_str());
            let step = task.and_then(|task| task.rsplit('/').next()).unwrap_or_default();
            let wait =
                Wait { step: step.to_owned(), what: what(id, &opened["what"])?, closed: None };
            self.waits.insert(number.context("a wait without a number")?, wait);
        }
        Ok(())
    }
}

fn what(execution: Uuid, what: &Value) -> Result<What> {
    if let Some(due) = what["timer"]["due_at"].as_str() {
        return Ok(What::Timer { due: DateTime::parse_from_rfc3339(due)?.timestamp_micros() });
    }
    let call = &what["call"];
    if call["request"]["call"] == "workflow" {
        return Ok(What::Workflow);
    }
    let key = call["key"].as_str().context("a wait for something unknown")?;
    Ok(What::Http { key: format!("{execution}.{key}") })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
