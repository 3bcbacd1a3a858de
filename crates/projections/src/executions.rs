//! Executions: one row each, with what it still waits for.

use chrono::{DateTime, Utc};
use domain::execution::{self, Event, Execution, Turn, Wait};
use domain::subject::Subject;
use domain::{Aggregate, Fact, Id, Tenant, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::types::Json;
use sqlx::{FromRow, PgPool, Postgres, QueryBuilder};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::tasks::{self, Task};
use crate::told::value;
use crate::values::{json, micros, millis_between, problem, without_detail};
use crate::{Cursor, Page, Paging, Reader, Seen, Table, View, waits};

/// An execution, without the data that went in and came out.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema, FromRow)]
#[schema(as = ExecutionSummary)]
pub struct Summary {
    /// Its id.
    pub id: Uuid,
    /// What it runs.
    pub workflow_id: Uuid,
    /// The version of the workflow it is pinned to, as the document calls it.
    pub workflow_version: String,
    /// The same version by its number.
    pub revision: i64,
    /// `running`; `waiting` while nothing happens but time passing; `completed`, `faulted` or
    /// `cancelled`.
    pub status: String,
    /// What made it start.
    #[sqlx(json)]
    pub trigger: Trigger,
    /// The error that ended it, as a problem detail (RFC 9457).
    pub error: Option<Value>,
    /// Why it was cancelled.
    pub reason: Option<String>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<i64>,
    /// Whether the person whose data it worked on was erased: then input and output are null, and
    /// what else it said of them is gone.
    pub erased: bool,
    /// Version of its stream.
    #[serde(skip)]
    pub etag: i64,
}

/// An execution with everything.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema, FromRow)]
#[schema(as = Execution)]
pub struct Detail {
    /// What lists show of it.
    #[serde(flatten)]
    #[sqlx(flatten)]
    pub summary: Summary,
    /// What it was started with.
    pub input: Value,
    /// What it produced.
    pub output: Option<Value>,
    /// What it waits for; empty when it has ended.
    #[sqlx(json)]
    pub why: Vec<Why>,
    /// What its tasks did, in the order they began; the first 10,000.
    #[sqlx(skip)]
    pub tasks: Vec<Task>,
}

/// What made an execution start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = ExecutionTrigger)]
pub enum Trigger {
    /// Somebody asked for it through the API.
    Api,
    /// A webhook delivery.
    Webhook {
        /// Which one.
        delivery: Uuid,
    },
    /// A `run: workflow` task of another execution.
    Workflow {
        /// The execution.
        execution: Uuid,
        /// Which of its waits.
        wait: u32,
    },
}

/// Something an execution waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ExecutionWait)]
pub struct Why {
    /// Its number in the execution.
    pub wait: u32,
    /// The task that waits, as a JSON Pointer into the document; empty for the workflow itself.
    pub task: String,
    /// `timer`, `retry`, `timeout`, `http`, `agent`, `integration`, `notify` or `workflow`;
    /// `quarantine` if what `wait` waits for is not done, because that went wrong each time.
    pub waits_for: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// When it is over by itself: the timer fires, or the next attempt comes.
    pub until: Option<DateTime<Utc>>,
    /// What for, in words.
    pub detail: String,
}

/// Which executions a list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those of this workflow.
    pub workflow: Option<Uuid>,
    /// Those with this status.
    pub status: Option<String>,
}

const SUMMARY: &str = "id, workflow AS workflow_id, workflow_version, revision, status, trigger,
    error::json AS error, reason, started_at, ended_at, duration_ms, erased, version AS etag";

/// One execution with its tasks.
pub async fn get(reader: &mut Reader, id: Uuid) -> sqlx::Result<Option<Detail>> {
    let (db, tenant) = reader.parts();
    let mut query = QueryBuilder::<Postgres>::new("SELECT ");
    query.push(SUMMARY).push(", input::json AS input, output::json AS output, waits AS why");
    query.push(" FROM rm.executions WHERE tenant = ").push_bind(tenant);
    query.push(" AND id = ").push_bind(id);
    let found = query.build_query_as::<Detail>().fetch_optional(db).await?;
    let Some(mut execution) = found else { return Ok(None) };
    execution.tasks = tasks::of(reader, id).await?;
    if execution.summary.ended_at.is_none() {
        execution.why.extend(quarantine(reader, id).await?);
    }
    Ok(Some(execution))
}

