//! Commands on people whose data are in the log.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::api_key::Access;
use domain::subject::{Command as Change, Subject};
use domain::{Fault, Id, Tenant};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::command::{Answer, Command, Done, Json, until};
use crate::query::{Parameters, Wait, parse_wait, seen};
use crate::{App, Problem};

/// The longest name of a person, in bytes.
const NAME_LIMIT: usize = 200;

/// Who is to be erased.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EraseSubject)]
pub(super) struct Erase {
    /// What they were called as `subject` of executions, invocations, notifications or webhooks.
    subject: String,
}

/// Somebody who will be erased.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AcceptedErasure)]
pub(super) struct Accepted {
    /// The subject: a random id, which their events bear. Afterwards nothing leads from it to the
    /// person.
    id: Uuid,
    /// `erasing`, or `erased` when it is done.
    status: &'static str,
}

/// Erase a person.
///
/// The key of their data is destroyed: what events say about them cannot be read again, in the log,
/// in backups and exports that are made from now on. Read models forget it, and executions that
/// work on it are cancelled. What happened, and every proof of it, stays. With `wait` the answer
/// comes when it is done, in the read models too. It takes `admin` access and cannot be undone.
#[utoipa::path(
    post, path = "/subjects/erase", tag = "subjects", operation_id = "erase_subject",
    params(Wait), request_body = Erase,
    responses(
        (status = 200, description = "They are erased", body = Accepted),
        (status = 202, description = "They will be erased", body = Accepted),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn erase(
    State(app): State<App>,
    Parameters(Wait { wait }): Parameters<Wait>,
    command: Command<Json<Erase>>,
) -> Result<Response, Problem> {
    command.caller.needs(Access::Admin)?;
    let Json(Erase { subject: name }) = &command.body;
    check(name)?;
    let Some(subject) = app.keys.find(command.caller.tenant, name).await? else {
        // Whoever repeats the command gets the answer to the first one, if there was one.
        let done = command.replayed(&app).await?;
        return done
            .map(Done::into_response)
            .ok_or_else(|| Problem::not_found("subject_not_found", "subject"));
    };
    let wait = wait.as_deref().map(parse_wait).transpose()?;
    let view = |state: &Subject| Accepted {
        id: subject.as_uuid(),
        status: if state.is_erased() { "erased" } else { "erasing" },
    };
    let answer = Answer::accepted(None, &view);
    let done = command.execute(&app, subject, &Change::Erase, answer).await?;
    let Some(wait) = wait else { return Ok(done.into_response()) };
    let tenant = command.caller.tenant;
    match until(&app, tenant, subject, wait, &Subject::is_erased).await? {
        Some((state, position)) => {
            seen(&app, position).await?;
            let body = axum::Json(view(&state));
            Ok(([("x-position", position.to_string())], body).into_response())
        }
        None => Ok(done.into_response()),
    }
}

/// The subject that a request names, made when it is the first to do so.
pub(super) async fn named(
    app: &App,
    tenant: Id<Tenant>,
    name: Option<&str>,
) -> Result<Option<Id<Subject>>, Problem> {
    let Some(name) = name else { return Ok(None) };
    check(name)?;
    Ok(Some(app.keys.subject(tenant, name).await?))
}

fn check(name: &str) -> Result<(), Problem> {
    if (1..=NAME_LIMIT).contains(&name.len()) && !name.contains(char::is_control) {
        return Ok(());
    }
    let detail =
        format!("a subject is called by 1 to {NAME_LIMIT} bytes without control characters");
    Err(Problem::invalid("request_invalid", vec![Fault::new("/subject", "malformed_name", detail)]))
}
