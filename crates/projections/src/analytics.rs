//! Answers about usage: how much, how well, how fast, per hour.

use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

use domain::execution::Execution;
use domain::invocation::Invocation;
use domain::notification::Notification;
use domain::{Aggregate, Timestamp};
use serde::Serialize;
use sqlx::FromRow;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::values::hour;
use crate::{Reader, Sketch};

/// A span of time, in whole hours: the one that `from` lies in counts, the one that `to` begins
/// does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its beginning.
    pub from: DateTime<Utc>,
    /// Its end.
    pub to: DateTime<Utc>,
}

/// How everything went.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Dashboard {
    /// Executions by outcome.
    pub executions: ExecutionCounts,
    /// How many of the executions that completed or faulted completed; none if there were none.
    pub success_rate: Option<f64>,
    /// How long completed executions took.
    pub duration_ms: Percentiles,
    /// Tokens of all invocations.
    pub tokens: Tokens,
    /// Invocations by outcome.
    pub invocations: InvocationCounts,
    /// Notifications by outcome.
    pub notifications: NotificationCounts,
    /// Executions per hour, in order; hours without any are left out.
    pub hours: Vec<HourCounts>,
}

/// How many executions did what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ExecutionCounts {
    /// Began in the span.
    pub started: i64,
    /// Completed in it.
    pub completed: i64,
    /// Faulted in it.
    pub faulted: i64,
    /// Were cancelled in it.
    pub cancelled: i64,
    /// Have not ended, now.
    pub running: i64,
}

/// Percentiles of durations, in milliseconds, within 1 %; none without durations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Percentiles {
    /// Half of them took no longer.
    pub p50: Option<u64>,
    /// 95 of a hundred took no longer.
    pub p95: Option<u64>,
    /// 99 of a hundred took no longer.
    pub p99: Option<u64>,
}

/// Tokens that models took and gave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Tokens {
    /// They went in.
    pub input: i64,
    /// They came out.
    pub output: i64,
}

/// How many invocations ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct InvocationCounts {
    /// With a valid answer.
    pub completed: i64,
    /// Without one.
    pub failed: i64,
}

/// How many notifications ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct NotificationCounts {
    /// They went out.
    pub sent: i64,
    /// They will not go out.
    pub failed: i64,
}

/// Executions of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct HourCounts {
    /// Its beginning.
    pub hour: DateTime<Utc>,
    /// Began in it.
    pub started: i64,
    /// Completed in it.
    pub completed: i64,
    /// Faulted in it.
    pub faulted: i64,
    /// Were cancelled in it.
    pub cancelled: i64,
}

/// How the executions of a workflow went.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct WorkflowUsage {
    /// The workflow.
    pub workflow_id: Uuid,
    /// Its namespace; none until the workflow's own events have been seen.
    pub namespace: Option<String>,
    /// Its name; none until the workflow's own events have been seen.
    pub name: Option<String>,
    /// Began in the span.
    pub started: i64,
    /// Completed in it.
    pub completed: i64,
    /// Faulted in it.
    pub faulted: i64,
    /// Were cancelled in it.
    pub cancelled: i64,
    /// How many of those that completed or faulted completed; none if there were none.
    pub success_rate: Option<f64>,
    /// How long the completed ones took.
    pub duration_ms: Percentiles,
    /// Per hour, in order; hours without any are left out.
    pub hours: Vec<HourCounts>,
}

/// How the invocations of an agent went on one model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AgentUsage {
    /// The agent.
    pub agent_id: Uuid,
    /// Its name; none until the agent's own events have been seen.
    pub name: Option<String>,
    /// The provider that was called.
    pub provider: String,
    /// The model that answered.
    pub model: String,
    /// Invocations with a valid answer.
    pub completed: i64,
    /// Invocations without one.
    pub failed: i64,
    /// Tokens that went in.
    pub input_tokens: i64,
    /// Tokens that came out.
    pub output_tokens: i64,
    /// How long the completed ones took the model.
    pub duration_ms: Percentiles,
}

/// How everything went in a span of time.
pub async fn dashboard(reader: &mut Reader, span: Span) -> sqlx::Result<Dashboard> {
    let executions = Sums::of(&fetch(reader, Execution::NAME, span).await?);
    let invocations = Sums::of(&fetch(reader, Invocation::NAME, span).await?);
    let notifications = Sums::of(&fetch(reader, Notification::NAME, span).await?);
    let (db, tenant) = reader.parts();
    let running = sqlx::query_scalar(
        "SELECT count(*) FROM rm.executions WHERE tenant = $1 AND status IN ('running', 'waiting')",
    );
    Ok(Dashboard {
        executions: ExecutionCounts {
            started: executions.started,
            completed: executions.completed,
            faulted: executions.failed,
            cancelled: executions.cancelled,
            running: running.bind(tenant).fetch_one(db).await?,
        },
        success_rate: executions.success_rate(),
        duration_ms: executions.percentiles(),
        tokens: Tokens { input: invocations.input_tokens, output: invocations.output_tokens },
        invocations: InvocationCounts {
            completed: invocations.completed,
            failed: invocations.failed,
        },
        notifications: NotificationCounts {
            sent: notifications.completed,
            failed: notifications.failed,
        },
        hours: executions.hours.into_values().collect(),
    })
}

