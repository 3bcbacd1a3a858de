//! What an invocation is pinned to: the newest revisions of the moment it is asked for.

use domain::agent::Agent;
use domain::execution::Caller;
use domain::invocation::NewInvocation;
use domain::prompt::Prompt;
use domain::subject::Subject;
use domain::{Id, Tenant};
use serde_json::Value;

use crate::{Error, EventStore, load};

/// An invocation of an agent, with the newest revision of the agent and the version of its prompt
/// that holds now; nothing if there is no such agent.
pub async fn pin_invocation(
    store: &dyn EventStore,
    tenant: Id<Tenant>,
    agent: Id<Agent>,
    (input, subject): (Value, Option<Id<Subject>>),
    caller: Option<Caller>,
) -> Result<Option<NewInvocation>, Error> {
    let (state, _) = load::<Agent>(store, tenant, agent).await?;
    let Some((revision, spec)) = state.current() else { return Ok(None) };
    let prompt = match &spec.prompt {
        Some(named) => {
            let id = Prompt::id(tenant, &named.name);
            let (prompt, _) = load::<Prompt>(store, tenant, id).await?;
            prompt.version(named.version).map(|version| (id, version.version))
        }
        None => None,
    };
    Ok(Some(NewInvocation { agent, revision, prompt, input, subject, caller }))
}
