//! Queries about executions.

use axum::Json;
use axum::extract::Path;
use domain::execution::Execution;
use domain::workflow::Workflow;
use domain::{Id, Tenant};
use projections::executions::{self, Detail, Filter, Summary};
use projections::{Page, Reader};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::command::id;
use crate::query::{List, Look, Parameters, Seen, seen};
use crate::{App, Problem};

const MISSING: (&str, &str) = ("execution_not_found", "execution");

/// The statuses that an execution may have.
const STATUSES: [&str; 5] = ["running", "waiting", "completed", "faulted", "cancelled"];

/// Which executions are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Those that are `running`, `waiting`, `completed`, `faulted` or `cancelled`.
    status: Option<String>,
    /// Those of this workflow.
    workflow_id: Option<Uuid>,
}

/// List executions of all workflows, the newest first.
#[utoipa::path(
    get, path = "/executions", tag = "workflows", operation_id = "list_all_executions",
    params(Wanted, List),
    responses(
        (status = 200, description = "A page", body = Page<Summary>),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn list_all(
    mut look: Look,
    Parameters(Wanted { status, workflow_id }): Parameters<Wanted>,
    Parameters(page): Parameters<List>,
) -> Result<Json<Page<Summary>>, Problem> {
    let filter = Filter { workflow: workflow_id, status: checked(status)? };
    Ok(Json(executions::list(&mut look.reader, &filter, page.paging()?).await?))
}

/// List executions of a workflow, the newest first.
#[utoipa::path(
    get, path = "/workflows/{workflow}/executions", tag = "workflows",
    operation_id = "list_executions", params(("workflow" = Uuid, Path), Wanted, List),
    responses(
        (status = 200, description = "A page", body = Page<Summary>),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn list(
    mut look: Look,
    Path(which): Path<String>,
    Parameters(Wanted { status, .. }): Parameters<Wanted>,
    Parameters(page): Parameters<List>,
) -> Result<Json<Page<Summary>>, Problem> {
    let workflow = id::<Workflow>(&which, "workflow_not_found", "workflow")?;
    let filter = Filter { workflow: Some(workflow.as_uuid()), status: checked(status)? };
    Ok(Json(executions::list(&mut look.reader, &filter, page.paging()?).await?))
}

fn checked(status: Option<String>) -> Result<Option<String>, Problem> {
    if status.as_deref().is_some_and(|status| !STATUSES.contains(&status)) {
        let detail = format!("`status` must be one of {}", STATUSES.join(", "));
        return Err(Problem::parameter(&detail));
    }
    Ok(status)
}

/// Show an execution: its tasks in order, what it waits for, input, output and error.
#[utoipa::path(
    get, path = "/workflows/{workflow}/executions/{execution}", tag = "workflows",
    operation_id = "get_execution", params(("workflow" = Uuid, Path), ("execution" = Uuid, Path)),
    responses(
        (status = 200, description = "The execution", body = Detail),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn get(
    mut look: Look,
    Path((workflow, execution)): Path<(String, String)>,
) -> Result<Seen<Detail>, Problem> {
    let workflow = id::<Workflow>(&workflow, MISSING.0, MISSING.1)?;
    let execution = id::<Execution>(&execution, MISSING.0, MISSING.1)?;
    let body = find(&mut look.reader, workflow, execution).await?;
    Ok(Seen { version: body.summary.etag, body })
}

async fn find(
    reader: &mut Reader,
    workflow: Id<Workflow>,
    execution: Id<Execution>,
) -> Result<Detail, Problem> {
    let found = executions::get(reader, execution.as_uuid()).await?;
    let found = found.filter(|found| found.summary.workflow_id == workflow.as_uuid());
    found.ok_or_else(|| Problem::not_found(MISSING.0, MISSING.1))
}

/// An execution as the read models show it from a position on.
pub(crate) async fn at(
    app: &App,
    tenant: Id<Tenant>,
    workflow: Id<Workflow>,
    execution: Id<Execution>,
    position: i64,
) -> Result<Detail, Problem> {
    seen(app, position).await?;
    let mut reader = Reader::begin(&app.views, tenant).await?;
    find(&mut reader, workflow, execution).await
}
