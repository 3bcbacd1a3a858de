//! Queries about prompts.

use axum::Json;
use axum::extract::Path;
use projections::Page;
use projections::prompts::{self, Detail, Summary};

use crate::Problem;
use crate::command::id;
use crate::query::{List, Look, Parameters, Seen};

/// List prompts, the newest first.
#[utoipa::path(
    get, path = "/prompts", tag = "agents", operation_id = "list_prompts", params(List),
    responses(
        (status = 200, description = "A page", body = Page<Summary>),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn list(
    mut look: Look,
    Parameters(page): Parameters<List>,
) -> Result<Json<Page<Summary>>, Problem> {
    Ok(Json(prompts::list(&mut look.reader, page.paging()?).await?))
}

/// Show a prompt.
#[utoipa::path(
    get, path = "/prompts/{prompt}", tag = "agents", operation_id = "get_prompt",
    params(("prompt" = Uuid, Path)),
    responses(
        (status = 200, description = "The prompt", body = Detail),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn get(
    mut look: Look,
    Path(which): Path<String>,
) -> Result<Seen<Detail>, Problem> {
    let missing = ("prompt_not_found", "prompt");
    let id = id::<()>(&which, missing.0, missing.1)?;
    let found = prompts::get(&mut look.reader, id.as_uuid()).await?;
    let body = found.ok_or_else(|| Problem::not_found(missing.0, missing.1))?;
    Ok(Seen { version: body.summary.etag, body })
}
