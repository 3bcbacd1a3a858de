//! Doing one piece of work. What is asked for is read from the log, never from the table that
//! said there was something to do: that table may be a moment old.

use domain::execution::{Command, Execution, WaitId, What};
use domain::subject::Subject;
use domain::workflow::Workflow;
use domain::{Actor, Aggregate, Id, Refusal, Tenant};
use eventstore::{ExecuteError, Executed, Fence, Held, Metadata, Request, execute};
use uuid::Uuid;

use crate::agenda::{Item, Key};
use crate::leases::Lease;
use crate::{Deps, Error, agents, calls, notifier};

/// What came of a piece of work.
pub(crate) enum Carried {
    /// It is done; this work follows from it.
    Done(Vec<Item>),
    /// Somebody else has it now and will answer.
    Later,
}

/// Does a piece of work under a lease, if it is still to be done.
pub(crate) async fn carry(deps: &Deps, item: &Item, lease: &Lease) -> Result<Carried, Error> {
    let Key { tenant, category, stream, item: number } = &item.key;
    match category.as_str() {
        Execution::NAME => {
            let wait = u32::try_from(*number).unwrap_or_default();
            let work = Wake { tenant: *tenant, execution: Id::from_uuid(*stream), wait };
            wake(deps, work, lease).await
        }
        domain::invocation::Invocation::NAME => {
            agents::carry_out(deps, lease.fence, *tenant, Id::from_uuid(*stream)).await
        }
        domain::notification::Notification::NAME => {
            notifier::deliver(deps, lease.fence, *tenant, Id::from_uuid(*stream)).await
        }
        other => Err(Error::Category(other.to_owned())),
    }
}

/// A wait of an execution whose time has come.
struct Wake {
    tenant: Id<Tenant>,
    execution: Id<Execution>,
    wait: u32,
}

async fn wake(
    deps: &Deps,
    Wake { tenant, execution, wait }: Wake,
    lease: &Lease,
) -> Result<Carried, Error> {
    let hand = deps.at_hand.execution(tenant, execution);
    let Some((what, revision, subject)) = asked_for(deps, &hand, wait).await? else {
        return Ok(Carried::Done(vec![]));
    };
    let plan = deps.plans.pinned(&*deps.log, tenant, revision.0, revision.1).await?;
    let command = match &what {
        What::Timer { .. } => Command::Fire { plan, wait },
        What::Call { key, request } => {
            if !lease.holds() {
                return Ok(Carried::Done(vec![]));
            }
            let fence = lease.fence;
            let call = calls::Call { tenant, execution, wait, key, request, subject, fence };
            match calls::make(deps, &call).await? {
                Some(answer) => Command::Answer { plan, wait, answer },
                None => return Ok(Carried::Later),
            }
        }
    };
    let meta = meta(deps, tenant, execution.as_uuid(), &format!("wait/{wait}"));
    let mut now = hand.lock().await;
    // It was read before the call was made.
    now.trust();
    let known: Vec<u32> = now.state.waits().map(|wait| wait.id).collect();
    if !taken(now.execute(&*deps.log, &command, &Request::new(meta).under(lease.fence)).await)? {
        return Ok(Carried::Done(vec![]));
    }
    let opened = now.state.waits().filter(|wait| !known.contains(&wait.id));
    let item = |wait: &domain::execution::Wait| Item {
        key: Key {
            tenant,
            category: Execution::NAME.to_owned(),
            stream: execution.as_uuid(),
            item: i32::try_from(wait.id).unwrap_or(i32::MAX),
        },
        partition: lease.fence.slice,
        due_at: match &wait.what {
            What::Timer { due_at, .. } => *due_at,
            What::Call { .. } => wait.since,
        },
    };
    Ok(Carried::Done(opened.map(item).collect()))
}

/// What a wait is for, the workflow and revision that the execution runs, and whose data it works
/// on; nothing if it is over.
async fn asked_for(
    deps: &Deps,
    hand: &tokio::sync::Mutex<Held<Execution>>,
    wait: WaitId,
) -> Result<Option<(What, (Id<Workflow>, u32), Option<Id<Subject>>)>, Error> {
    let mut held = hand.lock().await;
    held.catch_up(&*deps.log).await?;
    let open = held.state.wait(wait).map(|wait| wait.what.clone());
    let subject = held.state.subject();
    Ok(open.zip(held.state.pinned()).map(|(open, pinned)| (open, pinned, subject)))
}

/// Circumstances of what a worker does on the platform's own account. The same work always gives
/// the same causation, so that doing it twice gives the same event ids.
pub(crate) fn meta(deps: &Deps, tenant: Id<Tenant>, story: Uuid, work: &str) -> Metadata {
    Metadata {
        tenant,
        actor: Actor::System,
        correlation: story,
        causation: Id::<()>::derived(story, work).as_uuid(),
        traceparent: None,
        at: deps.clock.now(),
    }
}

/// Gives a command to an aggregate on behalf of a slice; a no is `None`, because it means that the
/// moment has passed.
pub(crate) async fn give<A: Aggregate>(
    deps: &Deps,
    fence: Fence,
    id: Id<A>,
    command: &A::Command,
    meta: Metadata,
) -> Result<Option<Executed<A>>, Error> {
    let request = Request::new(meta).under(fence);
    taken(execute(&*deps.log, id, command, &request).await.map(Some))
}

/// What came of a command; of one that was refused nothing did.
pub(crate) fn taken<T: Default, R: Refusal>(
    outcome: Result<T, ExecuteError<R>>,
) -> Result<T, Error> {
    match outcome {
        Ok(executed) => Ok(executed),
        Err(ExecuteError::Refused(no)) => {
            tracing::debug!(%no, "refused");
            Ok(T::default())
        }
        Err(ExecuteError::Store(error)) => Err(error.into()),
        Err(error) => Err(Error::Command(error.to_string())),
    }
}
