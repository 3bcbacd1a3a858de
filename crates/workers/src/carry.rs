//! Doing one piece of work. What is asked for is read from the log, never from the table that
//! said there was something to do: that table may be a moment old.
//!
//! It has two halves: something is done, outside perhaps, and what came of it is noted in the log. If
//! only the second fails it alone is done again: what was answered is not asked for once more.

use std::panic::AssertUnwindSafe;

use domain::execution::{self, Command, Execution, WaitId, What};
use domain::invocation::{self, Invocation};
use domain::notification::{self, Notification};
use domain::subject::Subject;
use domain::workflow::Workflow;
use domain::{Actor, Aggregate, Id, Refusal, Tenant};
use eventstore::{
    ExecuteError, Executed, Fence, Held, Metadata, Position, Request, Version, execute,
};
use futures::FutureExt as _;
use uuid::Uuid;

use crate::agenda::{Item, Key};
use crate::leases::Lease;
use crate::turns::Turns;
use crate::{Deps, Error, agents, calls, notifier};

/// What came of a piece of work.
pub(crate) enum Carried {
    /// It is done; this work follows from it.
    Done(Vec<Item>),
    /// Somebody else has it now and will answer.
    Later,
}

/// Something that was done and is not in the log yet.
#[derive(Debug)]
pub(crate) enum Done {
    /// A call of an execution was answered, or the time of a timer has come.
    Woken(execution::Command),
    /// A model has answered, or failed.
    Answered(invocation::Command),
    /// A notification was sent, or not, when it had this version.
    Attempted(notification::Command, Version),
}

/// What there was to do.
pub(crate) enum Performed {
    /// It was done.
    Done(Done),
    /// Nothing any more.
    Nothing,
    /// Something that somebody else does now.
    Handed,
}

/// A piece of work that is not done yet.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: Error,
    /// What was done of it nevertheless.
    pub(crate) done: Option<Done>,
}

/// Does a piece of work under a lease, if it is still to be done; only what is left of it, if something
/// was done before. A panic is an error like others. What must be done with care is done in turns.
pub(crate) async fn carry(
    deps: &Deps,
    item: &Item,
    (lease, turns): (&Lease, Option<&Turns>),
    done: Option<Done>,
) -> Result<Carried, Failed> {
    let key = &item.key;
    let done = match done {
        Some(done) => done,
        None => match shielded(deps, key, perform(deps, key, lease)).await {
            Ok(Performed::Done(done)) => done,
            Ok(Performed::Nothing) => return Ok(Carried::Done(vec![])),
            Ok(Performed::Handed) => return Ok(Carried::Later),
            Err(error) => return Err(Failed { error, done: None }),
        },
    };
    let noting = shielded(deps, key, note(deps, key, lease, &done));
    let noted = match turns {
        Some(turns) => turns.take(item, noting).await,
        None => noting.await,
    };
    match noted {
        Ok(opened) => Ok(Carried::Done(opened)),
        Err(error) => Err(Failed { error, done: Some(done) }),
    }
}

async fn shielded<T>(
    deps: &Deps,
    key: &Key,
    doing: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let panic = match AssertUnwindSafe(doing).catch_unwind().await {
        Ok(done) => return done,
        Err(panic) => panic,
    };
    deps.at_hand.forget(key.tenant, Id::from_uuid(key.stream)).await;
    Err(Error::of_panic(&*panic))
}

async fn perform(deps: &Deps, key: &Key, lease: &Lease) -> Result<Performed, Error> {
    let (tenant, stream) = (key.tenant, key.stream);
    match key.category.as_str() {
        Execution::NAME => wake(deps, key, lease).await,
        Invocation::NAME => agents::carry_out(deps, tenant, Id::from_uuid(stream)).await,
        Notification::NAME => notifier::deliver(deps, tenant, Id::from_uuid(stream)).await,
        other => Err(Error::Category(other.to_owned())),
    }
}

