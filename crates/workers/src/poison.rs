//! Executions that go wrong whoever works on them, and workers that are real processes: this very
//! test, run again, on a log in which one execution is bad.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use connectors::egress::{Egress, Policy};
use domain::execution::Phase;
use domain::{Id, Tenant};
use eventstore::{
    Answered, Append, Appended, Clock, Error, EventStore, Fence, Filter, PgEventStore, Plans,
    Position, Recorded, Snapshot, StreamId, Stretch, Version,
};
use projections::{Reader, executions};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::process::{Child, Command as Process};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::quarantine::{self, Quarantined};
use crate::stage::{is_over, phase, start, tenant};
use crate::unused::Unused;
use crate::{Options, run};

/// The execution that is bad.
const POISON: Uuid = Uuid::from_u128(0xbad);
/// How many others there are.
const OTHERS: u128 = 20;

const DOCUMENT: &str = "
document: {dsl: 1.0.3, namespace: test, name: short, version: 1.0.0}
do:
  - rest: {wait: {milliseconds: 1}}
  - over: {set: {over: true}}
";

/// What is bad about the log.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Whoever takes a turn of the bad execution panics.
    Panics,
    /// Whoever does so kills its process.
    Aborts,
    /// This release does not know all its events.
    IsOld,
    /// Nothing.
    IsWell,
}

struct Log(PgEventStore, Way);

#[async_trait]
impl EventStore for Log {
    async fn append(&self, append: Append) -> Result<Appended, Error> {
        match self.1 {
            _ if append.streams.iter().all(|part| part.stream.id != POISON) => {}
            Way::Panics => panic!("on purpose"),
            Way::Aborts => std::process::abort(),
            Way::IsOld | Way::IsWell => {}
        }
        self.0.append(append).await
    }

