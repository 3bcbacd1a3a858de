//! Several workers on one database: they share the work, come, go, die and are frozen, and whatever
//! happens to them, each event is written by whoever the slice belongs to.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sqlx::PgPool;
use testkit::process::Process;
use uuid::Uuid;

use crate::support::{Stub, World, eventually, ok};

/// How many executions there are; enough for each worker to have some.
const EXECUTIONS: usize = 40;

/// One call, whose answer is the output.
pub(crate) const ONE_CALL: &str = "
document: {dsl: 1.0.3, namespace: tests, name: one-call, version: 1.0.0}
do:
  - ask:
      call: http
      with: {method: post, endpoint: '${ .url }', body: {number: '${ .number }'}}
      output: {as: .got}
";

/// An instance and one more worker, between whom the work is divided evenly.
struct Fleet {
    world: World,
    pool: PgPool,
    other: Process,
    /// The slices of open work that the other worker has.
    slices: BTreeSet<i16>,
}

impl Fleet {
    async fn start() -> Self {
        let world = World::start().await;
        let pool = world.pool().await;
        let other = Process::work(world.server.setup(), &world.server.dev().database_url);
        let other = other.expect("a worker");
        let mine = instance(&world);
        let slices = eventually("an even share", async || {
            let owned = owned(&pool).await;
            let theirs = owned.iter().filter(|(_, (owner, _))| *owner != mine);
            let theirs: BTreeSet<i16> = theirs.map(|(slice, _)| *slice).collect();
            (owned.len() == 256 && theirs.len() == 128).then_some(theirs)
        })
        .await;
        Self { world, pool, other, slices }
    }

    /// Starts executions that each make a call, which is held; waits until all were made.
    async fn call(&self, stub: &Stub) {
        stub.hold();
        let api = self.world.api();
        let workflow = api.publish(ONE_CALL).await;
        for number in 0..EXECUTIONS {
            let body = json!({"input": {"url": stub.url(), "number": number}});
            ok(&api.post(&format!("/workflows/{workflow}/execute"), &body).await, 202);
        }
        eventually("all calls", async || (stub.calls().len() >= EXECUTIONS).then_some(())).await;
    }

    /// How many of the executions are in slices of the other worker.
    async fn of_the_other(&self) -> usize {
        let streams: Vec<Uuid> =
            sqlx::query_scalar("SELECT DISTINCT stream FROM es.event WHERE category = 'execution'")
                .fetch_all(&self.pool)
                .await
                .expect("executions");
        let theirs = |stream: &&Uuid| self.slices.contains(&projections::partition(**stream));
        streams.iter().filter(theirs).count()
    }

    /// Waits until the instance has all slices, and tells when it got the last one.
    async fn taken_over(&self) -> DateTime<Utc> {
        let mine = instance(&self.world);
        eventually("all slices in one hand", async || {
            let owned = owned(&self.pool).await;
            (owned.len() == 256 && owned.values().all(|(owner, _)| *owner == mine)).then_some(())
        })
        .await;
        sqlx::query_scalar("SELECT max(at) FROM es.fenced WHERE name = 'work'")
            .fetch_one(&self.pool)
            .await
            .expect("epochs")
    }

    /// When the first of the other worker's leases ends, unless it is renewed.
    async fn lease_end(&self) -> DateTime<Utc> {
        let owned = owned(&self.pool).await;
        let theirs = owned.iter().filter(|(slice, _)| self.slices.contains(slice));
        theirs.map(|(_, (_, until))| *until).min().expect("it has slices")
    }

