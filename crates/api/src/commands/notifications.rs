//! Commands on notifications.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use domain::notification::{Channel, Command as Change, Notification, Status};
use domain::template::Template;
use domain::{Fault, Id};
use eventstore::load;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::subjects;
use crate::command::{Answer, Command, Json, Nothing, id};
use crate::{App, Problem};

/// A notification to be sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateNotification)]
pub(super) struct Create {
    /// How: `email`.
    #[schema(value_type = String, example = "email")]
    channel: Channel,
    /// Whom to: an address, or a list of them.
    #[schema(value_type = Vec<String>)]
    to: Recipients,
    /// The template's name.
    template: String,
    /// What the template is filled with.
    #[serde(default)]
    #[schema(value_type = Object)]
    data: Value,
    /// Whose data these are: what you call the person, so that they can be erased.
    subject: Option<String>,
}

/// One address or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Recipients {
    One(String),
    Several(Vec<String>),
}

/// A notification on its way.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AcceptedNotification)]
pub(super) struct Accepted {
    /// The notification.
    id: Uuid,
    /// Where it stands.
    status: &'static str,
}

/// Send a notification.
///
/// It is accepted at once and delivered by a worker, which tries again when that fails.
#[utoipa::path(
    post, path = "/notifications", tag = "notifications", operation_id = "create_notification",
    request_body = Create,
    responses(
        (status = 202, description = "Accepted", body = Accepted),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn create(
    State(app): State<App>,
    command: Command<Json<Create>>,
) -> Result<Response, Problem> {
    let Json(body) = &command.body;
    let tenant = command.caller.tenant;
    let template = Template::id(tenant, &body.template);
    let (state, _) = load::<Template>(&*app.log, tenant, template).await?;
    let Some(newest) = state.newest() else {
        let detail = format!("there is no template `{}`", body.template);
        let fault = Fault::new("/template", "unknown_reference", detail);
        return Err(Problem::invalid("notification_invalid", vec![fault]));
    };
    let subject = subjects::named(&app, tenant, body.subject.as_deref()).await?;
    let notification: Id<Notification> = Id::from_uuid(app.clock.id());
    let change = Change::Request {
        channel: body.channel,
        to: match &body.to {
            Recipients::One(address) => vec![address.clone()],
            Recipients::Several(addresses) => addresses.clone(),
        },
        template,
        version: newest.version,
        data: body.data.clone(),
        subject,
        caller: None,
    };
    let location = Some(format!("/api/v1/notifications/{notification}"));
    let view = |state: &Notification| accepted(notification, state);
    let answer = Answer::accepted(location, &view);
    Ok(command.execute(&app, notification, &change, answer).await?.into_response())
}

/// Send a notification again.
#[utoipa::path(
    post, path = "/notifications/{notification}/resend", tag = "notifications",
    operation_id = "resend_notification", params(("notification" = Uuid, Path)),
    responses(
        (status = 202, description = "Accepted", body = Accepted),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn resend(
    State(app): State<App>,
    Path(which): Path<String>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    let notification: Id<Notification> = id(&which, "notification_not_found", "notification")?;
    let view = |state: &Notification| accepted(notification, state);
    let answer = Answer::accepted(None, &view);
    Ok(command.execute(&app, notification, &Change::Resend, answer).await?.into_response())
}

fn accepted(id: Id<Notification>, state: &Notification) -> Accepted {
    let status = match state.status() {
        Status::Unborn | Status::Queued => "queued",
        Status::Retrying(_) => "retrying",
        Status::Sent => "sent",
        Status::Failed => "failed",
    };
    Accepted { id: id.as_uuid(), status }
}
