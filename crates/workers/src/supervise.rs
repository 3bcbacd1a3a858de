//! Starts the loops and keeps them running.

use std::sync::Arc;
use std::time::Duration;

use eventstore::{PgEventStore, Position};
use projections::Projector;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::desk::{Desk, WORK};
use crate::leases::{LOOKED_EVERY, Leases};
use crate::presence::Presence;
use crate::react::{self, POLICIES};
use crate::{Deps, notary};

/// How often room is made for the events to come; there is room for sixty million ahead of them.
const ROOM_MADE_EVERY: Duration = Duration::from_mins(10);

/// How long to wait before a loop that ended on its own is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// How the workers run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Who this worker is, if it can be sure that no other process is it: leases that it left
    /// when it died need not be waited for then. A stranger each time if not given.
    pub worker: Option<Uuid>,
}

/// Runs every loop until `stop`, then lets go of the leases.
pub async fn run(deps: Arc<Deps>, options: Options, stop: CancellationToken) {
    let worker = options.worker.unwrap_or_else(|| deps.clock.id());
    let presence = Presence::new(worker, deps.pool.clone());
    let lease = |divided| {
        let (pool, log) = (deps.pool.clone(), deps.log.clone());
        Arc::new(Leases::new(worker, pool, log, (divided, presence.watch())))
    };
    let opened = watch::Sender::new(0);
    let held = Held { worker, work: lease(WORK), policies: lease(POLICIES), opened };
    let mut loops = JoinSet::new();
    // Until the leases are let go of.
    let present = tokio::spawn(presence.hold());
    for leases in held.all() {
        let (leases, stop) = (leases.clone(), stop.clone());
        loops.spawn(async move { renew(&leases, stop).await });
    }
    let (shared, token) = (deps.clone(), stop.clone());
    loops.spawn(async move { make_room(&shared, token).await });
    for (name, each) in LOOPS {
        let (deps, held, stop) = (deps.clone(), held.clone(), stop.clone());
        loops.spawn(async move {
            keep_running(name, &stop, || each(deps.clone(), &held, stop.clone())).await;
        });
    }
    while loops.join_next().await.is_some() {}
    for leases in held.all() {
        if let Err(error) = leases.release().await {
            tracing::warn!(%error, "leases could not be handed over; they end by themselves");
        }
    }
    present.abort();
}

/// The leases of a worker, and what its loops tell each other.
#[derive(Clone)]
struct Held {
    worker: Uuid,
    work: Arc<Leases>,
    policies: Arc<Leases>,
    /// How far the table of open work is, whenever the projector of this process has changed it.
    opened: watch::Sender<Position>,
}

impl Held {
    fn all(&self) -> [&Arc<Leases>; 2] {
        [&self.work, &self.policies]
    }
}

type Running = tokio::task::JoinHandle<()>;
type Loop = fn(Arc<Deps>, &Held, CancellationToken) -> Running;

const LOOPS: &[(&str, Loop)] = &[
    ("desk", |deps, held, stop| {
        let opened = held.opened.subscribe();
        tokio::spawn(Desk::new(held.worker, deps, held.work.watch(), opened).run(stop))
    }),
    ("policies", |deps, held, stop| tokio::spawn(react::run(deps, held.policies.watch(), stop))),
    ("notary", |deps, _, stop| tokio::spawn(notary::run(deps, stop))),
    ("projector", |deps, held, stop| {
        let projector = Projector::new(deps.pool.clone(), deps.log.clone());
        let projector = projector.telling(WORK.name, held.opened.clone());
        tokio::spawn(async move { projector.run(stop.cancelled_owned()).await })
    }),
];

/// Starts a loop again when it ends on its own, which only a panic makes it do.
async fn keep_running(name: &str, stop: &CancellationToken, start: impl Fn() -> Running) {
    while !stop.is_cancelled() {
        if let Err(error) = start().await {
            tracing::error!(name, %error, "a loop broke and is started again");
            tokio::time::sleep(RESTART_PAUSE).await;
        }
    }
}

async fn renew(leases: &Leases, stop: CancellationToken) {
    let mut pause = Duration::ZERO;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        if let Err(error) = leases.look().await {
            tracing::warn!(%error, "leases could not be renewed");
        }
        pause = LOOKED_EVERY;
    }
}

/// Makes partitions of the log ahead of its end; the first are made before anything is served.
async fn make_room(deps: &Deps, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(ROOM_MADE_EVERY) => {}
        }
        if let Err(error) = PgEventStore::new(deps.pool.clone()).make_partitions().await {
            tracing::error!(%error, "no room could be made in the log; it is tried again");
        }
    }
}
