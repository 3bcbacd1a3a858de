//! Commands on notification templates.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use domain::Id;
use domain::template::{Command as Change, Template};
use serde::Deserialize;
use utoipa::ToSchema;

use super::Named;
use crate::command::{Answer, Command, Json, Nothing, id};
use crate::{App, Problem};

/// A new notification template.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateTemplate)]
pub(super) struct Create {
    /// Its name, unique in the tenant.
    name: String,
    /// Template (Jinja) of the subject line.
    subject: String,
    /// Template (Jinja) of the plain-text body.
    text: String,
    /// Template (Jinja, HTML-escaped) of the HTML body.
    html: Option<String>,
}

/// A new version of a notification template.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SaveTemplate)]
pub(super) struct Revise {
    /// Template (Jinja) of the subject line.
    subject: String,
    /// Template (Jinja) of the plain-text body.
    text: String,
    /// Template (Jinja, HTML-escaped) of the HTML body.
    html: Option<String>,
}

const MISSING: (&str, &str) = ("template_not_found", "notification template");

/// Create a notification template.
#[utoipa::path(
    post, path = "/notifications/templates", tag = "notifications", operation_id = "create_template", request_body = Create,
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
    let id = Template::id(command.caller.tenant, &body.name);
    let change = Change::Create {
        name: body.name.clone(),
        subject: body.subject.clone(),
        text: body.text.clone(),
        html: body.html.clone(),
    };
    let location = Some(format!("/api/v1/notifications/templates/{id}"));
    let view = |state: &Template| named(id, state);
    let answer = Answer::created(location, &view);
    Ok(command.execute(&app, id, &change, answer).await?.into_response())
}

/// Change a notification template.
///
/// The body is the whole; the same again changes nothing.
#[utoipa::path(
    put, path = "/notifications/templates/{template}", tag = "notifications", operation_id = "update_template",
    params(
        ("template" = Uuid, Path),
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
    let id: Id<Template> = id(&which, MISSING.0, MISSING.1)?;
    command.precondition()?;
    let Json(body) = &command.body;
    let change = Change::Revise {
        subject: body.subject.clone(),
        text: body.text.clone(),
        html: body.html.clone(),
    };
    let view = |state: &Template| named(id, state);
    let answer = Answer::changed(&view);
    Ok(command.execute(&app, id, &change, answer).await?.into_response())
}

/// Delete a notification template.
#[utoipa::path(
    delete, path = "/notifications/templates/{template}", tag = "notifications", operation_id = "delete_template",
    params(
        ("template" = Uuid, Path),
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
    command.delete::<Template>(&app, &which, MISSING, &Change::Delete).await
}

fn named(id: Id<Template>, state: &Template) -> Named {
    Named {
        id: id.as_uuid(),
        name: state.name().to_owned(),
        revision: state.newest().map_or(0, |newest| newest.version),
    }
}
