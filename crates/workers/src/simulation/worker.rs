//! A worker of the simulation: what it believes, and what it is doing. It does one thing after the
//! other, and only when the scheduler gives it a turn.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use domain::Id;
use domain::execution::{self, Execution, NewExecution, Trigger};
use eventstore::{
    CommandKey, ExecuteError, Fence, Held, Keyed, Position, Recorded, Reply, Request, Weights,
    execute,
};
use serde_json::json;
use tokio::sync::watch;
use uuid::Uuid;

use super::documents::Document;
use super::house::{House, meta, tenant, workflow};
use super::world::World;
use crate::agenda::{Agenda, Item, Key};
use crate::carry::{Carried, Done, Failed, carry};
use crate::desk::WORK;
use crate::leases::{Divided, Lease, Owned, Slices};
use crate::react::{POLICIES, react};
use crate::{Deps, Error};

/// What came of a job.
pub(super) enum Outcome {
    /// A piece of work: what follows from it.
    Carried(Item, Result<Carried, Failed>),
    /// The policies, of an event of a slice.
    Reacted(Fence, Result<(), Error>),
    /// The log was told of an epoch.
    Fenced(Fence, Result<Position, eventstore::Error>),
    /// A client was answered, or not.
    Asked(usize, Result<(), String>),
}

type Doing = Pin<Box<dyn Future<Output = Outcome> + Send>>;

pub(super) struct Job {
    /// The wait that it is about, if it is about one.
    pub(super) wait: Option<(Uuid, u32)>,
    /// The slice that it is about, if it is a policy's.
    pub(super) slice: Option<i16>,
    /// Whether it is about a new lease.
    is_lease: bool,
    doing: Doing,
}

pub(super) struct Worker {
    pub(super) number: usize,
    /// How often it was born.
    pub(super) life: u32,
    pub(super) deps: Arc<Deps>,
    owned: BTreeMap<&'static str, watch::Sender<Owned>>,
    pub(super) agenda: Agenda,
    pub(super) jobs: Vec<Job>,
    /// What was done and could not be noted.
    pub(super) unnoted: BTreeMap<Key, Done>,
    /// How far the clock of its machine is wrong, in seconds. It should not matter.
    pub(super) wrong_by: i64,
}

impl Worker {
    pub(super) fn new(number: usize, house: &House, world: &Arc<World>) -> Self {
        let owned = [WORK, POLICIES].map(|divided| {
            let until = Instant::now() + Duration::from_secs(1_000_000);
            (
                divided.name,
                watch::Sender::new(Owned {
                    slices: Slices::new(),
                    since: 0,
                    until,
                    is_careful: false,
                }),
            )
        });
        // What it remembers begins here.
        world.state().read_on((number, 0));
        let deps = Arc::new(house.deps(world));
        let (agenda, jobs, unnoted) = (Agenda::new(Weights::default()), vec![], BTreeMap::new());
        Self { number, life: 0, deps, owned: owned.into(), agenda, jobs, unnoted, wrong_by: 0 }
    }

    /// Dies at once, and another one begins in its place that knows nothing.
    pub(super) fn crash(&mut self, house: &House, world: &Arc<World>) {
        *self = Self { life: self.life + 1, ..Self::new(self.number, house, world) };
        world.state().read_on((self.number, self.life));
    }

    /// Believes from now on to have a slice, under an epoch that began at a position.
    pub(super) fn believe(&self, Fence { lease, slice, epoch }: Fence, since: Position) {
        let Some(owned) = self.owned.get(lease) else { return };
        owned.send_modify(|owned| {
            owned.slices.insert(slice, epoch);
            owned.since = owned.since.max(since);
        });
    }

    /// Hears that it has a slice no more.
    pub(super) fn lose(&self, divided: Divided, slice: i16) {
        let Some(owned) = self.owned.get(divided.name) else { return };
        owned.send_modify(|owned| {
            owned.slices.remove(&slice);
        });
    }

    /// The lease on a slice, if it believes to have it.
    pub(super) fn lease(&self, divided: Divided, slice: i16) -> Option<Lease> {
        Lease::of(divided, slice, &self.owned.get(divided.name)?.subscribe())
    }

