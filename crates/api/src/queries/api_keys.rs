//! Queries about API keys.

use axum::Json;
use domain::api_key::Access;
use projections::Page;
use projections::api_keys::{self, Detail};

use crate::Problem;
use crate::query::{List, Look, Parameters};

/// List API keys, the newest first.
#[utoipa::path(
    get, path = "/auth/api-keys", tag = "auth", operation_id = "list_api_keys", params(List),
    responses(
        (status = 200, description = "A page", body = Page<Detail>),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn list(
    mut look: Look,
    Parameters(page): Parameters<List>,
) -> Result<Json<Page<Detail>>, Problem> {
    look.caller.needs(Access::Admin)?;
    Ok(Json(api_keys::list(&mut look.reader, page.paging()?).await?))
}
