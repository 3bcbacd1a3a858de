//! Commands on executions.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequestParts, Path, Request as HttpRequest, State};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use domain::execution::{self, Execution, NewExecution, Phase, Trigger};
use domain::workflow::Workflow;
use domain::{Fact, Id, Tenant};
use eventstore::{ExecuteError, Position, Priority, Recorded, StreamId, Version, fact, load};
use projections::told;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use utoipa::ToSchema;
use uuid::Uuid;

use super::subjects;
use crate::caller::Caller;
use crate::command::{Answer, Begun, Command, Json, id, read_body, until};
use crate::gateway::BODY_LIMIT;
use crate::queries::{self, ExecutionView};
use crate::query::{Parameters, Wait, parse_wait};
use crate::{App, Problem};

/// What an execution is called that has not ended.
const RUNNING: &str = "running";

/// How many events of an execution are read to answer whoever waited for its end.
const STORY: usize = 50;

/// What an execution is started with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Execute {
    /// The workflow's input.
    #[serde(default)]
    #[schema(value_type = Object, nullable)]
    input: Value,
    /// The version to run, as the document calls it; the newest if none.
    version: Option<String>,
    /// Whose data the input is: what you call the person, so that they can be erased.
    subject: Option<String>,
    /// How urgent it is: while there is more to store than can be stored, what is less urgent is refused
    /// sooner (429). What was accepted is carried out in its turn, whatever its urgency.
    #[serde(default)]
    priority: Urgency,
}

/// How urgent a start is.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Urgency {
    Low,
    #[default]
    Normal,
    High,
}

impl From<Urgency> for Priority {
    fn from(urgency: Urgency) -> Self {
        match urgency {
            Urgency::Low => Self::Low,
            Urgency::Normal => Self::Normal,
            Urgency::High => Self::High,
        }
    }
}

/// An execution that was accepted.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Accepted {
    /// The execution.
    id: Uuid,
    /// The workflow it runs.
    workflow_id: Uuid,
    /// Where it stands.
    status: String,
}

/// Why an execution is stopped.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Cancel {
    /// Why, in your own words.
    #[serde(default)]
    reason: String,
}

/// What a start is decided on: who wants it, and what the workflow is.
struct Basis {
    caller: Caller,
    workflow: Arc<Workflow>,
    /// What the log is to judge because nobody asked it; empty if somebody did.
    given: Vec<(StreamId, Version)>,
}

impl Basis {
    /// As this process remembers it. Nothing is answered, let alone refused, on the strength of that: only
    /// if the log finds that it still is so while it stores the start, the start counts.
    fn remembered(app: &App, parts: &Parts, workflow: Id<Workflow>) -> Option<Self> {
        let (caller, key) = Caller::remembered(parts, app)?;
        let (state, version) = app.plans.remembered(caller.tenant, workflow)?;
        let given = vec![key, (StreamId::of(caller.tenant, workflow), version)];
        Some(Self { caller, workflow: state, given })
    }

    /// As it is now. Both are questions to the log, which go out together.
    async fn asked(
        app: &App,
        parts: &mut Parts,
        workflow: Option<Id<Workflow>>,
    ) -> Result<Self, Problem> {
        let claimed = Option::zip(Caller::claimed(&parts.headers), workflow);
        let look = async || match claimed {
            Some((tenant, workflow)) => app.plans.workflow(&*app.log, tenant, workflow).await,
            None => Ok(Arc::default()),
        };
        let (caller, workflow) = tokio::join!(Caller::from_request_parts(parts, app), look());
        Ok(Self { caller: caller?, workflow: workflow?, given: vec![] })
    }
}

/// An execution that was begun, maybe by an earlier request of the same key.
struct Started {
    execution: Id<Execution>,
    begun: Begun,
}

/// How a start can fail.
enum Unstarted {
    /// Nothing was stored.
    Refused(Problem),
    /// It may have been.
    Failed(Problem),
}

impl Unstarted {
    /// It takes more than what is remembered.
    fn unasked() -> Self {
        Self::Refused(ExecuteError::<execution::Refusal>::Outdated.into())
    }
}

