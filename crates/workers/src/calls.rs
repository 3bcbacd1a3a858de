//! Calls of executions: made here, or handed to the aggregate whose job they are.

use domain::agent::Agent;
use domain::execution::{
    Answer, Caller, Command, Execution, NewExecution, Phase, Request, Standard, Trigger, WaitId,
};
use domain::integration::Integration;
use domain::invocation::{self, Invocation};
use domain::notification::{self, Channel, Notification};
use domain::subject::Subject;
use domain::template::Template;
use domain::workflow::Workflow;
use domain::{Aggregate as _, Id, Tenant};
use eventstore::{
    Append, Expected, Fence, PlanError, StreamAppend, StreamId, drafts, load, pin_invocation,
};
use serde_json::{Map, Value, json};

use crate::carry::{give, meta};
use crate::gates::Gate;
use crate::{Deps, Error, http};

/// How often the start of a child is tried anew because its parent went on meanwhile.
const ATTEMPTS: usize = 10;

/// A call to be made.
pub(crate) struct Call<'a> {
    pub(crate) tenant: Id<Tenant>,
    pub(crate) execution: Id<Execution>,
    pub(crate) wait: WaitId,
    pub(crate) key: &'a str,
    pub(crate) request: &'a Request,
    /// Whose data the execution works on, if somebody's.
    pub(crate) subject: Option<Id<Subject>>,
    /// Under which it is made.
    pub(crate) fence: Fence,
}

impl Call<'_> {
    /// The idempotency key that goes with it.
    fn idempotency_key(&self) -> String {
        format!("{}.{}", self.execution, self.key)
    }

    fn caller(&self) -> Caller {
        Caller { execution: self.execution, wait: self.wait }
    }

    /// The id of what the call brings about: the same for as long as its key is.
    fn derived<T>(&self) -> Id<T> {
        Id::derived(self.execution.as_uuid(), self.key)
    }
}

/// Makes a call; its answer, or nothing if somebody else will give it.
pub(crate) async fn make(deps: &Deps, call: &Call<'_>) -> Result<Option<Answer>, Error> {
    match call.request {
        Request::Http(request) => {
            Ok(Some(http::call(deps, &call.idempotency_key(), request).await))
        }
        Request::Agent { agent, input } => ask_agent(deps, call, agent, input).await,
        Request::Integration { integration, operation, parameters } => {
            integrate(deps, call, integration, (operation, parameters)).await.map(Some)
        }
        Request::Notify { channel, to, template, data } => {
            notify(deps, call, (channel, template), (to, data)).await.map(Some)
        }
        Request::Workflow { .. } => run_workflow(deps, call).await,
    }
}

/// Asks an agent. The invocation answers when it ends; if it has ended, and the answer was lost
/// on the way, it is given here.
async fn ask_agent(
    deps: &Deps,
    call: &Call<'_>,
    agent: &str,
    input: &Value,
) -> Result<Option<Answer>, Error> {
    let id: Id<Invocation> = call.derived();
    let (known, version) = load::<Invocation>(&*deps.log, call.tenant, id).await?;
    if version > 0 {
        return Ok(known.answer());
    }
    let agent_id = Agent::id(call.tenant, agent);
    let caller = Some(call.caller());
    let input = (input.clone(), call.subject);
    let pinned = pin_invocation(&*deps.log, call.tenant, agent_id, input, caller).await?;
    let Some(request) = pinned else { return Ok(Some(missing(&format!("agent `{agent}`")))) };
    let meta = meta(deps, call.tenant, call.execution.as_uuid(), &format!("call/{}", call.key));
    give(deps, call.fence, id, &invocation::Command::Request(request), meta).await?;
    Ok(None)
}

async fn integrate(
    deps: &Deps,
    call: &Call<'_>,
    name: &str,
    (operation, parameters): (&str, &Map<String, Value>),
) -> Result<Answer, Error> {
    let id = Integration::id(call.tenant, name);
    let (integration, _) = load::<Integration>(&*deps.log, call.tenant, id).await?;
    let Some(spec) = integration.spec() else {
        return Ok(missing(&format!("integration `{name}`")));
    };
    let gate = Gate::Integration(call.tenant, id);
    let _pass = deps.gates.enter(gate).map_err(Error::Full)?;
    let outbound = match spec.request(operation, parameters) {
        Ok(outbound) => outbound,
        Err(faults) => {
            let detail: Vec<&str> = faults.iter().map(|fault| fault.detail.as_str()).collect();
            return Ok(Answer::Failure(Standard::Configuration.error(detail.join("; "))));
        }
    };
    let key = call.idempotency_key();
    http::integrate(deps, call.tenant, spec, outbound, &key).await
}

