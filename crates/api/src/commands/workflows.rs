//! Commands on workflows.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use domain::workflow::{Command as Change, Plan, Workflow};
use domain::{Fault, Id};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::references;
use crate::command::{Answer, Command, Document, Nothing, id};
use crate::query::Parameters;
use crate::{App, Problem};

/// A published version.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Published {
    /// The workflow.
    id: Uuid,
    /// `document.namespace`.
    namespace: String,
    /// `document.name`.
    name: String,
    /// `document.version`.
    version: String,
    /// Which version this is, counted from 1.
    revision: u32,
}

/// A document that was checked and not stored.
#[derive(Debug, Serialize, ToSchema)]
struct Checked {
    valid: bool,
    namespace: String,
    name: String,
    version: String,
}

/// Whether to store anything.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DryRun {
    /// Only check the document.
    #[serde(default, rename = "dryRun")]
    dry_run: bool,
}

/// Publish a new workflow.
///
/// The body is the document (Open Workflow Specification DSL 1.0), as YAML or JSON. It is checked
/// as a whole, and all faults are listed at once.
#[utoipa::path(
    post, path = "/workflows", tag = "workflows", operation_id = "create_workflow",
    params(DryRun), request_body(content = String, content_type = "application/yaml"),
    responses(
        (status = 200, description = "With `dryRun`: the document is valid"),
        (status = 201, description = "Published", body = Published),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn create(
    State(app): State<App>,
    Parameters(DryRun { dry_run }): Parameters<DryRun>,
    command: Command<Document>,
) -> Result<Response, Problem> {
    let plan = compile(&command.body.0)?;
    references::check(&app, command.caller.tenant, &plan).await?;
    if dry_run {
        let Plan { namespace, name, version, .. } = plan;
        return Ok(axum::Json(Checked { valid: true, namespace, name, version }).into_response());
    }
    let workflow = Workflow::id(command.caller.tenant, &plan.namespace, &plan.name);
    publish(&app, &command, workflow, &plan, true).await
}

/// Publish a new version of a workflow.
///
/// `document.version` must rise; the same document again changes nothing. Running executions stay
/// on the version they began with.
#[utoipa::path(
    put, path = "/workflows/{workflow}", tag = "workflows", operation_id = "update_workflow",
    params(("workflow" = Uuid, Path), ("If-Match" = String, Header, description = "The ETag of the last answer")),
    request_body(content = String, content_type = "application/yaml"),
    responses(
        (status = 200, description = "Published", body = Published),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn update(
    State(app): State<App>,
    Path(workflow): Path<String>,
    command: Command<Document>,
) -> Result<Response, Problem> {
    let workflow: Id<Workflow> = id(&workflow, "workflow_not_found", "workflow")?;
    command.precondition()?;
    let plan = compile(&command.body.0)?;
    references::check(&app, command.caller.tenant, &plan).await?;
    publish(&app, &command, workflow, &plan, false).await
}

/// Delete a workflow.
///
/// No new execution can start; running ones go on.
#[utoipa::path(
    delete, path = "/workflows/{workflow}", tag = "workflows", operation_id = "delete_workflow",
    params(("workflow" = Uuid, Path), ("If-Match" = String, Header, description = "The ETag of the last answer")),
    responses(
        (status = 204, description = "Deleted"),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn delete(
    State(app): State<App>,
    Path(workflow): Path<String>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    let missing = ("workflow_not_found", "workflow");
    command.delete::<Workflow>(&app, &workflow, missing, &Change::Delete).await
}

async fn publish(
    app: &App,
    command: &Command<Document>,
    workflow: Id<Workflow>,
    plan: &Plan,
    create: bool,
) -> Result<Response, Problem> {
    let change = Change::publish(create, plan, command.body.0.clone());
    let view = |state: &Workflow| Published {
        id: workflow.as_uuid(),
        namespace: plan.namespace.clone(),
        name: plan.name.clone(),
        version: plan.version.clone(),
        revision: state.find(Some(&plan.version)).map_or(0, |found| found.revision),
    };
    let answer = if create {
        Answer::created(Some(format!("/api/v1/workflows/{workflow}")), &view)
    } else {
        Answer::changed(&view)
    };
    Ok(command.execute(app, workflow, &change, answer).await?.into_response())
}

fn compile(document: &str) -> Result<Plan, Problem> {
    Plan::compile(document)
        .map_err(|faults: Vec<Fault>| Problem::invalid("workflow_invalid", faults))
}
