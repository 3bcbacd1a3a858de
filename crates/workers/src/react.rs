//! Policies: whenever this happened, do that. Reads the log in order and carries out what the
//! policies ask for, at least once; every command it gives is harmless when given again.

use std::sync::Arc;
use std::time::Duration;

use domain::Actor;
use domain::execution::{Command, NewExecution};
use domain::policy::{Do, POLICIES, Seen};
use domain::workflow::Workflow;
use eventstore::{Metadata, PlanError, Recorded, Request, fact};
use tokio_util::sync::CancellationToken;

use crate::carry::{give, taken};
use crate::{Deps, Error};

/// How many events are read at once.
const BATCH: usize = 200;

/// How long to wait after a failure, and at most between two looks at the log.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads on until told to stop.
pub(crate) async fn run(deps: Arc<Deps>, stop: CancellationToken) {
    let mut head = deps.log.watch();
    loop {
        let outcome = tokio::select! {
            () = stop.cancelled() => return,
            outcome = step(&deps) => outcome,
        };
        let idle = match outcome {
            Ok(read) => read < BATCH,
            Err(error) => {
                tracing::warn!(%error, "the policies stand still");
                true
            }
        };
        if idle {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = head.changed() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }
}

/// Takes one batch; how many events that were. The checkpoint row is locked meanwhile, so any
/// number of workers may run this.
async fn step(deps: &Deps) -> Result<usize, Error> {
    let mut tx = deps.pool.begin().await?;
    let after: Option<i64> = sqlx::query_scalar(
        "SELECT position FROM ops.subscription WHERE name = 'policies' FOR UPDATE SKIP LOCKED",
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(after) = after else { return Ok(0) };
    let batch = deps.log.read(after, BATCH).await?;
    let (mut reached, mut failure) = (after, None);
    for recorded in &batch {
        match react(deps, recorded).await {
            // It will be as large tomorrow; nobody else shall wait for it.
            Err(error @ Error::Log(eventstore::Error::TooLarge { .. })) => {
                let position = recorded.position;
                tracing::error!(position, %error, "what follows from this event is given up");
            }
            Err(error) => {
                failure = Some(error);
                break;
            }
            Ok(()) => {}
        }
        reached = recorded.position;
    }
    let reason = failure.as_ref().map(|error| format!("event {}: {error}", reached + 1));
    sqlx::query("UPDATE ops.subscription SET position = $1, error = $2 WHERE name = 'policies'")
        .bind(reached)
        .bind(reason)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    failure.map_or(Ok(batch.len()), Err)
}

async fn react(deps: &Deps, recorded: &Recorded) -> Result<(), Error> {
    let fact = fact(recorded)?;
    let seen = Seen {
        tenant: recorded.meta.tenant,
        stream: recorded.stream,
        event_id: recorded.id,
        fact: &fact,
    };
    for (_, policy) in POLICIES {
        for todo in policy(&seen) {
            carry_out(deps, recorded, todo).await?;
        }
    }
    Ok(())
}

async fn carry_out(deps: &Deps, because: &Recorded, todo: Do) -> Result<(), Error> {
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
        Do::StartExecution { id, workflow, input, trigger } => {
            let workflow = Workflow::id(tenant, &workflow.namespace, &workflow.name);
            match deps.plans.published(&*deps.log, tenant, workflow, None).await {
                Ok((revision, plan)) => {
                    let new = NewExecution { id, workflow, revision, plan, input, trigger };
                    give(deps, id, &Command::Start(Box::new(new)), meta).await.map(drop)
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
            let plan = deps.plans.pinned(&*deps.log, tenant, workflow, revision).await?;
            let command = Command::Answer { plan, wait, answer };
            taken(held.execute(&*deps.log, &command, &Request::new(meta)).await).map(drop)
        }
        Do::CancelExecution { id, reason } => {
            give(deps, id, &Command::Cancel { by: Actor::System, reason }, meta).await.map(drop)
        }
    }
}
