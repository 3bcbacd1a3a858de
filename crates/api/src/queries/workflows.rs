//! Queries about workflows.

use axum::Json;
use axum::extract::Path;
use projections::Page;
use projections::workflows::{self, Detail, Filter, Summary};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::Problem;
use crate::command::id;
use crate::query::{List, Look, Parameters, Seen};

/// Which workflows are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Those of this namespace.
    namespace: Option<String>,
    /// Those of this name.
    name: Option<String>,
}

/// Which version is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Version {
    /// The version, as the document calls it; the newest if none.
    version: Option<String>,
}

/// List workflows, the newest first.
#[utoipa::path(
    get, path = "/workflows", tag = "workflows", operation_id = "list_workflows",
    params(Wanted, List),
    responses(
        (status = 200, description = "A page", body = Page<Summary>),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn list(
    mut look: Look,
    Parameters(Wanted { namespace, name }): Parameters<Wanted>,
    Parameters(page): Parameters<List>,
) -> Result<Json<Page<Summary>>, Problem> {
    if [&namespace, &name].into_iter().flatten().any(|text| text.contains('\0')) {
        return Err(Problem::parameter("a name cannot hold U+0000"));
    }
    let filter = Filter { namespace, name };
    Ok(Json(workflows::list(&mut look.reader, &filter, page.paging()?).await?))
}

/// Show a workflow with the text of one version.
#[utoipa::path(
    get, path = "/workflows/{workflow}", tag = "workflows", operation_id = "get_workflow",
    params(("workflow" = Uuid, Path), Version),
    responses(
        (status = 200, description = "The workflow", body = Detail),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn get(
    mut look: Look,
    Path(which): Path<String>,
    Parameters(Version { version }): Parameters<Version>,
) -> Result<Seen<Detail>, Problem> {
    let missing = ("workflow_not_found", "workflow");
    let id = id::<()>(&which, missing.0, missing.1)?.as_uuid();
    let found = workflows::get(&mut look.reader, id, version.as_deref()).await?;
    let body = found.ok_or_else(|| Problem::not_found(missing.0, missing.1))?;
    Ok(Seen { version: body.summary.etag, body })
}
