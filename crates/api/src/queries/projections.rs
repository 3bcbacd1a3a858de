//! How up to date read models are.

use axum::Json;
use axum::extract::State;
use projections::{Lag, Reader};
use serde::Serialize;
use utoipa::ToSchema;

use crate::caller::Caller;
use crate::{App, Problem};

/// All read models.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Projections {
    /// By name.
    items: Vec<Lag>,
}

/// List read models, and how far each is behind the log.
#[utoipa::path(
    get, path = "/projections", tag = "projections", operation_id = "list_projections",
    responses(
        (status = 200, description = "All of them", body = Projections),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn list(
    caller: Caller,
    State(app): State<App>,
) -> Result<Json<Projections>, Problem> {
    // It waits for no read model: this is where to look when one does not come.
    let mut reader = Reader::begin(&app.views, caller.tenant).await?;
    Ok(Json(Projections { items: reader.lag().await? }))
}
