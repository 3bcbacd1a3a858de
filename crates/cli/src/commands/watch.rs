//! Follows an execution by its events.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use tokio::time::{Duration, timeout};
use uuid::Uuid;

use super::Context;
use super::execution::{path, tell_cancelled};
use crate::client::{Answer, Client, CloudEvent, Events, Execution};
use crate::failure::Failure;

/// Prints each event as it happens, until the last. Says from which position on the end can be
/// read.
pub(super) async fn print(
    context: &Context,
    client: &Client,
    workflow: Uuid,
    id: Uuid,
) -> Result<Option<i64>, Failure> {
    let mut events = events_of(client, workflow, id);
    loop {
        let event = events.next().await?;
        let told: CloudEvent = parse(&event)?;
        for line in in_words(&told) {
            context.output.item(&event, || line)?;
            if !context.output.is_for_people() {
                break;
            }
        }
        if told.is_last() {
            return Ok(told.position.parse().ok());
        }
    }
}

/// Waits for the end of an execution, with a sign of life on a terminal, and shows it as it then is.
pub(super) async fn until_over(
    context: &Context,
    client: &Client,
    execution: &Execution,
    patience: Duration,
) -> Result<Answer, Failure> {
    let (workflow, id) = (execution.workflow_id, execution.id);
    let bar = spinner(context);
    bar.set_message(execution.status.clone());
    let last = timeout(patience, async {
        let mut events = events_of(client, workflow, id);
        loop {
            let event: CloudEvent = parse(&events.next().await?)?;
            if let Some(line) = in_words(&event).pop() {
                bar.set_message(line);
            }
            if event.is_last() {
                return Ok::<_, Failure>(event);
            }
        }
    });
    let last = last.await;
    bar.finish_and_clear();
    let Ok(last) = last else {
        tell_cancelled(id);
        let waited = patience.as_secs();
        return Err(Failure::TimedOut(format!("execution {id} did not end within {waited} s")));
    };
    client.get(&path(workflow, id).as_path(), &[], last?.position.parse().ok()).await
}

fn events_of(client: &Client, workflow: Uuid, id: Uuid) -> Events<'_> {
    let place = path(workflow, id);
    Events::new(client, &[&place.as_path()[..], &["stream"]].concat())
}

fn parse(event: &Value) -> Result<CloudEvent, Failure> {
    serde::Deserialize::deserialize(event)
        .map_err(|error: serde_json::Error| Failure::Other(error.into()))
}

fn spinner(context: &Context) -> ProgressBar {
    if !context.output.is_for_people() || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// An event for people: a line for each thing that happened to a task, else one for the event.
fn in_words(event: &CloudEvent) -> Vec<String> {
    let time = event.time.split('T').nth(1).unwrap_or(&event.time);
    let steps = event.data["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    if steps.is_empty() {
        return vec![format!("{time}  {}", event.kind)];
    }
    let line = |step: &Value| {
        let task = step["task"].as_str().unwrap_or_default();
        format!("{time}  {task}  {}", progress(&step["what"]))
    };
    steps.iter().map(line).collect()
}

/// What happened to a task: a word, or a word with its circumstances.
fn progress(what: &Value) -> String {
    let Some((word, more)) = what.as_object().and_then(|what| what.iter().next()) else {
        return what.as_str().unwrap_or_default().to_owned();
    };
    let error = if more["error"].is_object() { &more["error"] } else { more };
    match error["detail"].as_str().or(error["title"].as_str()) {
        Some(detail) => format!("{word}: {detail}"),
        None => word.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str, data: Value) -> CloudEvent {
        let time = "2026-01-02T03:04:05.000006Z".to_owned();
        CloudEvent { kind: kind.to_owned(), time, position: "1".to_owned(), data }
    }

    #[test]
    fn a_turn_is_told_task_by_task() {
        let error = json!({"type": "x", "status": 503, "detail": "busy"});
        let turn = json!({"steps": [
            {"run": 1, "task": "/do/0/a", "what": {"started": {"input": 1}}},
            {"run": 1, "task": "/do/0/a", "what": {"retrying": {"error": error, "attempt": 2}}},
            {"run": 2, "task": "/do/1/b", "what": {"faulted": error}},
            {"run": 3, "task": "/do/2/c", "what": "skipped"},
        ]});
        assert_eq!(
            in_words(&event("execution.turn_taken", turn)),
            [
                "03:04:05.000006Z  /do/0/a  started",
                "03:04:05.000006Z  /do/0/a  retrying: busy",
                "03:04:05.000006Z  /do/1/b  faulted: busy",
                "03:04:05.000006Z  /do/2/c  skipped",
            ]
        );
        assert_eq!(
            in_words(&event("execution.completed", json!({}))),
            ["03:04:05.000006Z  execution.completed"]
        );
    }
}
