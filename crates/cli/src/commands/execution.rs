//! Executions: list, get, watch, cancel, events.

use serde_json::{Value, json};
use uuid::Uuid;

use super::workflow::{resolve, tell_of_more, typed};
use super::{Context, watch};
use crate::args::Which;
use crate::client::{Answer, Client, Execution, lines};
use crate::failure::Failure;
use crate::output::{duration, note, table};

pub(super) async fn list(
    context: &Context,
    workflow: Option<&str>,
    status: Option<&str>,
    limit: usize,
) -> Result<(), Failure> {
    let client = context.client()?;
    let workflow = match workflow {
        Some(workflow) => Some(resolve(&client, workflow).await?.to_string()),
        None => None,
    };
    let workflow = workflow.as_deref().map(|id| ("workflow_id", id));
    let query: Vec<_> =
        workflow.into_iter().chain(status.map(|status| ("status", status))).collect();
    let (items, more) = client.list(&["executions"], &query, limit).await?;
    let executions = typed::<Execution>(&items)?;
    context.output.show(&json!({"items": items}), || {
        let rows = executions.into_iter().map(|execution| {
            vec![
                execution.id.to_string(),
                execution.status,
                execution.started_at.unwrap_or_default(),
                execution.duration_ms.map(duration).unwrap_or_default(),
                execution.workflow_version.unwrap_or_default(),
                execution.workflow_id.to_string(),
            ]
        });
        table(&["ID", "STATUS", "STARTED", "TOOK", "VERSION", "WORKFLOW"], rows)
    })?;
    tell_of_more(context, more);
    Ok(())
}

pub(super) async fn get(context: &Context, which: &Which) -> Result<(), Failure> {
    let client = context.client()?;
    let workflow = locate(&client, which).await?;
    show(context, &client.get(&path(workflow, which.id).as_path(), &[], None).await?)
}

/// Prints the events as they come; the exit code says how the execution ended.
pub(super) async fn watch(context: &Context, which: &Which) -> Result<(), Failure> {
    let client = context.client()?;
    let workflow = locate(&client, which).await?;
    let position = watch::print(context, &client, workflow, which.id).await?;
    let place = path(workflow, which.id);
    let ended = client.get(&place.as_path(), &[], position).await?;
    judge(&ended.typed()?)
}

pub(super) async fn cancel(context: &Context, which: &Which, reason: &str) -> Result<(), Failure> {
    let client = context.client()?;
    let workflow = locate(&client, which).await?;
    let place = path(workflow, which.id);
    let place = [&place.as_path()[..], &["cancel"]].concat();
    let answer = client.post(&place, &[], &json!({"reason": reason})).await?;
    context.output.show(&answer.body, || format!("{} is cancelled", which.id))
}

pub(super) async fn events(context: &Context, which: &Which) -> Result<(), Failure> {
    let client = context.client()?;
    let workflow = locate(&client, which).await?;
    let place = path(workflow, which.id);
    let place = [&place.as_path()[..], &["events"]].concat();
    let events = client.stream(&place, "application/x-ndjson", None).await?;
    lines(events, |line| {
        let event: Value = serde_json::from_str(line).map_err(anyhow::Error::from)?;
        context.output.item(&event, || line.to_owned())
    })
    .await
}

/// Where an execution is found.
pub(super) struct Place([String; 4]);

impl Place {
    /// As parts of a path.
    pub(super) fn as_path(&self) -> [&str; 4] {
        self.0.each_ref().map(String::as_str)
    }
}

/// Where the execution `id` of `workflow` is found.
pub(super) fn path(workflow: Uuid, id: Uuid) -> Place {
    Place(["workflows".to_owned(), workflow.to_string(), "executions".to_owned(), id.to_string()])
}

/// The workflow of an execution: as named, or else looked for among all executions.
async fn locate(client: &Client, which: &Which) -> Result<Uuid, Failure> {
    if let Some(workflow) = &which.workflow {
        return resolve(client, workflow).await;
    }
    let (items, _) = client.list(&["executions"], &[], usize::MAX).await?;
    let found = typed::<Execution>(&items)?.into_iter().find(|execution| execution.id == which.id);
    found
        .map(|execution| execution.workflow_id)
        .ok_or_else(|| Failure::NotFound(format!("there is no execution {}", which.id)))
}

/// Shows an execution: how it stands, what it did, and what it waits for.
pub(super) fn show(context: &Context, answer: &Answer) -> Result<(), Failure> {
    let execution: Execution = answer.typed()?;
    context.output.show(&answer.body, || {
        let took = execution.duration_ms.map(|took| format!(" in {}", duration(took)));
        let head = format!("{}  {}{}", execution.id, execution.status, took.unwrap_or_default());
        let mut parts = vec![head];
        parts.extend(tasks(&execution));
        parts.extend(why(&execution));
        if !execution.error.is_null() {
            parts.push(format!("error: {}", pretty(&execution.error)));
        }
        if !execution.output.is_null() {
            parts.push(format!("output: {}", pretty(&execution.output)));
        }
        parts.join("\n\n")
    })
}

fn tasks(execution: &Execution) -> Option<String> {
    let rows = execution.tasks.iter().map(|task| {
        let attempt = task.attempt.map(|attempt| attempt.to_string()).unwrap_or_default();
        let started = task.started_at.clone().unwrap_or_default();
        let ended = task.ended_at.clone().unwrap_or_default();
        vec![task.name.clone(), task.status.clone(), attempt, started, ended, task.place.clone()]
    });
    let headings = ["TASK", "STATUS", "ATTEMPT", "STARTED", "ENDED", "PLACE"];
    (!execution.tasks.is_empty()).then(|| table(&headings, rows))
}

fn why(execution: &Execution) -> Option<String> {
    let rows = execution.why.iter().map(|why| {
        let since = why.since.clone().unwrap_or_default();
        let until = why.until.clone().unwrap_or_default();
        let detail = why.detail.clone().unwrap_or_default();
        vec![why.task.clone(), why.waits_for.clone(), since, until, detail]
    });
    let headings = ["WAITING TASK", "FOR", "SINCE", "UNTIL", "DETAIL"];
    (!execution.why.is_empty()).then(|| table(&headings, rows))
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

/// A failure unless the execution completed.
pub(super) fn judge(execution: &Execution) -> Result<(), Failure> {
    if execution.status == "completed" {
        return Ok(());
    }
    let detail = execution.error["detail"].as_str().or(execution.error["title"].as_str());
    let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
    Err(Failure::RunFailed(format!("execution {} {}{detail}", execution.id, execution.status)))
}

/// Says on a terminal that something goes on.
pub(super) fn tell_cancelled(id: Uuid) {
    note(format!("it goes on; cancel it with: everstep execution cancel {id}"));
}
