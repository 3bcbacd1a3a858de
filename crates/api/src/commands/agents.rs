//! Commands on agents.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use domain::agent::{Agent, Command as Change, Spec};
use domain::invocation::{self, Invocation, Outcome};
use domain::prompt::Prompt;
use domain::{Fault, Id, Tenant};
use eventstore::{load, pin_invocation};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::Named;
use super::subjects;
use crate::command::{Answer, Command, Json, NamedJson, Nothing, id, until};
use crate::query::{Parameters, Wait, parse_wait};
use crate::{App, Problem};

const MISSING: (&str, &str) = ("agent_not_found", "agent");

/// How long an invocation is waited for, unless the caller says otherwise.
const DEFAULT_WAIT: &str = "30s";

/// What an agent is given.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Invoke {
    /// Text, or JSON for the agent's prompt.
    #[serde(default)]
    #[schema(value_type = Object)]
    input: Value,
    /// Whose data the input is: what you call the person, so that they can be erased.
    subject: Option<String>,
}

/// An invocation.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = InvocationAnswer)]
pub(super) struct Invoked {
    /// The invocation.
    id: Uuid,
    /// The agent.
    agent_id: Uuid,
    /// `pending`, `completed` or `failed`.
    status: String,
    /// The answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    output: Option<Value>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    error: Option<Value>,
    /// Provider, model, calls, tokens and duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    report: Option<Value>,
}

