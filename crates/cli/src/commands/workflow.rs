//! Workflows: list, get, run.

use std::path::Path;
use std::{fs, io};

use serde_json::{Map, Value, json};
use tokio::time::Duration;
use uuid::Uuid;

use super::resource::unreadable;
use super::{Context, execution, watch};
use crate::args::Run;
use crate::client::{Client, Execution, Workflow};
use crate::failure::Failure;
use crate::output::{note, table};

/// How long the API itself is asked to wait for an execution, in seconds: most are over by then.
const FIRST_WAIT: u64 = 2;

pub(super) async fn list(
    context: &Context,
    namespace: Option<&str>,
    limit: usize,
) -> Result<(), Failure> {
    let query: Vec<_> = namespace.map(|namespace| ("namespace", namespace)).into_iter().collect();
    let (items, more) = context.client()?.list(&["workflows"], &query, limit).await?;
    let workflows = typed::<Workflow>(&items)?;
    context.output.show(&json!({"items": items}), || {
        let rows = workflows.into_iter().map(|workflow| {
            let name = format!("{}/{}", workflow.namespace, workflow.name);
            let revision = workflow.revision.to_string();
            let updated = workflow.updated_at.unwrap_or_default();
            let title = workflow.title.unwrap_or_default();
            vec![name, workflow.version, revision, updated, workflow.id.to_string(), title]
        });
        table(&["NAME", "VERSION", "REVISION", "UPDATED", "ID", "TITLE"], rows)
    })?;
    tell_of_more(context, more);
    Ok(())
}

pub(super) async fn get(
    context: &Context,
    workflow: &str,
    version: Option<&str>,
) -> Result<(), Failure> {
    let client = context.client()?;
    let id = resolve(&client, workflow).await?.to_string();
    let query: Vec<_> = version.map(|version| ("version", version)).into_iter().collect();
    let answer = client.get(&["workflows", &id], &query, None).await?;
    let workflow: Workflow = answer.typed()?;
    context.output.show(&answer.body, || {
        let Workflow { namespace, name, version, revision, document, .. } = workflow;
        let head = format!("# {namespace}/{name} {version} (revision {revision}), {id}");
        format!("{head}\n{}", document.unwrap_or_default())
    })
}

/// Starts an execution and, unless told not to, follows it to its end.
pub(super) async fn run(context: &Context, run: &Run) -> Result<(), Failure> {
    let input = match run.input.as_deref() {
        Some(input) => Some(read_input(input).await?),
        None => None,
    };
    let client = context.client()?;
    let workflow = resolve(&client, &run.workflow).await?.to_string();
    let mut body = Map::new();
    body.extend(input.map(|input| ("input".to_owned(), input)));
    body.extend(run.version.as_ref().map(|version| ("version".to_owned(), json!(version))));
    body.extend(run.subject.as_ref().map(|subject| ("subject".to_owned(), json!(subject))));
    body.extend(run.priority.as_ref().map(|priority| ("priority".to_owned(), json!(priority))));
    let wait = if run.detach { 0 } else { run.timeout.min(FIRST_WAIT) };
    let path = ["workflows", &workflow, "execute"];
    let wait_text = format!("{wait}s");
    let query = [("wait", wait_text.as_str())];
    let query = if wait == 0 { &query[..0] } else { &query[..] };
    let started = client.post(&path, query, &Value::Object(body)).await?;
    let execution: Execution = started.typed()?;
    if run.detach {
        let id = execution.id;
        context.output.show(&started.body, || id.to_string())?;
        note(format!("follow it with: everstep execution watch {id}"));
        return Ok(());
    }
    let ended = if execution.is_over() {
        started
    } else {
        let rest = Duration::from_secs(run.timeout.saturating_sub(wait).max(1));
        watch::until_over(context, &client, &execution, rest).await?
    };
    execution::show(context, &ended)?;
    execution::judge(&ended.typed()?)
}

/// JSON from the command line, a file or standard input.
async fn read_input(input: &str) -> Result<Value, Failure> {
    let text = if input == "-" {
        // On a thread of its own, so that Ctrl-C is heard while nothing comes.
        let reading = tokio::task::spawn_blocking(|| io::read_to_string(io::stdin()));
        reading.await.map_err(anyhow::Error::from)??
    } else if let Some(path) = input.strip_prefix('@') {
        fs::read_to_string(path).map_err(|error| unreadable(Path::new(path), &error))?
    } else {
        input.to_owned()
    };
    serde_json::from_str(&text)
        .map_err(|error| Failure::Usage(format!("the input is not JSON: {error}")))
}

/// The id of a workflow that was named by id, `namespace/name`, or name.
pub(super) async fn resolve(client: &Client, workflow: &str) -> Result<Uuid, Failure> {
    if let Ok(id) = workflow.parse() {
        return Ok(id);
    }
    let mut query = Vec::new();
    let name = match workflow.split_once('/') {
        Some((namespace, name)) => {
            query.push(("namespace", namespace));
            name
        }
        None => workflow,
    };
    query.push(("name", name));
    let (items, _) = client.list(&["workflows"], &query, 2).await?;
    let found = typed::<Workflow>(&items)?;
    match found.as_slice() {
        [] => Err(Failure::NotFound(format!("there is no workflow {workflow}"))),
        [one] => Ok(one.id),
        [one, other, ..] => Err(Failure::Usage(format!(
            "there are several workflows {name}: {}/{name}, {}/{name}",
            one.namespace, other.namespace
        ))),
    }
}

/// Items of a list, for people.
pub(super) fn typed<T: serde::de::DeserializeOwned>(items: &[Value]) -> Result<Vec<T>, Failure> {
    let typed = items.iter().map(T::deserialize).collect::<Result<_, _>>();
    typed.map_err(|error| Failure::Other(error.into()))
}

/// Says that a list goes on.
pub(super) fn tell_of_more(context: &Context, more: bool) {
    if more && context.output.is_for_people() {
        note("there are more; --limit shows them");
    }
}
