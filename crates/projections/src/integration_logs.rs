//! What went through integrations: deliveries that came in, calls of executions that went out,
//! and tests.

use chrono::{DateTime, Utc};
use domain::execution::{Ending, Error, Event, Execution, Request, Turn, Wait, WaitId, What};
use domain::integration::{self, Integration};
use domain::subject::Subject;
use domain::webhook::{self, Delivery};
use domain::{Aggregate, Fact, Id, Personal, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::values::micros;
use crate::{Cursor, Page, Paging, Reader, Seen, Table, View};

/// Something that went through an integration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema, FromRow)]
#[schema(as = IntegrationLogEntry)]
pub struct Entry {
    /// Its id.
    pub id: Uuid,
    /// When it came in, or was to go out.
    pub at: DateTime<Utc>,
    /// When it was over.
    pub ended_at: Option<DateTime<Utc>>,
    /// `in` or `out`.
    pub direction: String,
    /// The sender's name for a delivery; the operation of a call; `test`.
    pub kind: String,
    /// `received` for deliveries. For what goes out: `pending`, `succeeded`, `failed`, `unknown`
    /// (nobody knows whether it was carried out) or `dropped` (nobody waits for it any more).
    pub outcome: String,
    /// The execution that made the call.
    pub execution_id: Option<Uuid>,
    /// What happened, in words.
    pub detail: Option<String>,
}

/// What went through an integration, the newest first.
pub async fn list(
    reader: &mut Reader,
    integration: Uuid,
    paging: Paging,
) -> sqlx::Result<Page<Entry>> {
    let (db, tenant) = reader.parts();
    let found = sqlx::query_as(
        "SELECT id, at, ended_at, direction, kind, outcome, execution AS execution_id, detail
         FROM rm.integration_logs
         WHERE tenant = $1 AND integration = $2 AND (at, id) < ($3, $4)
         ORDER BY at DESC, id DESC LIMIT $5",
    )
    .bind(tenant)
    .bind(integration);
    paging.fetch(db, found, |row: &Entry| Cursor { at: row.at, id: row.id }).await
}

/// Tenant and id: that of the event, or one that follows from execution and wait.
type Key = (Uuid, Uuid);

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    integration: Uuid,
    at: Timestamp,
    ended_at: Option<Timestamp>,
    direction: String,
    kind: String,
    outcome: String,
    execution: Option<Uuid>,
    detail: Option<String>,
    subject: Option<Uuid>,
}

/// The view itself.
#[derive(Debug)]
pub(crate) struct IntegrationLogs;

