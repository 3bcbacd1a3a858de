//! Queries about agents.

use axum::Json;
use axum::extract::{Path, State};
use connectors::models::ModelInfo;
use projections::agents::{self, Detail};
use projections::{Page, invocations};
use serde::Serialize;
use utoipa::ToSchema;

use crate::command::id;
use crate::query::{List, Look, Parameters, Seen};
use crate::{App, Problem};

/// List agents, the newest first.
#[utoipa::path(
    get, path = "/agents", tag = "agents", operation_id = "list_agents", params(List),
    responses(
        (status = 200, description = "A page", body = Page<Detail>),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn list(
    mut look: Look,
    Parameters(page): Parameters<List>,
) -> Result<Json<Page<Detail>>, Problem> {
    Ok(Json(agents::list(&mut look.reader, page.paging()?).await?))
}

/// Show an agent.
#[utoipa::path(
    get, path = "/agents/{agent}", tag = "agents", operation_id = "get_agent",
    params(("agent" = Uuid, Path)),
    responses(
        (status = 200, description = "The agent", body = Detail),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn get(
    mut look: Look,
    Path(which): Path<String>,
) -> Result<Seen<Detail>, Problem> {
    let missing = ("agent_not_found", "agent");
    let id = id::<()>(&which, missing.0, missing.1)?;
    let found = agents::get(&mut look.reader, id.as_uuid()).await?;
    let body = found.ok_or_else(|| Problem::not_found(missing.0, missing.1))?;
    Ok(Seen { version: body.etag, body })
}

/// List invocations of an agent, the newest first.
#[utoipa::path(
    get, path = "/agents/{agent}/invocations", tag = "agents", operation_id = "list_invocations",
    params(("agent" = Uuid, Path), List),
    responses(
        (status = 200, description = "A page", body = Page<invocations::Detail>),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn invocations(
    mut look: Look,
    Path(which): Path<String>,
    Parameters(page): Parameters<List>,
) -> Result<Json<Page<invocations::Detail>>, Problem> {
    let missing = ("agent_not_found", "agent");
    let agent = id::<()>(&which, missing.0, missing.1)?.as_uuid();
    let found = agents::get(&mut look.reader, agent).await?;
    found.ok_or_else(|| Problem::not_found(missing.0, missing.1))?;
    Ok(Json(invocations::list(&mut look.reader, agent, page.paging()?).await?))
}

/// A model that agents can use.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Model)]
pub(super) struct Usable {
    /// The provider's name.
    provider: String,
    /// The model, by the provider's name for it.
    model: String,
    /// Whether agents that name neither get this one.
    default: bool,
}

/// List the models that agents can use.
#[utoipa::path(
    get, path = "/models", tag = "agents", operation_id = "list_models",
    responses(
        (status = 200, description = "All models", body = Page<Usable>),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn models(State(app): State<App>, _: Look) -> Json<Page<Usable>> {
    let model = |info: ModelInfo| Usable {
        provider: info.provider,
        model: info.model,
        default: info.default,
    };
    let items = app.models.list().into_iter().map(model).collect();
    Json(Page { items, next_cursor: None })
}