/// What nobody does for an execution at present, because it went wrong each time.
async fn quarantine(reader: &mut Reader, id: Uuid) -> sqlx::Result<Option<Why>> {
    let (db, tenant) = reader.parts();
    let found: Option<Json<Why>> = sqlx::query_scalar(
        "SELECT jsonb_build_object('wait', item, 'task', '', 'waits_for', 'quarantine',
             'since', since, 'until', retry_at, 'detail', cause || ': ' || reason)
         FROM ops.quarantine
         WHERE tenant = $1 AND category = $2 AND stream = $3
             AND (retry_at IS NULL OR retry_at > clock_timestamp())",
    )
    .bind(tenant)
    .bind(Execution::NAME)
    .bind(id)
    .fetch_optional(db)
    .await?;
    Ok(found.map(|Json(why)| why))
}

/// Executions, the newest first.
pub async fn list(
    reader: &mut Reader,
    filter: &Filter,
    paging: Paging,
) -> sqlx::Result<Page<Summary>> {
    let (db, tenant) = reader.parts();
    let mut query = QueryBuilder::<Postgres>::new("SELECT ");
    query.push(SUMMARY).push(" FROM rm.executions WHERE tenant = ").push_bind(tenant);
    if let Some(workflow) = filter.workflow {
        query.push(" AND workflow = ").push_bind(workflow);
    }
    if let Some(status) = &filter.status {
        query.push(" AND status = ").push_bind(status);
    }
    query.push(" AND (started_at, id) < (").push_bind(paging.before());
    query.push(", ").push_bind(paging.before_id());
    query.push(") ORDER BY started_at DESC, id DESC LIMIT ").push_bind(paging.rows());
    let rows = query.build_query_as::<Summary>().fetch_all(db).await?;
    Ok(paging.page(rows, |row| Cursor { at: row.started_at, id: row.id }))
}

/// The executions that work on a subject's data and have not ended.
pub async fn running_of(
    pool: &PgPool,
    tenant: Id<Tenant>,
    subject: Id<Subject>,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar(
        "SELECT id FROM rm.executions
         WHERE tenant = $1 AND subject = $2 AND ended_at IS NULL ORDER BY id",
    )
    .bind(tenant.as_uuid())
    .bind(subject.as_uuid())
    .fetch_all(pool)
    .await
}

/// Tenant and id.
type Key = (Uuid, Uuid);

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    workflow: Uuid,
    revision: u32,
    workflow_version: String,
    status: String,
    trigger: Trigger,
    waits: Vec<Why>,
    started_at: Timestamp,
    ended_at: Option<Timestamp>,
    duration_ms: Option<i64>,
    version: i64,
    input: String,
    output: Option<String>,
    error: Option<String>,
    reason: Option<String>,
    subject: Option<Uuid>,
    erased: bool,
}

/// The view itself.
#[derive(Debug)]
pub(crate) struct Executions;

