//! Executions on a real Postgres, for tests of those who work on them.

use std::time::Duration;

use domain::execution::{Command, Execution, NewExecution, Phase, Trigger};
use domain::workflow::{self, Plan, Workflow};
use domain::{Actor, Id, Tenant};
use eventstore::{Clock, ExecuteError, Metadata, PgEventStore, Plans, Request, execute, load};
use serde_json::json;
use sqlx::PgPool;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

pub(crate) fn tenant() -> Id<Tenant> {
    Id::from_uuid(Uuid::from_u128(1))
}

fn meta(clock: &Clock) -> Metadata {
    let id = clock.id();
    Metadata {
        tenant: tenant(),
        actor: Actor::System,
        correlation: id,
        causation: id,
        traceparent: None,
        at: clock.now(),
    }
}

/// Publishes a document, the only one, unless that was done before, and starts executions of it under
/// these ids.
pub(crate) async fn start(pool: &PgPool, document: &str, ids: &[Uuid]) {
    let log = PgEventStore::new(pool.clone());
    log.make_partitions().await.expect("room");
    let (clock, plans) = (Clock::of(pool).await.expect("the time"), Plans::default());
    let plan = Plan::compile(document).expect("a document");
    let workflow = Workflow::id(tenant(), "test", "short");
    let publish = workflow::Command::publish(true, &plan, document.to_owned());
    let published = execute(&log, workflow, &publish, &Request::new(meta(&clock))).await;
    assert!(matches!(published, Ok(_) | Err(ExecuteError::Refused(_))), "{published:?}");
    let (revision, plan) =
        plans.published(&log, tenant(), workflow, None).await.expect("a version");
    for id in ids {
        let id = Id::<Execution>::from_uuid(*id);
        let (plan, input) = (plan.clone(), json!({}));
        let (subject, trigger) = (None, Trigger::Api);
        let new = NewExecution { id, workflow, revision, plan, input, subject, trigger };
        let start = Command::Start(Box::new(new));
        execute(&log, id, &start, &Request::new(meta(&clock))).await.expect("begins");
    }
}

pub(crate) async fn phase(pool: &PgPool, id: Uuid) -> Phase {
    let log = PgEventStore::new(pool.clone());
    let (state, _) = load::<Execution>(&log, tenant(), Id::from_uuid(id)).await.expect("is read");
    state.phase().clone()
}

/// Waits until an execution has completed.
pub(crate) async fn is_over(pool: &PgPool, id: Uuid) {
    let over = async {
        while !matches!(phase(pool, id).await, Phase::Completed(_)) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_mins(1), over).await.expect("it goes on");
}