impl View for IntegrationLogs {
    const TABLE: Table = Table { name: "integration_logs", key: &["tenant", "id"] };
    const FOLDS: &'static [&'static str] =
        &[Execution::NAME, Integration::NAME, Delivery::NAME, Subject::NAME];
    const FORGET: Option<fn(&mut Row)> = Some(|row| row.detail = None);
    type Key = Key;
    type Row = Row;

    fn keys(seen: &Seen) -> Vec<Key> {
        let tenant = seen.meta.tenant.as_uuid();
        match &*seen.fact {
            Fact::Webhook(webhook::Event::Received { .. })
            | Fact::Integration(integration::Event::Tested { .. }) => vec![(tenant, seen.id)],
            Fact::Execution(Event::TurnTaken(turn)) => {
                // What a closed wait was for, only its row knows.
                let opened = turn.opened.iter().filter(|wait| operation(wait).is_some());
                let waits = opened.map(|wait| wait.id);
                let waits = waits.chain(turn.closed.iter().map(|closed| closed.wait));
                waits.map(|wait| (tenant, call(seen, wait))).collect()
            }
            Fact::Execution(
                Event::Started { .. }
                | Event::Completed { .. }
                | Event::Faulted { .. }
                | Event::Cancelled { .. },
            )
            | Fact::Integration(
                integration::Event::Revised { .. } | integration::Event::Deleted {},
            )
            | Fact::Agent(_)
            | Fact::ApiKey(_)
            | Fact::Invocation(_)
            | Fact::Notification(_)
            | Fact::Payload(_)
            | Fact::Prompt(_)
            | Fact::Subject(_)
            | Fact::Template(_)
            | Fact::Workflow(_) => vec![],
        }
    }

    fn evolve((_, id): &Key, row: &mut Option<Row>, seen: &Seen) {
        match &*seen.fact {
            Fact::Webhook(webhook::Event::Received { integration, event_type, .. }) => {
                let kind = event_type.clone().unwrap_or_default();
                *row = Some(Row {
                    outcome: "received".to_owned(),
                    ended_at: Some(micros(seen.meta.at)),
                    ..entry(*integration, "in", kind, seen)
                });
            }
            Fact::Integration(integration::Event::Tested { ok, detail, .. }) => {
                let outcome = if *ok { "succeeded" } else { "failed" };
                *row = Some(Row {
                    outcome: outcome.to_owned(),
                    ended_at: Some(micros(seen.meta.at)),
                    detail: Some(detail.clone()),
                    ..entry(Id::from_uuid(seen.stream), "out", "test".to_owned(), seen)
                });
            }
            Fact::Execution(Event::TurnTaken(turn)) => take(*id, row, turn, seen),
            Fact::Execution(
                Event::Started { .. }
                | Event::Completed { .. }
                | Event::Faulted { .. }
                | Event::Cancelled { .. },
            )
            | Fact::Integration(
                integration::Event::Revised { .. } | integration::Event::Deleted {},
            )
            | Fact::Agent(_)
            | Fact::ApiKey(_)
            | Fact::Invocation(_)
            | Fact::Notification(_)
            | Fact::Payload(_)
            | Fact::Prompt(_)
            | Fact::Subject(_)
            | Fact::Template(_)
            | Fact::Workflow(_) => {}
        }
    }
}

/// The id of the entry of a call.
fn call(seen: &Seen, wait: WaitId) -> Uuid {
    Id::<Row>::derived(seen.stream, &format!("integration_log/{wait}")).as_uuid()
}

/// Integration and operation of a wait, if that is what it waits for.
fn operation(wait: &Wait) -> Option<(&str, &str)> {
    match &wait.what {
        What::Call { request: Request::Integration { integration, operation, .. }, .. } => {
            Some((integration, operation))
        }
        What::Call {
            request:
                Request::Http(_)
                | Request::Agent { .. }
                | Request::Notify { .. }
                | Request::Workflow { .. },
            ..
        }
        | What::Timer { .. } => None,
    }
}

fn take(id: Uuid, row: &mut Option<Row>, turn: &Turn, seen: &Seen) {
    let closed = turn.closed.iter().find(|closed| call(seen, closed.wait) == id);
    if let (Some(row), Some(closed)) = (row.as_mut(), closed) {
        let (outcome, detail) = outcome(&closed.how);
        row.outcome = outcome.to_owned();
        row.detail = detail;
        row.subject = seen.subject.or(row.subject);
        row.ended_at = Some(micros(seen.meta.at));
    }
    let opened = turn.opened.iter().find(|wait| call(seen, wait.id) == id);
    if let Some((integration, operation)) = opened.and_then(operation) {
        let integration = Integration::id(seen.meta.tenant, integration);
        *row = Some(Row {
            execution: Some(seen.stream),
            ..entry(integration, "out", operation.to_owned(), seen)
        });
    }
}

fn entry(integration: Id<Integration>, direction: &str, kind: String, seen: &Seen) -> Row {
    Row {
        integration: integration.as_uuid(),
        at: micros(seen.meta.at),
        ended_at: None,
        direction: direction.to_owned(),
        kind,
        outcome: "pending".to_owned(),
        execution: None,
        detail: None,
        subject: seen.subject,
    }
}

fn detail(error: &Error) -> Option<String> {
    error.detail.as_ref().and_then(Personal::known).cloned()
}

fn outcome(how: &Ending) -> (&'static str, Option<String>) {
    match how {
        Ending::Succeeded | Ending::Fired => ("succeeded", None),
        Ending::Failed(error) => ("failed", detail(error)),
        Ending::Unknown(error) => ("unknown", detail(error)),
        Ending::Dropped => ("dropped", None),
    }
}
