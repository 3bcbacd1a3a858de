//! Queries about integrations.

use axum::Json;
use axum::extract::Path;
use projections::integrations::{self, Detail};
use projections::{Page, integration_logs};

use crate::Problem;
use crate::command::id;
use crate::query::{List, Look, Parameters, Seen};

/// List integrations, the newest first.
#[utoipa::path(
    get, path = "/integrations", tag = "integrations", operation_id = "list_integrations", params(List),
    responses(
        (status = 200, description = "A page", body = Page<Detail>),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn list(
    mut look: Look,
    Parameters(page): Parameters<List>,
) -> Result<Json<Page<Detail>>, Problem> {
    Ok(Json(integrations::list(&mut look.reader, page.paging()?).await?))
}

/// Show an integration.
#[utoipa::path(
    get, path = "/integrations/{integration}", tag = "integrations", operation_id = "get_integration",
    params(("integration" = Uuid, Path)),
    responses(
        (status = 200, description = "The integration", body = Detail),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn get(
    mut look: Look,
    Path(which): Path<String>,
) -> Result<Seen<Detail>, Problem> {
    let missing = ("integration_not_found", "integration");
    let id = id::<()>(&which, missing.0, missing.1)?;
    let found = integrations::get(&mut look.reader, id.as_uuid()).await?;
    let body = found.ok_or_else(|| Problem::not_found(missing.0, missing.1))?;
    Ok(Seen { version: body.etag, body })
}

/// List what went through an integration, the newest first.
#[utoipa::path(
    get, path = "/integrations/{integration}/logs", tag = "integrations",
    operation_id = "list_integration_logs", params(("integration" = Uuid, Path), List),
    responses(
        (status = 200, description = "A page", body = Page<integration_logs::Entry>),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn logs(
    mut look: Look,
    Path(which): Path<String>,
    Parameters(page): Parameters<List>,
) -> Result<Json<Page<integration_logs::Entry>>, Problem> {
    let missing = ("integration_not_found", "integration");
    let integration = id::<()>(&which, missing.0, missing.1)?.as_uuid();
    let found = integrations::get(&mut look.reader, integration).await?;
    found.ok_or_else(|| Problem::not_found(missing.0, missing.1))?;
    Ok(Json(integration_logs::list(&mut look.reader, integration, page.paging()?).await?))
}
