//! What the runs of all seeds share, because making it costs more than a run: the published
//! documents and their plans, and those parts of [`Deps`] that are never used here.

use std::sync::Arc;

use domain::scenario::NOON;
use domain::workflow::{self, Plan, Workflow};
use domain::{Actor, Aggregate, Id, Tenant};
use eventstore::{
    Append, Clock, Draft, EventStore, Expected, MemoryEventStore, Metadata, Plans, Request,
    StreamAppend, StreamId, execute,
};
use futures::FutureExt;
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

use super::documents::{BELOW, Document, TOP};
use super::outside::Door;
use super::store::Log;
use super::world::World;
use crate::Deps;
use crate::unused::Unused;

pub(super) fn tenant() -> Id<Tenant> {
    Id::from_uuid(Uuid::from_u128(1))
}

/// The id of a document's workflow.
pub(super) fn workflow(document: &Document) -> Id<Workflow> {
    Workflow::id(tenant(), "simulation", document.name)
}

/// Circumstances of what clients do.
pub(super) fn meta(clock: &Clock, causation: Uuid) -> Metadata {
    Metadata {
        tenant: tenant(),
        actor: Actor::System,
        correlation: causation,
        causation,
        traceparent: None,
        at: clock.now(),
    }
}

pub(super) struct House {
    plans: Arc<Plans>,
    published: Append,
    unused: Unused,
}

impl House {
    pub(super) fn build() -> Self {
        let pool = PgPoolOptions::new().max_lifetime(None).idle_timeout(None);
        let pool = pool.connect_lazy("postgres://nobody@127.0.0.1:1/nothing").expect("a URL");
        // The pool leads nowhere, so that whatever touched it would fail.
        let unused = Unused::new(pool);
        let (plans, log) = (Arc::new(Plans::default()), MemoryEventStore::default());
        let streams = TOP.iter().chain(BELOW).map(|document| publish(&log, &plans, document));
        let meta = meta(&Clock::fixed(NOON), Uuid::nil());
        let published = Append { meta, streams: streams.collect(), reply: None, fence: None };
        Self { plans, published, unused }
    }

    /// Puts the documents into the log of a run.
    pub(super) fn furnish(&self, log: &MemoryEventStore) {
        let done = log.append(self.published.clone()).now_or_never().expect("it never waits");
        done.expect("an empty log takes them");
    }

    /// What a worker has that just began.
    pub(super) fn deps(&self, world: &Arc<World>) -> Deps {
        let log = Arc::new(Log(world.clone()));
        let egress = Arc::new(Door(world.clone()));
        self.unused.deps(log, self.plans.clone(), Clock::fixed(NOON), egress)
    }
}

/// Publishes a document, and compiles it once for all runs: whether a plan is known already must
/// not make the runs differ.
fn publish(log: &MemoryEventStore, plans: &Plans, document: &Document) -> StreamAppend {
    let plan = Plan::compile(document.text);
    let plan = plan.unwrap_or_else(|faults| panic!("{}\n{faults:#?}", document.text));
    let command = workflow::Command::publish(true, &plan, document.text.to_owned());
    let id = workflow(document);
    let request = Request::new(meta(&Clock::fixed(NOON), Uuid::nil()));
    let done = execute(log, id, &command, &request).now_or_never().expect("it never waits");
    done.expect("it is new");
    let stream = StreamId::of(tenant(), id);
    let rows = log.load(stream, 0, 10).now_or_never().expect("it never waits").expect("rows");
    plans.published(log, tenant(), id, None).now_or_never().expect("no wait").expect("a plan");
    let draft = |row: &eventstore::Recorded| Draft {
        id: row.id,
        name: row.name.clone(),
        schema: row.schema,
        body: row.body.get().to_owned(),
        opened: None,
        fact: None,
    };
    let events = rows.iter().map(draft).collect();
    debug_assert_eq!(stream.category, Workflow::NAME);
    StreamAppend { stream, expected: Expected::None, subject: None, events }
}
