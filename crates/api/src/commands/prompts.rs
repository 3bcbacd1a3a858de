//! Commands on prompts.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use domain::Id;
use domain::prompt::{Command as Change, Prompt};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Named;
use crate::command::{Answer, Command, Json, Nothing, id};
use crate::{App, Problem};

/// A new prompt.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreatePrompt)]
pub(super) struct Create {
    /// Its name, unique in the tenant.
    name: String,
    /// Template (Jinja) of the system message.
    system: Option<String>,
    /// Template (Jinja) of the user message; `input` is what the agent is given.
    user: String,
    /// Why it is as it is.
    message: Option<String>,
}

/// A new version of a prompt.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CommitPrompt)]
pub(super) struct Revise {
    /// Template (Jinja) of the system message.
    system: Option<String>,
    /// Template (Jinja) of the user message; `input` is what the agent is given.
    user: String,
    /// Why it was changed.
    message: Option<String>,
}

const MISSING: (&str, &str) = ("prompt_not_found", "prompt");

/// Create a prompt.
#[utoipa::path(
    post, path = "/prompts", tag = "agents", operation_id = "create_prompt", request_body = Create,
    responses(
        (status = 201, description = "Created", body = Named),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn create(
    State(app): State<App>,
    command: Command<Json<Create>>,
) -> Result<Response, Problem> {
    let Json(body) = &command.body;
    let id = Prompt::id(command.caller.tenant, &body.name);
    let change = Change::Create {
        name: body.name.clone(),
        system: body.system.clone(),
        user: body.user.clone(),
        message: body.message.clone(),
    };
    let location = Some(format!("/api/v1/prompts/{id}"));
    let view = |state: &Prompt| named(id, state);
    let answer = Answer::created(location, &view);
    Ok(command.execute(&app, id, &change, answer).await?.into_response())
}

/// Change a prompt.
///
/// The body is the whole; the same again changes nothing.
#[utoipa::path(
    put, path = "/prompts/{prompt}", tag = "agents", operation_id = "update_prompt",
    params(
        ("prompt" = Uuid, Path),
        ("If-Match" = String, Header, description = "The ETag of the last answer"),
    ),
    request_body = Revise,
    responses(
        (status = 200, description = "Changed", body = Named),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn update(
    State(app): State<App>,
    Path(which): Path<String>,
    command: Command<Json<Revise>>,
) -> Result<Response, Problem> {
    let id: Id<Prompt> = id(&which, MISSING.0, MISSING.1)?;
    command.precondition()?;
    let Json(body) = &command.body;
    let change = Change::Revise {
        system: body.system.clone(),
        user: body.user.clone(),
        message: body.message.clone(),
    };
    let view = |state: &Prompt| named(id, state);
    let answer = Answer::changed(&view);
    Ok(command.execute(&app, id, &change, answer).await?.into_response())
}

/// Delete a prompt.
#[utoipa::path(
    delete, path = "/prompts/{prompt}", tag = "agents", operation_id = "delete_prompt",
    params(
        ("prompt" = Uuid, Path),
        ("If-Match" = String, Header, description = "The ETag of the last answer"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn delete(
    State(app): State<App>,
    Path(which): Path<String>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    command.delete::<Prompt>(&app, &which, MISSING, &Change::Delete).await
}

fn named(id: Id<Prompt>, state: &Prompt) -> Named {
    Named {
        id: id.as_uuid(),
        name: state.name().to_owned(),
        revision: state.newest().map_or(0, |newest| newest.version),
    }
}