impl From<Problem> for Unstarted {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

impl From<Unstarted> for Problem {
    fn from((Unstarted::Refused(problem) | Unstarted::Failed(problem)): Unstarted) -> Self {
        problem
    }
}

/// Start an execution.
///
/// It is pinned to one version of the workflow. Without `wait` the answer comes as soon as the
/// start is in the log; with it, the answer is the whole execution if it ends in time.
#[utoipa::path(
    post, path = "/workflows/{workflow}/execute", tag = "workflows", operation_id = "execute_workflow",
    params(("workflow" = Uuid, Path), Wait), request_body = Execute,
    responses(
        (status = 200, description = "It ended in time: the whole execution", body = queries::ExecutionView),
        (status = 202, description = "It was started", body = Accepted),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn execute(
    State(app): State<App>,
    Path(path): Path<String>,
    Parameters(Wait { wait }): Parameters<Wait>,
    request: HttpRequest,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let workflow = id::<Workflow>(&path, "workflow_not_found", "workflow");
    let wait = wait.as_deref().map(parse_wait).transpose();
    let named = workflow.as_ref().ok().copied();
    let remembered = named
        .filter(|_| wait.is_ok())
        .and_then(|workflow| Basis::remembered(&app, &parts, workflow));
    // Nobody's body is read who has no key.
    let basis = match remembered {
        Some(basis) => basis,
        None => Basis::asked(&app, &mut parts, named).await?,
    };
    let (workflow, wait) = (workflow?, wait?);
    let is_remembered = !basis.given.is_empty();
    let bytes = match read_body(body, BODY_LIMIT).await {
        Ok(bytes) => bytes,
        Err(problem) => {
            if is_remembered {
                Basis::asked(&app, &mut parts, named).await?;
            }
            return Err(problem);
        }
    };
    let started = match start(&app, workflow, basis, (&parts, &bytes)).await {
        Err(Unstarted::Refused(_)) if is_remembered => {
            let basis = Basis::asked(&app, &mut parts, named).await?;
            start(&app, workflow, basis, (&parts, &bytes)).await
        }
        done => done,
    };
    answered(&app, workflow, started?, wait).await
}

/// Starts an execution on the basis of what is known of its caller and its workflow.
async fn start(
    app: &App,
    workflow: Id<Workflow>,
    Basis { caller, workflow: state, given }: Basis,
    (parts, bytes): (&Parts, &Bytes),
) -> Result<Started, Unstarted> {
    let command = Command::<Json<Execute>>::of(caller, parts, bytes)?;
    let command = Command { given, ..command };
    let Json(Execute { input, version, subject, priority }) = &command.body;
    let tenant = command.caller.tenant;
    admit(app, tenant, (*priority).into())?;
    let is_remembered = !command.given.is_empty();
    if subject.is_some() && is_remembered {
        // Nobody is made known to the keyring before it is asked who wants that.
        return Err(Unstarted::unasked());
    }
    let (revision, plan) = app
        .plans
        .version_of(&state, (tenant, workflow), version.as_deref())
        .map_err(Problem::from)?;
    let subject = subjects::named(app, tenant, subject.as_deref()).await?;
    let execution: Id<Execution> = Id::from_uuid(app.clock.id());
    let input = input.clone();
    let new = NewExecution {
        id: execution,
        workflow,
        revision,
        plan,
        input,
        subject,
        trigger: Trigger::Api,
    };
    let start = execution::Command::Start(Box::new(new));
    let view = |state: &Execution| Accepted {
        id: execution.as_uuid(),
        workflow_id: workflow.as_uuid(),
        status: status(state.phase()).to_owned(),
    };
    let location = Some(format!("/api/v1/workflows/{workflow}/executions/{execution}"));
    let answer = Answer::accepted(location, &view);
    match command.begin(app, execution, &start, answer).await {
        Ok(begun) if begun.done.replayed && is_remembered => Err(Unstarted::unasked()),
        Ok(begun) => Ok(Started { execution, begun }),
        Err(error @ ExecuteError::Store(eventstore::Error::Busy { .. })) => {
            Err(Unstarted::Refused(error.into()))
        }
        Err(error @ ExecuteError::Store(_)) => Err(Unstarted::Failed(error.into())),
        Err(error) => Err(Unstarted::Refused(error.into())),
    }
}

/// The answer to a start: that it was accepted, or the whole execution if that is waited for and ends in time.
async fn answered(
    app: &App,
    workflow: Id<Workflow>,
    Started { execution, begun: Begun { done, added, meta } }: Started,
    wait: Option<Duration>,
) -> Result<Response, Problem> {
    let Some(wait) = wait else { return Ok(done.into_response()) };
    if let Some(told) = told::just_now(&meta, execution.as_uuid(), done.position, added)? {
        return Ok(over(done.position, told));
    }
    // A repeated command is answered with the execution that the first one started.
    let accepted = serde_json::from_str::<Accepted>(&done.reply.body).ok();
    let began = accepted.map_or(execution, |accepted| Id::from_uuid(accepted.id));
    let seen = if began == execution { done.version } else { 0 };
    match end(app, (meta.tenant, workflow, began), (seen, wait)).await? {
        Some((position, view)) => Ok(over(position, view)),
        None => Ok(done.into_response()),
    }
}

/// Refuses whoever starts more than can be stored.
fn admit(app: &App, tenant: Id<Tenant>, priority: Priority) -> Result<(), Problem> {
    match app.log.admit(tenant, priority) {
        Err(eventstore::Error::Busy { retry_after }) => Err(Problem::overloaded(retry_after)),
        admitted => Ok(admitted?),
    }
}

/// The answer to whoever waited for the end.
fn over(position: Position, seen: ExecutionView) -> Response {
    ([("x-position", position.to_string())], axum::Json(seen)).into_response()
}

/// Waits for the end of an execution, which at a version it has not reached: the whole of it, and the
/// position from which on readers see it so; nothing if that takes longer, or longer than this process
/// is there. Its own events tell it at once; a long story is left to the read models.
async fn end(
    app: &App,
    (tenant, workflow, execution): (Id<Tenant>, Id<Workflow>, Id<Execution>),
    (mut version, wait): (Version, Duration),
) -> Result<Option<(Position, ExecutionView)>, Problem> {
    let (stream, deadline) = (StreamId::of(tenant, execution), Instant::now() + wait);
    let mut ear = app.moves.listen(stream);
    let mut leaving = app.leaving.clone();
    // What happened before anybody listened is not told.
    let mut upto = ear.after;
    loop {
        if let Some(events) = news(app, stream, (version, upto)).await? {
            let Some(last) = events.last().filter(|_| events.len() < STORY) else {
                let left = deadline.saturating_duration_since(Instant::now());
                let over = until(app, tenant, execution, left, &Execution::is_over).await?;
                let Some((_, position)) = over else { return Ok(None) };
                let seen =
                    queries::execution_at(app, tenant, workflow, execution, position).await?;
                return Ok(Some((position, seen)));
            };
            if matches!(&*fact(last)?, Fact::Execution(event) if event.is_end()) {
                let told = told::execution(&events)?;
                let told = told.filter(|told| told.summary.workflow_id == workflow.as_uuid());
                let seen = match told {
                    Some(told) => told,
                    None => {
                        queries::execution_at(app, tenant, workflow, execution, last.position)
                            .await?
                    }
                };
                return Ok(Some((last.position, seen)));
            }
            // There may be more of it than this process remembers.
            version = last.version;
            continue;
        }
        tokio::select! {
            moved = timeout_at(deadline, ear.moved()) => match moved {
                Ok(position) => upto = position,
                Err(_) => return Ok(None),
            },
            Ok(_) = leaving.wait_for(|leaving| *leaving) => return Ok(None),
        }
    }
}

/// The first events of a stream if there are any after a version. What this process remembers up to a
/// position is enough if it has them, or if nothing is asked of what comes behind that.
async fn news(
    app: &App,
    stream: StreamId,
    (version, upto): (Version, Position),
) -> Result<Option<Vec<Recorded>>, Problem> {
    if let Some(recalled) = app.log.recall(stream, 0).await? {
        if recalled.events.last().is_some_and(|last| last.version > version) {
            return Ok(Some(recalled.events));
        }
        if recalled.upto >= upto {
            return Ok(None);
        }
    }
    // Of many who ask at once, one question is made.
    if app.log.version(stream).await? > version {
        return Ok(Some(app.log.load(stream, 0, STORY).await?));
    }
    Ok(None)
}

/// Cancel an execution.
///
/// Every branch stops at once; answers of calls that are under way are ignored.
#[utoipa::path(
    post, path = "/workflows/{workflow}/executions/{execution}/cancel", tag = "workflows",
    operation_id = "cancel_execution",
    params(("workflow" = Uuid, Path), ("execution" = Uuid, Path)), request_body = Cancel,
    responses(
        (status = 202, description = "It is cancelled", body = Accepted),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn cancel(
    State(app): State<App>,
    Path((workflow, execution)): Path<(String, String)>,
    command: Command<Json<Cancel>>,
) -> Result<Response, Problem> {
    let missing = ("execution_not_found", "execution");
    let workflow: Id<Workflow> = id(&workflow, missing.0, missing.1)?;
    let execution: Id<Execution> = id(&execution, missing.0, missing.1)?;
    let (state, _) = load::<Execution>(&*app.log, command.caller.tenant, execution).await?;
    if state.pinned().is_none_or(|(pinned, _)| pinned != workflow) {
        return Err(Problem::not_found(missing.0, missing.1));
    }
    let Json(Cancel { reason }) = &command.body;
    let cancel = execution::Command::Cancel { by: command.caller.actor(), reason: reason.clone() };
    let view = |state: &Execution| Accepted {
        id: execution.as_uuid(),
        workflow_id: workflow.as_uuid(),
        status: status(state.phase()).to_owned(),
    };
    let answer = Answer::accepted(None, &view);
    Ok(command.execute(&app, execution, &cancel, answer).await?.into_response())
}

fn status(phase: &Phase) -> &'static str {
    match phase {
        Phase::Unborn | Phase::Running => RUNNING,
        Phase::Completed(_) => "completed",
        Phase::Faulted(_) => "faulted",
        Phase::Cancelled => "cancelled",
    }
}
