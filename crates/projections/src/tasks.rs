//! What the tasks of executions did: one row per run of a task.

use chrono::{DateTime, Utc};
use domain::execution::{Event, Execution, Progress, Step};
use domain::subject::Subject;
use domain::{Aggregate, Fact, Personal, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::FromRow;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::told::value;
use crate::values::{integer, json, micros, problem, without_detail};
use crate::{Reader, Seen, Table, View};

/// One run of one task.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema, FromRow)]
#[schema(as = ExecutionTask)]
pub struct Task {
    /// Its number: runs are counted over the whole execution in the order they began.
    pub run: i32,
    /// Name of the task.
    pub name: String,
    /// The task, as a JSON Pointer into the document.
    pub task: String,
    /// `running`, `completed`, `faulted`, `skipped`, `cancelled` or `retrying`.
    pub status: String,
    /// Which attempt, from 1; counted by the `try` that makes the attempts.
    pub attempt: i64,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// What went in, unless it is large.
    pub input: Option<Value>,
    /// What came out, unless it is large.
    pub output: Option<Value>,
    /// What went wrong, as a problem detail (RFC 9457).
    pub error: Option<Value>,
}

/// How many runs of an execution are shown.
pub(crate) const SHOWN: usize = 10_000;

/// The runs of an execution, in order; the first [`SHOWN`].
pub(crate) async fn of(reader: &mut Reader, execution: Uuid) -> sqlx::Result<Vec<Task>> {
    let (db, tenant) = reader.parts();
    let sql = "
        SELECT run, name, task, status, attempt, started_at, ended_at,
            input::json AS input, output::json AS output, error::json AS error
        FROM rm.execution_tasks
        WHERE tenant = $1 AND execution = $2
        ORDER BY run
        LIMIT $3";
    let most = i64::try_from(SHOWN).unwrap_or(i64::MAX);
    sqlx::query_as(sql).bind(tenant).bind(execution).bind(most).fetch_all(db).await
}

/// Tenant, execution and run.
type Key = (Uuid, Uuid, i32);

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    task: String,
    name: String,
    status: String,
    attempt: u32,
    started_at: Timestamp,
    ended_at: Option<Timestamp>,
    input: Option<String>,
    output: Option<String>,
    error: Option<String>,
    subject: Option<Uuid>,
}

/// The view itself.
#[derive(Debug)]
pub(crate) struct Tasks;

impl View for Tasks {
    const TABLE: Table = Table { name: "execution_tasks", key: &["tenant", "execution", "run"] };
    const FOLDS: &'static [&'static str] = &[Execution::NAME, Subject::NAME];
    const FORGET: Option<fn(&mut Row)> = Some(Row::forget);
    type Key = Key;
    type Row = Row;

    fn keys(seen: &Seen) -> Vec<Key> {
        match &*seen.fact {
            Fact::Execution(Event::TurnTaken(turn)) => {
                let tenant = seen.meta.tenant.as_uuid();
                turn.steps.iter().map(|step| (tenant, seen.stream, integer(step.run))).collect()
            }
            // The turn before the end says what became of every task.
            Fact::Execution(
                Event::Started { .. }
                | Event::Completed { .. }
                | Event::Faulted { .. }
                | Event::Cancelled { .. },
            )
            | Fact::Agent(_)
            | Fact::ApiKey(_)
            | Fact::Integration(_)
            | Fact::Invocation(_)
            | Fact::Notification(_)
            | Fact::Payload(_)
            | Fact::Prompt(_)
            | Fact::Subject(_)
            | Fact::Template(_)
            | Fact::Webhook(_)
            | Fact::Workflow(_) => vec![],
        }
    }

    /// Runs have numbers of their own, and one that begins was never there.
    fn begins((.., run): &Key, seen: &Seen) -> bool {
        let Fact::Execution(Event::TurnTaken(turn)) = &*seen.fact else { return false };
        let first = turn.steps.iter().find(|step| integer(step.run) == *run);
        first.is_some_and(|step| is_beginning(&step.what))
    }

    fn goes_on(row: &Row) -> bool {
        row.ended_at.is_none()
    }

    fn evolve((.., run): &Key, row: &mut Option<Row>, seen: &Seen) {
        let Fact::Execution(Event::TurnTaken(turn)) = &*seen.fact else { return };
        for step in turn.steps.iter().filter(|step| integer(step.run) == *run) {
            if is_beginning(&step.what) {
                *row = None;
            }
            let row = row.get_or_insert_with(|| begun(step, seen));
            row.subject = seen.subject.or(row.subject);
            row.note(&step.what, seen);
        }
    }
}

/// Whether that is how a run begins. A task that is skipped never starts.
fn is_beginning(what: &Progress) -> bool {
    matches!(what, Progress::Started { .. } | Progress::Skipped)
}

fn begun(step: &Step, seen: &Seen) -> Row {
    Row {
        task: step.task.clone(),
        name: name(&step.task),
        status: "running".to_owned(),
        attempt: 1,
        started_at: micros(seen.meta.at),
        ended_at: None,
        input: None,
        output: None,
        error: None,
        subject: seen.subject,
    }
}

impl Row {
    fn note(&mut self, what: &Progress, seen: &Seen) {
        match what {
            Progress::Started { input } => self.input = kept(input.as_ref()),
            Progress::Completed { output } => {
                self.end("completed", seen);
                self.output = kept(output.as_ref());
                self.error = None;
            }
            Progress::Faulted(error) => {
                self.end("faulted", seen);
                self.error = Some(problem(error));
            }
            Progress::Retrying { error, attempt, at: _ } => {
                "retrying".clone_into(&mut self.status);
                self.attempt = *attempt;
                self.error = Some(problem(error));
            }
            Progress::Skipped => self.end("skipped", seen),
            Progress::Cancelled => self.end("cancelled", seen),
        }
    }

    /// What is shown of it.
    pub(crate) fn shown(self, run: i32) -> Task {
        Task {
            run,
            name: self.name,
            task: self.task,
            status: self.status,
            attempt: self.attempt.into(),
            started_at: self.started_at,
            ended_at: self.ended_at,
            input: self.input.as_deref().map(value),
            output: self.output.as_deref().map(value),
            error: self.error.as_deref().map(value),
        }
    }

    fn forget(&mut self) {
        (self.input, self.output) = (None, None);
        without_detail(&mut self.error);
    }

    fn end(&mut self, status: &str, seen: &Seen) {
        status.clone_into(&mut self.status);
        self.ended_at = Some(micros(seen.meta.at));
    }
}

/// A value as JSON text, unless there is none or it was erased.
fn kept(value: Option<&Personal<Value>>) -> Option<String> {
    value.and_then(Personal::known).map(json)
}

/// The name of a task: the last segment of its pointer (RFC 6901).
fn name(pointer: &str) -> String {
    let last = pointer.rsplit('/').next().unwrap_or_default();
    last.replace("~1", "/").replace("~0", "~")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_called_by_the_last_segment_of_its_pointer() {
        assert_eq!(name("/do/0/attempt/try/1/call~1me~0"), "call/me~");
        assert_eq!(name(""), "");
    }
}
