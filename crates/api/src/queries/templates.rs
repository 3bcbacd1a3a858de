//! Queries about notification templates.

use axum::Json;
use axum::extract::Path;
use projections::Page;
use projections::templates::{self, Detail};

use crate::Problem;
use crate::command::id;
use crate::query::{List, Look, Parameters, Seen};

/// List notification templates, the newest first.
#[utoipa::path(
    get, path = "/notifications/templates", tag = "notifications", operation_id = "list_templates", params(List),
    responses(
        (status = 200, description = "A page", body = Page<Detail>),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn list(
    mut look: Look,
    Parameters(page): Parameters<List>,
) -> Result<Json<Page<Detail>>, Problem> {
    Ok(Json(templates::list(&mut look.reader, page.paging()?).await?))
}

/// Show a notification template.
#[utoipa::path(
    get, path = "/notifications/templates/{template}", tag = "notifications", operation_id = "get_template",
    params(("template" = Uuid, Path)),
    responses(
        (status = 200, description = "The notification template", body = Detail),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn get(
    mut look: Look,
    Path(which): Path<String>,
) -> Result<Seen<Detail>, Problem> {
    let missing = ("template_not_found", "notification template");
    let id = id::<()>(&which, missing.0, missing.1)?;
    let found = templates::get(&mut look.reader, id.as_uuid()).await?;
    let body = found.ok_or_else(|| Problem::not_found(missing.0, missing.1))?;
    Ok(Seen { version: body.etag, body })
}