/// How the executions of each workflow went, the most started first.
pub async fn workflows(reader: &mut Reader, span: Span) -> sqlx::Result<Vec<WorkflowUsage>> {
    let mut by_workflow = BTreeMap::<Uuid, Sums>::new();
    for row in fetch(reader, Execution::NAME, span).await? {
        by_workflow.entry(row.subject).or_default().add(&row);
    }
    let (db, tenant) = reader.parts();
    let names: Vec<(Uuid, String, String)> = sqlx::query_as(
        "SELECT id, namespace, name FROM rm.workflows WHERE tenant = $1 AND id = ANY ($2)",
    )
    .bind(tenant)
    .bind(by_workflow.keys().copied().collect::<Vec<_>>())
    .fetch_all(db)
    .await?;
    let mut usage: Vec<_> = by_workflow
        .into_iter()
        .map(|(workflow_id, sums)| {
            let found = names.iter().find(|(id, ..)| *id == workflow_id);
            WorkflowUsage {
                workflow_id,
                namespace: found.map(|(_, namespace, _)| namespace.clone()),
                name: found.map(|(.., name)| name.clone()),
                started: sums.started,
                completed: sums.completed,
                faulted: sums.failed,
                cancelled: sums.cancelled,
                success_rate: sums.success_rate(),
                duration_ms: sums.percentiles(),
                hours: sums.hours.into_values().collect(),
            }
        })
        .collect();
    usage.sort_by_key(|usage| (-usage.started, usage.workflow_id));
    Ok(usage)
}

/// How the invocations of each agent went on each model, the busiest first.
pub async fn agents(reader: &mut Reader, span: Span) -> sqlx::Result<Vec<AgentUsage>> {
    let mut by_model = BTreeMap::<(Uuid, String, String), Sums>::new();
    for row in fetch(reader, Invocation::NAME, span).await? {
        let key = (row.subject, row.provider.clone(), row.model.clone());
        by_model.entry(key).or_default().add(&row);
    }
    let (db, tenant) = reader.parts();
    let names: BTreeMap<Uuid, String> =
        sqlx::query_as("SELECT id, name FROM rm.agents WHERE tenant = $1 AND id = ANY ($2)")
            .bind(tenant)
            .bind(by_model.keys().map(|(agent, ..)| *agent).collect::<Vec<_>>())
            .fetch_all(db)
            .await?
            .into_iter()
            .collect();
    let mut usage: Vec<_> = by_model
        .into_iter()
        .map(|((agent_id, provider, model), sums)| AgentUsage {
            agent_id,
            name: names.get(&agent_id).cloned(),
            provider,
            model,
            completed: sums.completed,
            failed: sums.failed,
            input_tokens: sums.input_tokens,
            output_tokens: sums.output_tokens,
            duration_ms: sums.percentiles(),
        })
        .collect();
    usage.sort_by_key(|usage| -(usage.completed + usage.failed));
    Ok(usage)
}

/// A row of `usage_hourly`.
#[derive(Debug, FromRow)]
struct Row {
    subject: Uuid,
    provider: String,
    model: String,
    hour: Timestamp,
    started: i64,
    completed: i64,
    failed: i64,
    cancelled: i64,
    input_tokens: i64,
    output_tokens: i64,
    #[sqlx(json)]
    durations: Sketch,
}

async fn fetch(reader: &mut Reader, category: &str, span: Span) -> sqlx::Result<Vec<Row>> {
    let (db, tenant) = reader.parts();
    let rows = sqlx::query_as(
        "SELECT subject, provider, model, hour, started, completed, failed, cancelled,
             input_tokens, output_tokens, durations
         FROM rm.usage_hourly
         WHERE tenant = $1 AND category = $2 AND hour >= $3 AND hour < $4",
    );
    rows.bind(tenant).bind(category).bind(hour(span.from)).bind(span.to).fetch_all(db).await
}

/// What rows add up to.
#[derive(Debug, Default)]
struct Sums {
    started: i64,
    completed: i64,
    failed: i64,
    cancelled: i64,
    input_tokens: i64,
    output_tokens: i64,
    durations: Sketch,
    hours: BTreeMap<Timestamp, HourCounts>,
}

impl Sums {
    fn of(rows: &[Row]) -> Self {
        let mut sums = Self::default();
        for row in rows {
            sums.add(row);
        }
        sums
    }

    fn add(&mut self, row: &Row) {
        let hour = row.hour;
        let empty = HourCounts { hour, started: 0, completed: 0, faulted: 0, cancelled: 0 };
        let of_hour = self.hours.entry(hour).or_insert(empty);
        for (sum, more) in [
            (&mut self.started, row.started),
            (&mut of_hour.started, row.started),
            (&mut self.completed, row.completed),
            (&mut of_hour.completed, row.completed),
            (&mut self.failed, row.failed),
            (&mut of_hour.faulted, row.failed),
            (&mut self.cancelled, row.cancelled),
            (&mut of_hour.cancelled, row.cancelled),
            (&mut self.input_tokens, row.input_tokens),
            (&mut self.output_tokens, row.output_tokens),
        ] {
            *sum = sum.saturating_add(more);
        }
        self.durations.merge(&row.durations);
    }

    #[expect(clippy::cast_precision_loss, reason = "a share, for people to look at")]
    fn success_rate(&self) -> Option<f64> {
        let ended = self.completed + self.failed;
        (ended > 0).then(|| self.completed as f64 / ended as f64)
    }

    fn percentiles(&self) -> Percentiles {
        let of = |thousandth| self.durations.quantile(thousandth);
        Percentiles { p50: of(500), p95: of(950), p99: of(990) }
    }
}