/// Create an agent.
#[utoipa::path(
    post, path = "/agents", tag = "agents", operation_id = "create_agent", request_body = Object,
    responses(
        (status = 201, description = "Created", body = Named),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn create(
    State(app): State<App>,
    command: Command<NamedJson<Spec>>,
) -> Result<Response, Problem> {
    let NamedJson { name, settings: spec } = &command.body;
    check(&app, command.caller.tenant, spec).await?;
    let agent = Agent::id(command.caller.tenant, name);
    let change = Change::Create { name: name.clone(), spec: Box::new(spec.clone()) };
    let location = Some(format!("/api/v1/agents/{agent}"));
    let view = |state: &Agent| named(agent, state);
    let answer = Answer::created(location, &view);
    Ok(command.execute(&app, agent, &change, answer).await?.into_response())
}

/// Change an agent.
///
/// The body is the whole; the same again changes nothing.
#[utoipa::path(
    put, path = "/agents/{agent}", tag = "agents", operation_id = "update_agent",
    params(
        ("agent" = Uuid, Path),
        ("If-Match" = String, Header, description = "The ETag of the last answer"),
    ),
    request_body = Object,
    responses(
        (status = 200, description = "Changed", body = Named),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn update(
    State(app): State<App>,
    Path(which): Path<String>,
    command: Command<Json<Spec>>,
) -> Result<Response, Problem> {
    let agent: Id<Agent> = id(&which, MISSING.0, MISSING.1)?;
    command.precondition()?;
    let Json(spec) = &command.body;
    check(&app, command.caller.tenant, spec).await?;
    let change = Change::Revise { spec: Box::new(spec.clone()) };
    let view = |state: &Agent| named(agent, state);
    let answer = Answer::changed(&view);
    Ok(command.execute(&app, agent, &change, answer).await?.into_response())
}

/// Delete an agent.
///
/// Invocations under way go on.
#[utoipa::path(
    delete, path = "/agents/{agent}", tag = "agents", operation_id = "delete_agent",
    params(
        ("agent" = Uuid, Path),
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
    command.delete::<Agent>(&app, &which, MISSING, &Change::Delete).await
}

/// Invoke an agent.
///
/// The answer comes when the model has answered, or after `wait` (30 seconds unless said
/// otherwise) as 202: the invocation goes on, and `invocations` shows its end.
#[utoipa::path(
    post, path = "/agents/{agent}/invoke", tag = "agents", operation_id = "invoke_agent",
    params(("agent" = Uuid, Path), Wait), request_body = Invoke,
    responses(
        (status = 200, description = "It ended", body = Invoked),
        (status = 202, description = "It goes on", body = Invoked),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn invoke(
    State(app): State<App>,
    Path(which): Path<String>,
    Parameters(Wait { wait }): Parameters<Wait>,
    command: Command<Json<Invoke>>,
) -> Result<Response, Problem> {
    let agent: Id<Agent> = id(&which, MISSING.0, MISSING.1)?;
    let wait = parse_wait(wait.as_deref().unwrap_or(DEFAULT_WAIT))?;
    let tenant = command.caller.tenant;
    let Json(Invoke { input, subject }) = &command.body;
    let subject = subjects::named(&app, tenant, subject.as_deref()).await?;
    let pinned = pin_invocation(&*app.log, tenant, agent, (input.clone(), subject), None).await?;
    let new = pinned.ok_or_else(|| Problem::not_found(MISSING.0, MISSING.1))?;
    let invocation: Id<Invocation> = Id::from_uuid(app.clock.id());
    let view = |state: &Invocation| invoked(invocation, agent, state);
    let location = Some(format!("/api/v1/agents/{agent}/invocations"));
    let answer = Answer::accepted(location, &view);
    let request = invocation::Command::Request(new);
    let done = command.execute(&app, invocation, &request, answer).await?;
    // A repeated command is answered with the invocation that the first one began.
    let first = serde_json::from_str::<Invoked>(&done.reply.body);
    let invocation = first.map_or(invocation, |first| Id::from_uuid(first.id));
    let over = |state: &Invocation| state.outcome().is_some();
    match until::<Invocation>(&app, tenant, invocation, wait, &over).await? {
        Some((state, position)) => {
            let body = axum::Json(invoked(invocation, agent, &state));
            Ok(([("x-position", position.to_string())], body).into_response())
        }
        None => Ok(done.into_response()),
    }
}

/// Refuses settings that name a prompt or a provider which is not there.
async fn check(app: &App, tenant: Id<Tenant>, spec: &Spec) -> Result<(), Problem> {
    let mut faults = vec![];
    if let Some(named) = &spec.prompt {
        let (prompt, _) =
            load::<Prompt>(&*app.log, tenant, Prompt::id(tenant, &named.name)).await?;
        if prompt.newest().is_none() || prompt.version(named.version).is_none() {
            let detail = format!("there is no prompt `{}` of that version", named.name);
            faults.push(Fault::new("/prompt", "unknown_reference", detail));
        }
    }
    if app.models.get(spec.provider.as_deref()).is_none() {
        let detail = "no such provider is configured";
        let hint = "GET /api/v1/models lists what there is";
        faults.push(Fault::new("/provider", "unknown_reference", detail).hint(hint));
    }
    if faults.is_empty() { Ok(()) } else { Err(Problem::invalid("agent_invalid", faults)) }
}

fn named(id: Id<Agent>, state: &Agent) -> Named {
    let revision = state.current().map_or(0, |(revision, _)| revision);
    Named { id: id.as_uuid(), name: state.name().to_owned(), revision }
}

fn invoked(id: Id<Invocation>, agent: Id<Agent>, state: &Invocation) -> Invoked {
    let mut seen = Invoked {
        id: id.as_uuid(),
        agent_id: agent.as_uuid(),
        status: "pending".to_owned(),
        output: None,
        error: None,
        report: None,
    };
    match state.outcome() {
        None => {}
        Some(Outcome::Completed { output, report }) => {
            seen.status = "completed".to_owned();
            seen.output = Some(output.clone());
            seen.report = Some(json!(report));
        }
        Some(Outcome::Failed { class, detail, report }) => {
            seen.status = "failed".to_owned();
            seen.error = Some(json!({"class": class, "detail": detail}));
            seen.report = Some(json!(report));
        }
    }
    seen
}