    async fn load(
        &self,
        stream: StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Recorded>, Error> {
        let mut rows = self.0.load(stream, after, limit).await?;
        if matches!(self.1, Way::IsOld) && stream.id == POISON {
            for row in &mut rows {
                row.schema = 1_000;
            }
        }
        Ok(rows)
    }

    async fn fence(&self, fences: &[Fence]) -> Result<(), Error> {
        self.0.fence(fences).await
    }

    async fn answered(
        &self,
        tenant: Id<Tenant>,
        principal: Uuid,
        key: &str,
    ) -> Result<Option<Answered>, Error> {
        self.0.answered(tenant, principal, key).await
    }

    async fn version(&self, stream: StreamId) -> Result<Version, Error> {
        self.0.version(stream).await
    }

    async fn snapshot(&self, stream: StreamId, fold: &str) -> Result<Option<Snapshot>, Error> {
        self.0.snapshot(stream, fold).await
    }

    async fn keep(&self, stream: StreamId, snapshot: Snapshot) -> Result<(), Error> {
        self.0.keep(stream, snapshot).await
    }

    async fn read(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, Error> {
        self.0.read(after, limit).await
    }

    async fn streams(&self, after: Position, upto: Position) -> Result<Vec<Uuid>, Error> {
        self.0.streams(after, upto).await
    }

    async fn select(
        &self,
        filter: &Filter,
        after: Position,
        limit: usize,
    ) -> Result<Stretch, Error> {
        self.0.select(filter, after, limit).await
    }

    async fn head(&self) -> Result<Position, Error> {
        self.0.head().await
    }

    async fn tenant_of(
        &self,
        category: &'static str,
        id: Uuid,
    ) -> Result<Option<Id<Tenant>>, Error> {
        self.0.tenant_of(category, id).await
    }

    fn watch(&self) -> watch::Receiver<Position> {
        self.0.watch()
    }
}

/// The database of a test, with the bad execution and the others begun.
async fn begin(options: PgPoolOptions, connect: PgConnectOptions) -> PgPool {
    let pool = options.connect_with(connect).await.expect("a database");
    let ids: Vec<Uuid> = others().into_iter().chain([POISON]).collect();
    start(&pool, DOCUMENT, &ids).await;
    pool
}

fn others() -> Vec<Uuid> {
    (1..=OTHERS).map(Uuid::from_u128).collect()
}

/// A process that works.
fn worker(pool: &PgPool, way: Way) -> Child {
    let database = pool.connect_options();
    let this = std::env::current_exe().expect("this very test");
    Process::new(this)
        .args(["poison::a_process_that_works", "--exact", "--ignored", "--nocapture"])
        .env("DATABASE", database.get_database().expect("a name"))
        .env("WAY", format!("{way:?}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("starts")
}

#[tokio::test]
#[ignore = "is started by the others"]
async fn a_process_that_works() {
    let url = std::env::var("DATABASE_URL").expect("a server");
    let database = std::env::var("DATABASE").expect("is started by another test");
    let way = std::env::var("WAY").expect("is started by another test");
    let ways = [Way::Panics, Way::Aborts, Way::IsOld, Way::IsWell];
    let way = ways.into_iter().find(|known| format!("{known:?}") == way).expect("a way");
    let options: PgConnectOptions = url.parse().expect("a URL");
    let pool = PgPoolOptions::new().max_connections(8);
    let pool = pool.connect_with(options.database(&database)).await.expect("a database");
    let log = Arc::new(Log(PgEventStore::new(pool.clone()), way));
    let clock = Clock::of(&pool).await.expect("the time");
    let egress = Arc::new(Egress::new(Policy::default()).expect("a way out"));
    let deps = Unused::new(pool).deps(log, Arc::new(Plans::default()), clock, egress);
    run(Arc::new(deps), Options::default(), CancellationToken::new()).await;
}

/// Waits until something is in quarantine and these executions have completed; what is in quarantine
/// then.
async fn settled(pool: &PgPool, others: &[Uuid]) -> Vec<Quarantined> {
    let are_over = async || {
        for id in others {
            if !matches!(phase(pool, *id).await, Phase::Completed(_)) {
                return false;
            }
        }
        true
    };
    loop {
        let quarantined = quarantine::list(pool).await.expect("is read");
        if !quarantined.is_empty() && are_over().await {
            return quarantined;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Lets a worker work until all is settled; how it ended if it did not live to see that.
async fn works(pool: &PgPool, way: Way, others: &[Uuid]) -> Result<Vec<Quarantined>, ExitStatus> {
    let mut worker = worker(pool, way);
    let ended = async {
        tokio::select! {
            biased;
            status = worker.wait() => Err(status.expect("a status")),
            settled = settled(pool, others) => Ok(settled),
        }
    };
    timeout(Duration::from_mins(1), ended).await.expect("in time")
}

fn assert_only_poison(quarantined: &[Quarantined], cause: &str) {
    let [one] = quarantined else { panic!("{quarantined:?}") };
    assert_eq!((one.stream, one.cause.as_str()), (POISON, cause), "{one:?}");
}

/// Starts workers until one lives to see everything settled; how many died before.
async fn deaths(pool: &PgPool, others: &[Uuid]) -> usize {
    for deaths in 0..10 {
        match works(pool, Way::Aborts, others).await {
            Ok(quarantined) => {
                assert_only_poison(&quarantined, "died");
                assert_eq!(phase(pool, POISON).await, Phase::Running);
                return deaths;
            }
            Err(status) => assert_eq!(status.signal(), Some(6), "of something else: {status}"),
        }
    }
    panic!("it goes on dying");
}

/// Scenario 12.
#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_turn_that_kills_its_process_each_time_is_known_by_the_third_death(
    options: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let pool = options.connect_with(connect).await.expect("a database");
    start(&pool, DOCUMENT, &[POISON]).await;
    assert_eq!(deaths(&pool, &[]).await, 3);
    start(&pool, DOCUMENT, &others()).await;
    works(&pool, Way::Aborts, &others()).await.expect("it is left alone, and nothing else is");
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn of_many_turns_that_are_taken_at_once_the_one_that_kills_is_found_and_left_to_people(
    options: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let pool = begin(options, connect).await;
    // One less if the others had their turns before.
    let deaths = deaths(&pool, &others()).await;
    assert!((3..=4).contains(&deaths), "{deaths}");
    for _ in 0..2 {
        let quarantined = works(&pool, Way::Aborts, &[]).await.expect("it is left alone");
        assert!(quarantined[0].retry_at.is_some(), "{quarantined:?}");
        quarantine::release(&pool, Some(POISON)).await.expect("is released");
        let died = works(&pool, Way::Aborts, &[]).await.expect_err("it kills again");
        assert_eq!(died.signal(), Some(6));
    }
    let quarantined = works(&pool, Way::Aborts, &[]).await.expect("it is left alone");
    assert_only_poison(&quarantined, "died");
    assert_eq!(quarantined[0].retry_at, None);

    // A release that has the bug no more goes on with it.
    let _healed = worker(&pool, Way::IsWell);
    quarantine::release(&pool, None).await.expect("is released");
    is_over(&pool, POISON).await;
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_turn_that_panics_each_time_harms_only_its_own_execution(
    options: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let pool = begin(options, connect).await;
    let quarantined = works(&pool, Way::Panics, &others()).await.expect("it lives");
    assert_only_poison(&quarantined, "panicked");
    assert!(quarantined[0].reason.contains("on purpose"), "{quarantined:?}");
    let mut reader = Reader::begin(&pool, tenant()).await.expect("a reader");
    let shown = executions::get(&mut reader, POISON).await.expect("is read").expect("is there");
    let why = shown.why.iter().find(|why| why.waits_for == "quarantine").expect("it says so");
    assert!(why.until.is_some() && why.detail.contains("on purpose"), "{why:?}");
    drop(reader);
    let _healed = worker(&pool, Way::IsWell);
    quarantine::release(&pool, None).await.expect("is released");
    is_over(&pool, POISON).await;
    assert_eq!(quarantine::list(&pool).await.expect("is read").len(), 0);
}

/// Scenario 27.
#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn what_a_newer_release_wrote_is_left_to_a_newer_release(
    options: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let pool = begin(options, connect).await;
    let quarantined = works(&pool, Way::IsOld, &others()).await.expect("it lives");
    assert_only_poison(&quarantined, "newer");
    assert_eq!(phase(&pool, POISON).await, Phase::Running, "it is suspended, and has not failed");
    let _newer = worker(&pool, Way::IsWell);
    quarantine::release(&pool, None).await.expect("is released");
    is_over(&pool, POISON).await;
}
