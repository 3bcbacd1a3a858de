//! Invocations of agents: what was asked, and what came of it.

use chrono::{DateTime, Utc};
use domain::invocation::{Event, FailureClass, Invocation, Report};
use domain::subject::Subject;
use domain::{Aggregate, Fact, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::FromRow;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::values::{json, micros};
use crate::{Cursor, Page, Paging, Reader, Seen, Table, View};

/// An invocation of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema, FromRow)]
#[schema(as = Invocation)]
pub struct Detail {
    /// Its id.
    pub id: Uuid,
    /// The agent.
    pub agent_id: Uuid,
    /// The agent's revision it is pinned to.
    pub revision: i64,
    /// The prompt it is pinned to, if the agent has one.
    pub prompt_id: Option<Uuid>,
    /// That prompt's version.
    pub prompt_version: Option<i64>,
    /// The execution that asked, if one did.
    pub execution_id: Option<Uuid>,
    /// `running`, `completed` or `failed`.
    pub status: String,
    /// What the agent was given.
    pub input: Value,
    /// JSON that satisfies the agent's schema, or text.
    pub output: Option<Value>,
    /// Why there is no answer.
    #[sqlx(json(nullable))]
    pub error: Option<Failure>,
    /// What calling the model took.
    #[sqlx(json(nullable))]
    pub report: Option<Took>,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Whether the person whose data these are was erased: then input and output are null.
    pub erased: bool,
    /// Version of its stream.
    #[serde(skip)]
    pub etag: i64,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = InvocationFailure)]
pub struct Failure {
    /// Which sort of failure, such as `output_invalid` or `rate_limited`.
    #[schema(value_type = String)]
    pub class: FailureClass,
    /// What happened.
    pub detail: String,
}

/// What calling a model took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = InvocationReport)]
pub struct Took {
    /// The provider that was called.
    pub provider: String,
    /// The model that answered, by the provider's word.
    pub model: String,
    /// How often the model was called.
    pub calls: u32,
    /// Tokens that went in, over all calls.
    pub input_tokens: u64,
    /// Tokens that came out, over all calls.
    pub output_tokens: u64,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

impl From<&Report> for Took {
    fn from(report: &Report) -> Self {
        let Report { provider, model, calls, input_tokens, output_tokens, duration_ms } = report;
        Self {
            provider: provider.clone(),
            model: model.clone(),
            calls: *calls,
            input_tokens: *input_tokens,
            output_tokens: *output_tokens,
            duration_ms: *duration_ms,
        }
    }
}

/// One invocation.
pub async fn get(reader: &mut Reader, id: Uuid) -> sqlx::Result<Option<Detail>> {
    let (db, tenant) = reader.parts();
    let found = sqlx::query_as(
        "SELECT id, agent AS agent_id, revision, prompt AS prompt_id,
             prompt_number AS prompt_version, execution AS execution_id, status,
             input::json AS input, output::json AS output, error, report,
             requested_at, ended_at, erased, version AS etag
         FROM rm.invocations
         WHERE tenant = $1 AND id = $2",
    );
    found.bind(tenant).bind(id).fetch_optional(db).await
}

/// Invocations of an agent, the newest first.
pub async fn list(reader: &mut Reader, agent: Uuid, paging: Paging) -> sqlx::Result<Page<Detail>> {
    let (db, tenant) = reader.parts();
    let found = sqlx::query_as(
        "SELECT id, agent AS agent_id, revision, prompt AS prompt_id,
             prompt_number AS prompt_version, execution AS execution_id, status,
             input::json AS input, output::json AS output, error, report,
             requested_at, ended_at, erased, version AS etag
         FROM rm.invocations
         WHERE tenant = $1 AND agent = $2 AND (requested_at, id) < ($3, $4)
         ORDER BY requested_at DESC, id DESC LIMIT $5",
    )
    .bind(tenant)
    .bind(agent);
    paging.fetch(db, found, |row: &Detail| Cursor { at: row.requested_at, id: row.id }).await
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    agent: Uuid,
    revision: u32,
    prompt: Option<Uuid>,
    prompt_number: Option<u32>,
    execution: Option<Uuid>,
    status: String,
    requested_at: Timestamp,
    ended_at: Option<Timestamp>,
    version: i64,
    input: String,
    output: Option<String>,
    error: Option<Failure>,
    report: Option<Took>,
    subject: Option<Uuid>,
    erased: bool,
}

/// The view itself.
#[derive(Debug)]
pub(crate) struct Invocations;

impl View for Invocations {
    const TABLE: Table = Table { name: "invocations", key: &["tenant", "id"] };
    const FOLDS: &'static [&'static str] = &[Invocation::NAME, Subject::NAME];
    const FORGET: Option<fn(&mut Row)> = Some(Row::forget);
    type Key = (Uuid, Uuid);
    type Row = Row;

    fn keys(seen: &Seen) -> Vec<Self::Key> {
        seen.key_if(matches!(*seen.fact, Fact::Invocation(_)))
    }

    fn begins(_: &Self::Key, seen: &Seen) -> bool {
        seen.is_first()
    }

    fn evolve(_: &Self::Key, row: &mut Option<Row>, seen: &Seen) {
        let Fact::Invocation(event) = &*seen.fact else { return };
        if let Event::Requested { .. } = event {
            *row = begun(event, seen);
        }
        let Some(row) = row else { return };
        row.version = seen.version;
        row.subject = seen.subject.or(row.subject);
        match event {
            Event::Requested { .. } => {}
            Event::Completed { output, report, caller: _ } => {
                row.end("completed", report, seen);
                row.output = output.known().map(json);
            }
            Event::Failed { class, detail, report, caller: _ } => {
                row.end("failed", report, seen);
                row.error = Some(Failure { class: *class, detail: detail.clone().into_inner() });
            }
        }
    }
}

fn begun(event: &Event, seen: &Seen) -> Option<Row> {
    let Event::Requested { agent, revision, prompt, input, subject: _, caller } = event else {
        return None;
    };
    Some(Row {
        agent: agent.as_uuid(),
        revision: *revision,
        prompt: prompt.map(|(prompt, _)| prompt.as_uuid()),
        prompt_number: prompt.map(|(_, number)| number),
        execution: caller.map(|caller| caller.execution.as_uuid()),
        status: "running".to_owned(),
        requested_at: micros(seen.meta.at),
        ended_at: None,
        version: seen.version,
        input: json(input),
        output: None,
        error: None,
        report: None,
        subject: seen.subject,
        erased: input.is_erased(),
    })
}

impl Row {
    fn forget(&mut self) {
        self.erased = true;
        self.input = json(&Value::Null);
        self.output = None;
        if let Some(failure) = &mut self.error {
            failure.detail.clear();
        }
    }

    fn end(&mut self, status: &str, report: &Report, seen: &Seen) {
        status.clone_into(&mut self.status);
        self.ended_at = Some(micros(seen.meta.at));
        self.report = Some(report.into());
    }
}
