//! Invocations of agents: the model is called, its answer is checked, and an invalid answer is
//! sent back once for repair.

use std::time::Duration;

use connectors::models::{ChatAnswer, ChatError, ChatRequest, Message};
use domain::agent::{self, Agent};
use domain::invocation::{self, Command, FailureClass, Invocation, Report, accept, repair_message};
use domain::prompt::{self, Prompt};
use domain::{Id, Tenant};
use eventstore::load;
use serde_json::Value;

use crate::carry::{Done, Performed};
use crate::gates::Gate;
use crate::{Deps, Error};

/// How long one call of a model may take, unless the agent says otherwise.
const DEADLINE: Duration = Duration::from_mins(1);

/// Carries an invocation out, if it is still to be done.
pub(crate) async fn carry_out(
    deps: &Deps,
    tenant: Id<Tenant>,
    id: Id<Invocation>,
) -> Result<Performed, Error> {
    let (state, _) = load::<Invocation>(&*deps.log, tenant, id).await?;
    let Some(new) = state.pending() else { return Ok(Performed::Nothing) };
    let began = deps.clock.now();
    let mut report = Report::default();
    let outcome = if state.is_erased() {
        Err((FailureClass::InvalidRequest, "what was asked was erased".to_owned()))
    } else {
        answer(deps, tenant, (id, new), &mut report).await?
    };
    let took = (deps.clock.now() - began).num_milliseconds();
    report.duration_ms = u64::try_from(took).unwrap_or_default();
    Ok(Performed::Done(Done::Answered(match outcome {
        Ok(output) => Command::Complete { output, report },
        Err((class, detail)) => Command::Fail { class, detail, report },
    })))
}

type Outcome = Result<Value, (FailureClass, String)>;

async fn answer(
    deps: &Deps,
    tenant: Id<Tenant>,
    (id, new): (Id<Invocation>, &invocation::NewInvocation),
    report: &mut Report,
) -> Result<Outcome, Error> {
    let (agent, _) = load::<Agent>(&*deps.log, tenant, new.agent).await?;
    let Some(spec) = agent.revision(new.revision) else {
        return Ok(Err((FailureClass::Unavailable, "the agent's revision is gone".to_owned())));
    };
    let messages = match messages(deps, tenant, (spec, new)).await? {
        Ok(messages) => messages,
        Err(failure) => return Ok(Err(failure)),
    };
    let Some(provider) = deps.models.get(spec.provider.as_deref()) else {
        let name = spec.provider.as_deref().unwrap_or("default");
        let detail = format!("no provider `{name}` is configured");
        return Ok(Err((FailureClass::Unavailable, detail)));
    };
    let gate = Gate::Provider(provider.name.clone());
    let _pass = deps.gates.enter(gate).map_err(Error::Full)?;
    report.provider = provider.name.clone();
    let mut request = chat_request(spec, messages, id);
    let mut repaired = false;
    loop {
        let answered = match provider.model.chat(&request).await {
            Ok(answered) => answered,
            Err(ChatError { class, detail, .. }) => return Ok(Err((class, detail))),
        };
        note(report, &answered);
        match accept(spec.output_schema.as_ref(), &answered.text) {
            Ok(output) => return Ok(Ok(output)),
            Err(faults) if repaired => {
                let detail = format!("the answer is invalid: {}", faults.join("; "));
                return Ok(Err((FailureClass::OutputInvalid, detail)));
            }
            Err(faults) => {
                repaired = true;
                request.idempotency_key = format!("{id}.repair");
                request.messages.push(Message::assistant(answered.text));
                request.messages.push(Message::user(repair_message(&faults)));
            }
        }
    }
}

fn note(report: &mut Report, answered: &ChatAnswer) {
    report.calls += 1;
    report.model.clone_from(&answered.model);
    report.input_tokens += answered.input_tokens;
    report.output_tokens += answered.output_tokens;
}

fn chat_request(spec: &agent::Spec, messages: Vec<Message>, id: Id<Invocation>) -> ChatRequest {
    ChatRequest {
        model: spec.model.clone(),
        messages,
        schema: spec.output_schema.clone(),
        temperature: spec.temperature,
        max_output_tokens: spec.max_output_tokens,
        timeout: spec.timeout_ms.map_or(DEADLINE, |ms| Duration::from_millis(u64::from(ms))),
        idempotency_key: id.to_string(),
    }
}

/// The messages that the pinned prompt makes of the input.
async fn messages(
    deps: &Deps,
    tenant: Id<Tenant>,
    (spec, new): (&agent::Spec, &invocation::NewInvocation),
) -> Result<Result<Vec<Message>, (FailureClass, String)>, Error> {
    let Some((id, version)) = new.prompt else {
        if let Some(named) = &spec.prompt {
            let detail = format!("there is no prompt `{}`", named.name);
            return Ok(Err((FailureClass::InvalidRequest, detail)));
        }
        return Ok(Ok(vec![Message::user(prompt::plain(&new.input))]));
    };
    let (prompt, _) = load::<Prompt>(&*deps.log, tenant, id).await?;
    let Some(version) = prompt.version(Some(version)) else {
        return Ok(Err((FailureClass::InvalidRequest, "the prompt's version is gone".to_owned())));
    };
    Ok(match prompt::render(version.system.as_deref(), &version.user, &new.input) {
        Ok(rendered) => {
            let system = rendered.system.map(Message::system);
            Ok(system.into_iter().chain([Message::user(rendered.user)]).collect())
        }
        Err(error) => Err((FailureClass::InvalidRequest, error.to_string())),
    })
}
