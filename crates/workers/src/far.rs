//! What is due long after it was set.

use std::sync::Arc;

use chrono::TimeDelta;
use connectors::egress::{Egress, Policy};
use eventstore::{Clock, PgEventStore, Plans};
use projections::Projector;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::desk::{Desk, WORK};
use crate::leases::{LOOKED_EVERY, Leases};
use crate::stage::{is_over, start};
use crate::unused::Unused;

const HOURS: &str = "
document: {dsl: 1.0.3, namespace: test, name: short, version: 1.0.0}
do:
  - rest: {wait: {hours: 2}}
";

/// What is further away than a desk looks is found when its time is near.
#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn what_is_due_in_hours_is_done_then(options: PgPoolOptions, connect: PgConnectOptions) {
    let pool = options.connect_with(connect).await.expect("a database");
    let one = Uuid::from_u128(1);
    start(&pool, HOURS, &[one]).await;
    let log = Arc::new(PgEventStore::new(pool.clone()));
    let projector = Projector::new(pool.clone(), log.clone());
    projector.catch_up().await.expect("the table of open work");

    let clock = Clock::fixed(Clock::of(&pool).await.expect("the time").now());
    let egress = Arc::new(Egress::new(Policy::default()).expect("a way out"));
    let deps = Unused::new(pool.clone());
    let deps = Arc::new(deps.deps(log.clone(), Arc::new(Plans::default()), clock.clone(), egress));
    let leases = Arc::new(Leases::new(one, pool.clone(), log, (WORK, watch::channel(None).1)));
    leases.renew(&[]).await.expect("all slices");
    let renewed = leases.clone();
    let renewing = tokio::spawn(async move {
        loop {
            sleep(LOOKED_EVERY).await;
            renewed.look().await.expect("is renewed");
        }
    });
    let stop = CancellationToken::new();
    let desk = Desk::new(one, deps, leases.watch(), watch::channel(0).1);
    let desk = tokio::spawn(desk.run(stop.clone()));

    clock.set(clock.now() + TimeDelta::hours(2));
    is_over(&pool, one).await;
    renewing.abort();
    stop.cancel();
    desk.await.expect("no panic");
}