    /// Gives a job its turn; what came of it, if it is done.
    pub(super) fn turn(&mut self, job: usize, world: &World) -> Option<Outcome> {
        {
            let mut state = world.state();
            (state.turn, state.wait) = ((self.number, self.life), self.jobs[job].wait);
        }
        let mut context = Context::from_waker(Waker::noop());
        match self.jobs[job].doing.as_mut().poll(&mut context) {
            Poll::Ready(outcome) => {
                drop(self.jobs.swap_remove(job));
                Some(outcome)
            }
            Poll::Pending => None,
        }
    }

    fn begin(
        &mut self,
        (wait, slice): (Option<(Uuid, u32)>, Option<i16>),
        doing: impl Future<Output = Outcome> + Send + 'static,
    ) {
        self.jobs.push(Job { wait, slice, is_lease: false, doing: Box::pin(doing) });
    }

    /// Does a piece of work, if it believes that it is its own; whether it does.
    pub(super) fn carry(&mut self, item: Item) -> bool {
        let Some(lease) = self.lease(WORK, item.partition) else { return false };
        let deps = self.deps.clone();
        let wait = (item.key.stream, u32::try_from(item.key.item).expect("small"));
        let done = self.unnoted.remove(&item.key);
        self.begin((Some(wait), None), async move {
            let carried = carry(&deps, &item, (&lease, None), done).await;
            Outcome::Carried(item, carried)
        });
        true
    }

    /// Does what the policies ask for because of an event.
    pub(super) fn react(&mut self, event: Recorded, fence: Fence) {
        let deps = self.deps.clone();
        self.begin((None, Some(fence.slice)), async move {
            let reacted = react(&deps, &event, fence).await;
            Outcome::Reacted(fence, reacted)
        });
    }

    /// Tells the log of a lease that it was just given.
    pub(super) fn fence(&mut self, fence: Fence) {
        let log = self.deps.log.clone();
        let doing = async move {
            let since = match log.fence(&[fence]).await {
                Ok(()) => log.head().await,
                Err(error) => Err(error),
            };
            Outcome::Fenced(fence, since)
        };
        self.jobs.push(Job { wait: None, slice: None, is_lease: true, doing: Box::pin(doing) });
    }

    /// Whether it is about to tell the log of a lease.
    pub(super) fn is_taking(&self) -> bool {
        self.jobs.iter().any(|job| job.is_lease)
    }

    /// Starts an execution for a client, as the API does: each time under another id, and under the
    /// client's own key.
    pub(super) fn start(
        &mut self,
        place: usize,
        id: Uuid,
        (document, n): (&'static Document, u64),
    ) {
        let deps = self.deps.clone();
        self.begin((None, None), async move {
            let done = start(&deps, Id::from_uuid(id), document, n).await;
            Outcome::Asked(place, done)
        });
    }

    /// Cancels an execution for a client.
    pub(super) fn cancel(&mut self, place: usize, id: Uuid) {
        let deps = self.deps.clone();
        self.begin((None, None), async move {
            let (by, reason) = (domain::Actor::System, "for fun".to_owned());
            let command = execution::Command::Cancel { by, reason };
            let causation = Id::<()>::derived(id, "cancel").as_uuid();
            let request = Request::new(meta(&deps.clock, causation));
            let id = Id::<Execution>::from_uuid(id);
            let done = execute(&*deps.log, id, &command, &request).await;
            let done = match done {
                Ok(_) | Err(ExecuteError::Refused(_)) => Ok(()),
                Err(error) => Err(error.to_string()),
            };
            Outcome::Asked(place, done)
        });
    }
}

async fn start(deps: &Deps, id: Id<Execution>, document: &Document, n: u64) -> Result<(), String> {
    let workflow = workflow(document);
    let published = deps.plans.published(&*deps.log, tenant(), workflow, None).await;
    let (revision, plan) = published.map_err(|error| error.to_string())?;
    let new = NewExecution {
        id,
        workflow,
        revision,
        plan,
        input: json!({"n": n}),
        subject: None,
        trigger: Trigger::Api,
    };
    let reply =
        |_: &Execution| Reply { status: 202, location: None, body: id.as_uuid().to_string() };
    let key =
        CommandKey { principal: Uuid::nil(), key: format!("start {n}"), fingerprint: [0; 32] };
    let request = Request {
        reply: Some(Keyed { key, reply: &reply }),
        ..Request::new(meta(&deps.clock, id.as_uuid()))
    };
    let command = execution::Command::Start(Box::new(new));
    let mut held = Held::unborn(tenant(), id);
    match held.execute(&*deps.log, &command, &request).await {
        Ok(_) | Err(ExecuteError::Replayed(_)) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
