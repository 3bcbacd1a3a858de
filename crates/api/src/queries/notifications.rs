//! Queries about notifications.

use axum::Json;
use axum::extract::Path;
use projections::Page;
use projections::notifications::{self, Detail};

use crate::Problem;
use crate::command::id;
use crate::query::{List, Look, Parameters, Seen};

/// List notifications, the newest first.
#[utoipa::path(
    get, path = "/notifications", tag = "notifications", operation_id = "list_notifications", params(List),
    responses(
        (status = 200, description = "A page", body = Page<Detail>),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn list(
    mut look: Look,
    Parameters(page): Parameters<List>,
) -> Result<Json<Page<Detail>>, Problem> {
    Ok(Json(notifications::list(&mut look.reader, page.paging()?).await?))
}

/// Show a notification.
#[utoipa::path(
    get, path = "/notifications/{notification}", tag = "notifications", operation_id = "get_notification",
    params(("notification" = Uuid, Path)),
    responses(
        (status = 200, description = "The notification", body = Detail),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn get(
    mut look: Look,
    Path(which): Path<String>,
) -> Result<Seen<Detail>, Problem> {
    let missing = ("notification_not_found", "notification");
    let id = id::<()>(&which, missing.0, missing.1)?;
    let found = notifications::get(&mut look.reader, id.as_uuid()).await?;
    let body = found.ok_or_else(|| Problem::not_found(missing.0, missing.1))?;
    Ok(Seen { version: body.etag, body })
}
