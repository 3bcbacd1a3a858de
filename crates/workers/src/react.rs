//! Policies: whenever this happened, do that. They are a subscription to the whole log, shared among
//! processes: what they ask for is carried out at least once and in the order of each stream, and
//! every command they give is harmless when given again.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::execution::{Command, Execution, NewExecution, What};
use domain::policy::{self, Do, Seen};
use domain::subject::{self, Subject};
use domain::workflow::Workflow;
use domain::{Actor, Fact, Id};
use eventstore::{Fence, Metadata, PlanError, Recorded, Request, fact};
use projections::executions;
use sqlx::PgConnection;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::carry::{give, taken};
use crate::consumer::{Consumer, Handler, SLICES};
use crate::leases::{Divided, Owned};
use crate::{Deps, Error};

/// How long to wait for the read model that tells what works on somebody's data.
const PATIENCE: Duration = Duration::from_secs(10);

/// The subscription of the policies. It is to the whole log, although few categories matter to them:
/// what a category of a newer release asks for, only that release knows.
pub(crate) const POLICIES: Divided = Divided { name: "policies", slices: SLICES };

/// Carries out what the policies ask for, until told to stop.
pub(crate) async fn run(deps: Arc<Deps>, owned: watch::Receiver<Owned>, stop: CancellationToken) {
    let (pool, log) = (deps.pool.clone(), deps.log.clone());
    Consumer::new(POLICIES.name, pool, log, Policies(deps)).run(owned, stop).await;
}

struct Policies(Arc<Deps>);

#[async_trait]
impl Handler for Policies {
    /// What cannot be read concerns them as well: whoever handles it says why.
    fn concerns(&self, event: &Recorded) -> bool {
        fact(event).map_or(true, |fact| !wishes(event, &fact).is_empty())
    }

    /// What policies do goes into the log, and not into the transaction.
    async fn handle(
        &self,
        event: &Recorded,
        fence: Fence,
        _: &mut PgConnection,
    ) -> Result<(), Error> {
        react(&self.0, event, fence).await
    }
}

pub(crate) async fn react(deps: &Deps, recorded: &Recorded, fence: Fence) -> Result<(), Error> {
    for wish in wishes(recorded, &*fact(recorded)?) {
        carry_out(deps, (recorded, fence), wish).await?;
    }
    Ok(())
}

/// What the policies ask for because of an event.
fn wishes(recorded: &Recorded, fact: &Fact) -> Vec<Do> {
    let (tenant, stream, event_id) = (recorded.meta.tenant, recorded.stream, recorded.id);
    let seen = Seen { tenant, stream, event_id, fact };
    policy::POLICIES.iter().flat_map(|(_, policy)| policy(&seen)).collect()
}

async fn carry_out(
    deps: &Deps,
    (because, fence): (&Recorded, Fence),
    todo: Do,
) -> Result<(), Error> {
    let meta = Metadata {
        tenant: because.meta.tenant,
        actor: Actor::System,
        correlation: because.meta.correlation,
        causation: because.id,
        traceparent: because.meta.traceparent.clone(),
        at: deps.clock.now(),
    };
    let tenant = meta.tenant;
    match todo {
        Do::StartExecution { id, workflow, input, subject, trigger } => {
            let workflow = Workflow::id(tenant, &workflow.namespace, &workflow.name);
            match deps.plans.published(&*deps.log, tenant, workflow, None).await {
                Ok((revision, plan)) => {
                    let new =
                        NewExecution { id, workflow, revision, plan, input, subject, trigger };
                    give(deps, fence, id, &Command::Start(Box::new(new)), meta).await.map(drop)
                }
                // The workflow went away after the sender was told that all is well: there is
                // nobody left to tell, and the delivery stays in the log.
                Err(error @ (PlanError::NotFound | PlanError::NoSuchVersion)) => {
                    tracing::warn!(%workflow, %error, "nothing was started");
                    Ok(())
                }
                Err(error) => Err(error.into()),
            }
        }
        Do::Answer { execution, wait, answer } => {
            let hand = deps.at_hand.execution(tenant, execution);
            let mut held = hand.lock().await;
            held.catch_up(&*deps.log).await?;
            let Some((workflow, revision)) = held.state.pinned() else { return Ok(()) };
            // Whoever starts it answers, maybe only after it has ended.
            if held.state.wait(wait).is_some_and(|wait| is_start(&wait.what)) {
                return Ok(());
            }
            let plan = deps.plans.pinned(&*deps.log, tenant, workflow, revision).await?;
            let command = Command::Answer { plan, wait, answer };
            taken(held.execute(&*deps.log, &command, &Request::new(meta).under(fence)).await)
                .map(drop)
        }
        Do::EraseSubject { id } => erase(deps, (because, fence), id, meta).await,
        Do::CancelExecution { id, reason } => {
            give(deps, fence, id, &Command::Cancel { by: Actor::System, reason }, meta)
                .await
                .map(drop)
        }
    }
}

/// Whether a task waits for the start of another execution only, and not for its end.
fn is_start(what: &What) -> bool {
    use domain::execution::Request::Workflow;
    matches!(what, What::Call { request: Workflow { r#await: false, .. }, .. })
}

/// Erases a subject. The key goes first: nothing can be read from then on, and read models forget
/// when the event tells them. What still works on their data holds them in memory, and is stopped.
async fn erase(
    deps: &Deps,
    (because, fence): (&Recorded, Fence),
    id: Id<Subject>,
    meta: Metadata,
) -> Result<(), Error> {
    let tenant = meta.tenant;
    deps.keys.destroy(tenant, id).await?;
    give(deps, fence, id, &subject::Command::RecordErased, meta.clone()).await?;
    // Executions that were begun before this are in the read model then.
    if !projections::wait_for(&deps.pool, &["executions"], because.position, PATIENCE).await? {
        return Err(Error::Behind);
    }
    let reason = "its data were erased";
    for execution in executions::running_of(&deps.pool, tenant, id).await? {
        let cancel = Command::Cancel { by: Actor::System, reason: reason.to_owned() };
        give::<Execution>(deps, fence, Id::from_uuid(execution), &cancel, meta.clone()).await?;
    }
    Ok(())
}