impl View for Executions {
    const TABLE: Table = Table { name: "executions", key: &["tenant", "id"] };
    const FOLDS: &'static [&'static str] = &[Execution::NAME, Subject::NAME];
    const FORGET: Option<fn(&mut Row)> = Some(Row::forget);
    type Key = Key;
    type Row = Row;

    fn keys(seen: &Seen) -> Vec<Key> {
        seen.key_if(matches!(*seen.fact, Fact::Execution(_)))
    }

    fn begins(_: &Self::Key, seen: &Seen) -> bool {
        seen.is_first()
    }

    fn goes_on(row: &Row) -> bool {
        row.ended_at.is_none()
    }

    fn evolve(_: &Key, row: &mut Option<Row>, seen: &Seen) {
        let Fact::Execution(event) = &*seen.fact else { return };
        if let Event::Started { .. } = event {
            *row = begun(event, seen);
        }
        let Some(row) = row else { return };
        row.version = seen.version;
        row.subject = seen.subject.or(row.subject);
        match event {
            Event::Started { .. } => {}
            Event::TurnTaken(turn) => row.take(turn),
            Event::Completed { output, parent: _ } => {
                row.end("completed", seen);
                row.output = output.known().map(json);
            }
            Event::Faulted { error, parent: _ } => {
                row.end("faulted", seen);
                row.error = Some(problem(error));
            }
            Event::Cancelled { reason, by: _, parent: _ } => {
                row.end("cancelled", seen);
                row.reason = reason.known().cloned();
            }
        }
    }
}

fn begun(event: &Event, seen: &Seen) -> Option<Row> {
    let Event::Started { id: _, workflow, revision, version, input, subject: _, trigger } = event
    else {
        return None;
    };
    Some(Row {
        workflow: workflow.as_uuid(),
        revision: *revision,
        workflow_version: version.clone(),
        status: "running".to_owned(),
        trigger: trigger.into(),
        waits: vec![],
        started_at: micros(seen.meta.at),
        ended_at: None,
        duration_ms: None,
        version: seen.version,
        input: json(input),
        output: None,
        error: None,
        reason: None,
        subject: seen.subject,
        erased: input.is_erased(),
    })
}

impl Row {
    fn take(&mut self, turn: &Turn) {
        self.waits.retain(|why| turn.closed.iter().all(|closed| closed.wait != why.wait));
        self.waits.extend(turn.opened.iter().map(Why::from));
        let only_time = |why: &Why| why.until.is_some();
        let waits = !self.waits.is_empty() && self.waits.iter().all(only_time);
        self.status = if waits { "waiting" } else { "running" }.to_owned();
    }

    /// What is shown of it.
    pub(crate) fn shown(self, id: Uuid, tasks: Vec<Task>) -> Detail {
        let summary = Summary {
            id,
            workflow_id: self.workflow,
            workflow_version: self.workflow_version,
            revision: self.revision.into(),
            status: self.status,
            trigger: self.trigger,
            error: self.error.as_deref().map(value),
            reason: self.reason,
            started_at: self.started_at,
            ended_at: self.ended_at,
            duration_ms: self.duration_ms,
            erased: self.erased,
            etag: self.version,
        };
        let (input, output) = (value(&self.input), self.output.as_deref().map(value));
        Detail { summary, input, output, why: self.waits, tasks }
    }

    fn forget(&mut self) {
        self.erased = true;
        self.input = json(&Value::Null);
        self.output = None;
        self.reason = None;
        without_detail(&mut self.error);
        for why in &mut self.waits {
            waits::forget(&why.waits_for, &mut why.detail);
        }
    }

    fn end(&mut self, status: &str, seen: &Seen) {
        let at = micros(seen.meta.at);
        self.status = status.to_owned();
        self.ended_at = Some(at);
        self.duration_ms = Some(millis_between(self.started_at, at));
        self.waits.clear();
    }
}

impl From<&Wait> for Why {
    fn from(wait: &Wait) -> Self {
        Self {
            wait: wait.id,
            task: wait.task.clone(),
            waits_for: waits::kind(&wait.what).to_owned(),
            since: micros(wait.since),
            until: waits::due(&wait.what),
            detail: waits::detail(&wait.what),
        }
    }
}

impl From<&execution::Trigger> for Trigger {
    fn from(trigger: &execution::Trigger) -> Self {
        match trigger {
            execution::Trigger::Api => Self::Api,
            execution::Trigger::Webhook(delivery) => Self::Webhook { delivery: delivery.as_uuid() },
            execution::Trigger::Workflow(caller) => {
                Self::Workflow { execution: caller.execution.as_uuid(), wait: caller.wait }
            }
        }
    }
}