/// Writes down what was done; what there is to do because of it.
async fn note(deps: &Deps, key: &Key, lease: &Lease, done: &Done) -> Result<Vec<Item>, Error> {
    let (fence, stream) = (lease.fence, key.stream);
    let meta = |work: &str| meta(deps, key.tenant, stream, work);
    match done {
        Done::Woken(command) => {
            let meta = meta(&format!("wait/{}", key.item));
            return woken(deps, key, command, &Request::new(meta).under(fence)).await;
        }
        Done::Answered(command) => {
            let id = Id::<Invocation>::from_uuid(stream);
            give(deps, fence, id, command, meta("answer")).await?;
        }
        Done::Attempted(command, version) => {
            let id = Id::<Notification>::from_uuid(stream);
            give(deps, fence, id, command, meta(&format!("attempt/{version}"))).await?;
        }
    }
    Ok(vec![])
}

/// Does what an execution waits for, if it still does.
async fn wake(deps: &Deps, key: &Key, lease: &Lease) -> Result<Performed, Error> {
    let (tenant, execution) = (key.tenant, Id::from_uuid(key.stream));
    let wait = u32::try_from(key.item).unwrap_or_default();
    let hand = deps.at_hand.execution(tenant, execution);
    let asked = asked_for(deps, &hand, (wait, lease.since)).await?;
    let Some((what, revision, subject)) = asked else {
        return Ok(Performed::Nothing);
    };
    let plan = deps.plans.pinned(&*deps.log, tenant, revision.0, revision.1).await?;
    let command = match &what {
        What::Timer { .. } => Command::Fire { plan, wait },
        What::Call { key, request } => {
            if !lease.holds() {
                return Ok(Performed::Nothing);
            }
            let fence = lease.fence;
            let call = calls::Call { tenant, execution, wait, key, request, subject, fence };
            match calls::make(deps, &call).await? {
                Some(answer) => Command::Answer { plan, wait, answer },
                None => return Ok(Performed::Handed),
            }
        }
    };
    Ok(Performed::Done(Done::Woken(command)))
}

/// Has an execution go on; what it waits for now that it did not before.
async fn woken(
    deps: &Deps,
    key: &Key,
    command: &Command,
    request: &Request<'_, Execution>,
) -> Result<Vec<Item>, Error> {
    let hand = deps.at_hand.execution(key.tenant, Id::from_uuid(key.stream));
    let mut now = hand.lock().await;
    // It was read before the call was made.
    now.trust();
    let known: Vec<u32> = now.state.waits().map(|wait| wait.id).collect();
    if !taken(now.execute(&*deps.log, command, request).await)? {
        return Ok(vec![]);
    }
    let opened = now.state.waits().filter(|wait| !known.contains(&wait.id));
    let item = |wait: &execution::Wait| Item {
        key: Key { item: i32::try_from(wait.id).unwrap_or(i32::MAX), ..key.clone() },
        partition: projections::partition(key.stream),
        due_at: match &wait.what {
            What::Timer { due_at, .. } => *due_at,
            What::Call { .. } => wait.since,
        },
        is_suspect: false,
    };
    Ok(opened.map(item).collect())
}

/// What a wait is for, the workflow and revision that the execution runs, and whose data it works
/// on; nothing if it is over.
///
/// Whatever other workers did about it they did before this one got its lease: if this process
/// remembers the execution from the beginning to that moment, the log need not be asked. Whoever
/// cancels it at this very moment may come a moment too late either way.
async fn asked_for(
    deps: &Deps,
    hand: &tokio::sync::Mutex<Held<Execution>>,
    (wait, since): (WaitId, Position),
) -> Result<Option<(What, (Id<Workflow>, u32), Option<Id<Subject>>)>, Error> {
    let mut held = hand.lock().await;
    let is_known = held.recall(&*deps.log, since).await?;
    if !is_known || held.state.wait(wait).is_none() {
        held.catch_up(&*deps.log).await?;
    }
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
