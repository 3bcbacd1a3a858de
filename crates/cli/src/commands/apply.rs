//! `workflow apply`: creates what is not there and updates what differs.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use super::Context;
use super::resource::{self, Kind, Resource, Thing};
use crate::client::{Client, Document, Named, Workflow};
use crate::failure::Failure;
use crate::output::table;

/// How often a change is tried again because somebody else was faster.
const ATTEMPTS: u32 = 3;
/// How long a thing that exists may take to show up in lists: looks, and the wait between them.
const LOOKS: (u32, Duration) = (25, Duration::from_millis(200));

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Created,
    Updated,
    Unchanged,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
        }
    }
}

/// A file that was applied.
struct Applied {
    kind: &'static str,
    name: String,
    outcome: Outcome,
    id: Uuid,
}

/// Applies the files; what was done before the first failure stays and is told.
pub(super) async fn apply(context: &Context, paths: &[PathBuf]) -> Result<(), Failure> {
    let resources = resource::read(paths, &context.environment)?;
    let client = context.client()?;
    let mut applied = Vec::new();
    let mut failure = None;
    for resource in resources {
        match apply_one(&client, &resource.thing).await {
            Ok(done) => applied.push(done),
            Err(refused) => {
                failure = Some(in_file(refused, &resource));
                break;
            }
        }
    }
    if !applied.is_empty() {
        show(context, &applied)?;
    }
    failure.map_or(Ok(()), Err)
}

fn show(context: &Context, applied: &[Applied]) -> Result<(), Failure> {
    let items = applied.iter().map(|done| {
        json!({"kind": done.kind, "name": done.name, "outcome": done.outcome.name(), "id": done.id})
    });
    let rows = applied.iter().map(|done| {
        vec![
            done.kind.to_owned(),
            done.name.clone(),
            done.outcome.name().to_owned(),
            done.id.to_string(),
        ]
    });
    let value = json!({"items": items.collect::<Vec<_>>()});
    context.output.show(&value, || table(&["KIND", "NAME", "OUTCOME", "ID"], rows))
}

/// Says in which file the API found faults.
fn in_file(mut failure: Failure, resource: &Resource) -> Failure {
    if let Failure::Refused(problem) = &mut failure {
        problem.file = Some(resource.file.clone());
    }
    failure
}

async fn apply_one(client: &Client, thing: &Thing) -> Result<Applied, Failure> {
    match thing {
        Thing::Workflow { namespace, name, text } => {
            let (outcome, id) = apply_workflow(client, namespace, name, text).await?;
            Ok(Applied { kind: "workflow", name: format!("{namespace}/{name}"), outcome, id })
        }
        Thing::Named { kind, name, body } => {
            let (outcome, id) = apply_named(client, *kind, name, body).await?;
            Ok(Applied { kind: kind.name(), name: name.clone(), outcome, id })
        }
    }
}

async fn apply_workflow(
    client: &Client,
    namespace: &str,
    name: &str,
    text: &str,
) -> Result<(Outcome, Uuid), Failure> {
    let document = Document::Yaml(text.to_owned());
    match client.put_document(&["workflows"], None, document.clone()).await {
        Ok(created) => return Ok((Outcome::Created, created.typed::<Identified>()?.id)),
        Err(failure) if exists(&failure) => {}
        Err(failure) => return Err(failure),
    }
    let query = [("namespace", namespace), ("name", name)];
    let id = find(client, &["workflows"], &query, |workflow: &Workflow| {
        (workflow.namespace == namespace && workflow.name == name).then_some(workflow.id)
    });
    let id = id.await?;
    Ok((update(client, &["workflows"], id, document).await?, id))
}

async fn apply_named(
    client: &Client,
    kind: Kind,
    name: &str,
    body: &Value,
) -> Result<(Outcome, Uuid), Failure> {
    let document = Document::Json(body.clone());
    match client.put_document(kind.path(), None, document).await {
        Ok(created) => return Ok((Outcome::Created, created.typed::<Identified>()?.id)),
        Err(failure) if exists(&failure) => {}
        Err(failure) => return Err(failure),
    }
    let named = |thing: &Named| (thing.name == name).then_some(thing.id);
    let id = find(client, kind.path(), &[], named).await?;
    if let Some(fields) = versioned_fields(kind) {
        let id_text = id.to_string();
        let path = [kind.path(), &[&id_text]].concat();
        let shown = client.get(&path, &[], None).await?.body;
        let same = |field: &&str| body[*field] == shown[*field];
        if fields.iter().all(same) {
            return Ok((Outcome::Unchanged, id));
        }
    }
    let mut body = body.clone();
    if let Value::Object(fields) = &mut body {
        fields.remove("name");
    }
    let document = Document::Json(body);
    Ok((update(client, kind.path(), id, document).await?, id))
}

/// What a version consists of, for things where every change makes a version: the same again is
/// not a change.
fn versioned_fields(kind: Kind) -> Option<&'static [&'static str]> {
    match kind {
        Kind::Prompt => Some(&["system", "user"]),
        Kind::Template => Some(&["subject", "text", "html"]),
        Kind::Agent | Kind::Integration => None,
    }
}

/// Whether the thing is there already.
fn exists(failure: &Failure) -> bool {
    matches!(failure, Failure::Refused(problem)
        if problem.status == 409 && problem.code.ends_with("_exists"))
}

/// The id of the thing in the list at `path` that `is_it`. Lists lag behind the log by a moment.
async fn find<T: serde::de::DeserializeOwned>(
    client: &Client,
    path: &[&str],
    query: &[(&str, &str)],
    is_it: impl Fn(&T) -> Option<Uuid>,
) -> Result<Uuid, Failure> {
    let (looks, wait) = LOOKS;
    for _ in 0..looks {
        let (items, _) = client.list(path, query, usize::MAX).await?;
        for item in items {
            let item = serde_json::from_value(item).map_err(anyhow::Error::from)?;
            if let Some(id) = is_it(&item) {
                return Ok(id);
            }
        }
        sleep(wait).await;
    }
    Err(Failure::TimedOut("it exists, but does not show up in the list; try again".to_owned()))
}

/// Replaces the thing, whatever version it has by now.
async fn update(
    client: &Client,
    path: &[&str],
    id: Uuid,
    document: Document,
) -> Result<Outcome, Failure> {
    let id = id.to_string();
    let path = [path, &[&id]].concat();
    let shown = client.get(&path, &[], None).await?;
    let mut version = shown.version.ok_or_else(|| anyhow::anyhow!("the API gave no version"))?;
    for attempt in 1.. {
        match client.put_document(&path, Some(version), document.clone()).await {
            Ok(answer) if answer.version == Some(version) => return Ok(Outcome::Unchanged),
            Ok(_) => return Ok(Outcome::Updated),
            Err(Failure::Refused(problem)) if problem.status == 412 && attempt < ATTEMPTS => {
                match problem.current_version {
                    Some(current) => version = current,
                    None => return Err(Failure::Refused(problem)),
                }
            }
            Err(failure) => return Err(failure),
        }
    }
    unreachable!("the last attempt returns")
}

/// An answer that says which thing it is about.
#[derive(serde::Deserialize)]
struct Identified {
    id: Uuid,
}
