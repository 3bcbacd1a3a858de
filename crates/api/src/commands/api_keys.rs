//! Commands on API keys.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::Id;
use domain::api_key::{Access, ApiKey, Command as Change, Token};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::command::{Answer, Command, Json, Nothing, id};
use crate::{App, Problem};

/// A new key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateApiKey)]
pub(super) struct Create {
    /// What it is for.
    name: String,
    /// What its holder may do: `read`, `write` or `admin`.
    #[schema(value_type = String, example = "write")]
    access: Access,
}

/// A key that was made. This is the only time that its token is shown.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Made {
    /// The key.
    id: Uuid,
    /// What to send as `Authorization: Bearer`.
    token: String,
}

/// Make an API key.
///
/// The token is shown once and stored nowhere; repeating the request with the same
/// `Idempotency-Key` therefore cannot show it again.
#[utoipa::path(
    post, path = "/auth/api-keys", tag = "auth", operation_id = "create_api_key",
    request_body = Create,
    responses(
        (status = 201, description = "Made", body = Made),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn create(
    State(app): State<App>,
    command: Command<Json<Create>>,
) -> Result<Response, Problem> {
    command.caller.needs(Access::Admin)?;
    let Json(body) = &command.body;
    let key = app.clock.id();
    let token = Token { tenant: command.caller.tenant, key, secret: rand::random() };
    let (name, access, digest) = (body.name.clone(), body.access, token.digest());
    let change = Change::Create { name, access, digest };
    // The stored answer must not hold the token: only this one does.
    let view = |_: &ApiKey| serde_json::json!({"id": key});
    let location = Some(format!("/api/v1/auth/api-keys/{key}"));
    let answer = Answer::created(location, &view);
    let mut done = command.execute(&app, Id::from_uuid(key), &change, answer).await?;
    if !done.replayed {
        let made = Made { id: key, token: token.encode() };
        done.reply.body = serde_json::to_string(&made).unwrap_or_default();
    }
    Ok(done.into_response())
}

/// Revoke an API key.
#[utoipa::path(
    delete, path = "/auth/api-keys/{key}", tag = "auth", operation_id = "revoke_api_key",
    params(("key" = Uuid, Path)),
    responses(
        (status = 204, description = "Revoked"),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn revoke(
    State(app): State<App>,
    Path(which): Path<String>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    command.caller.needs(Access::Admin)?;
    let key: Id<ApiKey> = id(&which, "api_key_not_found", "API key")?;
    let answer = Answer { status: StatusCode::NO_CONTENT, location: None, view: &|_: &ApiKey| () };
    Ok(command.execute(&app, key, &Change::Revoke, answer).await?.into_response())
}