/// Asks for a notification; the task is done when it is accepted, and the notification service
/// sees to its delivery.
async fn notify(
    deps: &Deps,
    call: &Call<'_>,
    (channel, template): (&str, &str),
    (to, data): (&[String], &Value),
) -> Result<Answer, Error> {
    if channel != "email" {
        let detail = format!("there is no channel `{channel}`: `email` is the one there is");
        return Ok(Answer::Failure(Standard::Configuration.error(detail)));
    }
    let template_id = Template::id(call.tenant, template);
    let (state, _) = load::<Template>(&*deps.log, call.tenant, template_id).await?;
    let Some(version) = state.newest().map(|version| version.version) else {
        return Ok(missing(&format!("template `{template}`")));
    };
    let id: Id<Notification> = call.derived();
    let request = notification::Command::Request {
        channel: Channel::Email,
        to: to.to_vec(),
        template: template_id,
        version,
        data: data.clone(),
        subject: call.subject,
        caller: Some(call.caller()),
    };
    let meta = meta(deps, call.tenant, call.execution.as_uuid(), &format!("call/{}", call.key));
    match give(deps, call.fence, id, &request, meta).await? {
        Some(_) => Ok(Answer::Success(json!({"id": id, "status": "queued"}))),
        None => Ok(Answer::Failure(
            Standard::Validation.error("the notification was refused: look at its addresses"),
        )),
    }
}

/// Starts the other workflow. Its end answers, unless the task does not wait for it.
async fn run_workflow(deps: &Deps, call: &Call<'_>) -> Result<Option<Answer>, Error> {
    let Request::Workflow { namespace, name, version, input, r#await } = call.request else {
        return Ok(None);
    };
    let id: Id<Execution> = call.derived();
    let (known, _) = load::<Execution>(&*deps.log, call.tenant, id).await?;
    if *known.phase() == Phase::Unborn {
        let workflow = Workflow::id(call.tenant, namespace, name);
        let found =
            deps.plans.published(&*deps.log, call.tenant, workflow, version.as_deref()).await;
        let (revision, plan) = match found {
            Ok(found) => found,
            Err(PlanError::NotFound | PlanError::NoSuchVersion) => {
                return Ok(Some(missing(&format!("workflow `{namespace}/{name}`"))));
            }
            Err(error) => return Err(error.into()),
        };
        // Nobody is answered by a child that its parent does not wait for.
        let trigger = Trigger::Workflow(call.caller());
        let (input, subject) = (input.clone().into_inner(), call.subject);
        let new = NewExecution { id, workflow, revision, plan, input, subject, trigger };
        let start = Command::Start(Box::new(new));
        let begun = if *r#await {
            start_awaited(deps, call, id, &start).await?
        } else {
            let meta =
                meta(deps, call.tenant, call.execution.as_uuid(), &format!("call/{}", call.key));
            give(deps, call.fence, id, &start, meta).await?.is_some()
                || is_started(deps, call.tenant, id).await?
        };
        if !begun {
            let detail = "the other workflow refused its input: it is too large or nests too deep";
            return Ok(Some(Answer::Failure(Standard::Validation.error(detail).with_status(413))));
        }
    }
    if !r#await {
        return Ok(Some(Answer::Success(json!({"id": id}))));
    }
    Ok(match known.phase() {
        Phase::Unborn | Phase::Running => None,
        Phase::Completed(output) => Some(Answer::Success(output.clone())),
        Phase::Faulted(error) => Some(Answer::Failure(error.clone())),
        Phase::Cancelled => {
            Some(Answer::Failure(Standard::Runtime.error("the execution was cancelled")))
        }
    })
}

async fn is_started(deps: &Deps, tenant: Id<Tenant>, id: Id<Execution>) -> Result<bool, Error> {
    let (state, _) = load::<Execution>(&*deps.log, tenant, id).await?;
    Ok(*state.phase() != Phase::Unborn)
}

/// Starts a child that its parent waits for, if it still does: both are judged in one append. A child
/// that began a moment later would go on for nobody, because the policy that cancels children would
/// have found none. Whether it may begin at all.
async fn start_awaited(
    deps: &Deps,
    call: &Call<'_>,
    id: Id<Execution>,
    start: &Command,
) -> Result<bool, Error> {
    let story = call.execution.as_uuid();
    let child = StreamId::of(call.tenant, id);
    for _ in 0..ATTEMPTS {
        let meta = meta(deps, call.tenant, story, &format!("call/{}", call.key));
        let hand = deps.at_hand.execution(call.tenant, call.execution);
        let (is_awaited, version) = {
            let mut parent = hand.lock().await;
            parent.catch_up(&*deps.log).await?;
            (parent.state.wait(call.wait).is_some(), parent.version)
        };
        if !is_awaited {
            return Ok(true);
        }
        let Ok(events) = Execution::default().decide(start, meta.at) else { return Ok(false) };
        let part = |stream, at, events| StreamAppend {
            stream,
            expected: Expected::At(at),
            subject: call.subject,
            events,
        };
        let parent = part(StreamId::of(call.tenant, call.execution), version, vec![]);
        let events = drafts(&events, child, 0, meta.causation);
        let streams = vec![part(child, 0, events), parent];
        match deps.log.append(Append { meta, streams, reply: None, fence: Some(call.fence) }).await
        {
            // Somebody else was faster: it has begun.
            Err(eventstore::Error::Conflict { stream, .. }) if stream == child => return Ok(true),
            // Another branch of the parent went on meanwhile.
            Err(eventstore::Error::Conflict { .. }) => {}
            stored => return Ok(stored.map(|_| true)?),
        }
    }
    Err(Error::Command("its parent is too busy".to_owned()))
}

fn missing(what: &str) -> Answer {
    Answer::Failure(Standard::Configuration.error(format!("there is no {what}")).with_status(404))
}