    /// Lets everything end, and looks at it from all sides.
    async fn everything_was_done_once(&self, stub: &Stub) {
        stub.release();
        let executions = eventually("the end of all executions", async || {
            let executions = self.world.server.client().all("/executions").await.ok()?;
            let done = executions.iter().filter(|one| one["ended_at"].is_string()).count();
            (done == EXECUTIONS).then_some(executions)
        })
        .await;
        let failed: Vec<&Value> =
            executions.iter().filter(|one| one["status"] != "completed").collect();
        assert_eq!(failed, Vec::<&Value>::new());
        let mut keys = BTreeMap::<i64, BTreeSet<String>>::new();
        for call in stub.calls() {
            let number = call.body["number"].as_i64().expect("a number");
            keys.entry(number).or_default().insert(call.key().to_owned());
        }
        assert_eq!(keys.len(), EXECUTIONS);
        assert!(keys.values().all(|keys| keys.len() == 1), "each call keeps its key: {keys:?}");
        assert_eq!(written_late(&self.pool).await, 0);
        let verified = self.world.run(&["replay", "--verify"]).await;
        assert_eq!(verified.code, 0, "{verified:?}");
    }
}

/// The id under which the instance works.
fn instance(world: &World) -> Uuid {
    let token = domain::api_key::Token::parse(&world.server.dev().token).expect("a token");
    token.tenant.as_uuid()
}

/// Who has the slices of open work, and until when.
async fn owned(pool: &PgPool) -> BTreeMap<i16, (Uuid, DateTime<Utc>)> {
    let rows: Vec<(i16, Uuid, DateTime<Utc>)> = sqlx::query_as(
        "SELECT slice, owner, expires_at FROM ops.slice
         WHERE name = 'work' AND owner IS NOT NULL AND expires_at > now()",
    )
    .fetch_all(pool)
    .await
    .expect("slices");
    rows.into_iter().map(|(slice, owner, until)| (slice, (owner, until))).collect()
}

/// How many events were written under an epoch when its slice had a later one.
async fn written_late(pool: &PgPool) -> i64 {
    sqlx::query_scalar(
        "SELECT count(*) FROM es.event e
         JOIN es.fenced mine ON mine.log_id = e.log_id AND mine.epoch = e.epoch
         JOIN es.fenced later ON later.log_id = e.log_id AND later.name = mine.name
             AND later.slice = mine.slice AND later.epoch > mine.epoch
         WHERE later.position < e.position",
    )
    .fetch_one(pool)
    .await
    .expect("events")
}

async fn refused(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT sum(refused)::bigint FROM ops.slice WHERE name = 'work'")
        .fetch_one(pool)
        .await
        .expect("slices")
}

/// It wakes with answers to what it asked for, and versions that nobody else has written since: only
/// the epoch tells that it is too late.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_frozen_past_its_lease_writes_nothing_any_more() {
    let (fleet, stub) = (Fleet::start().await, Stub::start().await);
    fleet.call(&stub).await;
    let theirs = fleet.of_the_other().await;
    assert!(theirs > 0, "the other worker has nothing to do");
    fleet.other.freeze();
    fleet.taken_over().await;
    eventually("their calls again", async || {
        (stub.calls().len() >= EXECUTIONS + theirs).then_some(())
    })
    .await;
    // Only the first calls are answered: those of the frozen one among them.
    stub.release_until(EXECUTIONS + 1);
    fleet.other.thaw();
    eventually("late answers, refused", async || {
        (refused(&fleet.pool).await >= i64::try_from(theirs).ok()?).then_some(())
    })
    .await;
    fleet.everything_was_done_once(&stub).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_had_that_died_is_taken_over_before_its_leases_end() {
    let (mut fleet, stub) = (Fleet::start().await, Stub::start().await);
    fleet.call(&stub).await;
    let theirs = fleet.of_the_other().await;
    let ends = fleet.lease_end().await;
    fleet.other.kill().expect("killed");
    assert!(fleet.taken_over().await < ends, "they waited for the leases to end");
    eventually("their calls again", async || {
        (stub.calls().len() >= EXECUTIONS + theirs).then_some(())
    })
    .await;
    fleet.everything_was_done_once(&stub).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_leaves_hands_over_at_once() {
    let (mut fleet, stub) = (Fleet::start().await, Stub::start().await);
    fleet.call(&stub).await;
    let ends = fleet.lease_end().await;
    fleet.other.stop().await.expect("it stops");
    assert!(fleet.taken_over().await < ends, "they waited for the leases to end");
    fleet.everything_was_done_once(&stub).await;
}
