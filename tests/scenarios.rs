//! Tough scenarios that no other journey meets, each on real processes. Others are elsewhere: what was
//! under way when its process was killed (`kill`, `fleet`), a worker that was frozen (`fleet`), a
//! database that is away (`kill`), a rolling restart (`rolling`), turns that kill their process and
//! events of a newer release (`workers::poison`).

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use domain::api_key::Access;
use futures::future::join_all;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use testkit::clock::SteppedClock;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::fleet::ONE_CALL;
use crate::support::{Api, Call, Stub, World, eventually};

/// More than a worker has under way at once.
const MANY: usize = 2_200;

/// How much of that may be one tenant's.
const OF_ONE_TENANT: usize = 1_536;

/// How often somebody else has something to do meanwhile.
const OTHERS: usize = 20;

const PAUSE: &str = "
document: {dsl: 1.0.3, namespace: tests, name: pause, version: 1.0.0}
do:
  - rest: {wait: {seconds: 1}}
";

/// The first attempt fails; when the next one is due is computed.
const RETRY_AFTER: &str = "
document: {dsl: 1.0.3, namespace: tests, name: retry-after, version: 1.0.0}
do:
  - insist:
      try:
        - fail: {raise: {error: {type: 'https://example.test/never', status: 503}}}
      catch:
        retry: {delay: '${ .delay }', limit: {attempt: {count: 2}}}
";

/// Scenario 4.
#[tokio::test(flavor = "multi_thread")]
async fn timers_do_not_care_what_the_clock_of_a_worker_says() {
    let home = tempfile::tempdir().expect("a directory");
    let Some(clock) = SteppedClock::make(home.path()).expect("a clock") else { return };
    let world = World::start_as(|setup| clock.of(setup)).await;
    let api = world.api();
    let pause = api.publish(PAUSE).await;
    for off in ["+3600", "-3600", "+0"] {
        clock.set(off).expect("is set");
        let began = Instant::now();
        // An hour late is never, for whoever waits a minute.
        assert_eq!(api.run(&pause, &json!({})).await["status"], "completed", "{off}");
        assert!(began.elapsed() >= Duration::from_secs(1), "{off}: it fired early");
    }
}

/// By how much the clock of a database steps back, in seconds.
const BACK: u64 = 10;

/// Scenario 5.
#[tokio::test(flavor = "multi_thread")]
async fn timers_of_a_database_whose_clock_steps_back_are_late_by_that_and_fire_once() {
    let home = tempfile::tempdir().expect("a directory");
    let Some(clock) = SteppedClock::make(home.path()).expect("a clock") else { return };
    let stepped = |setup| clock.of_postgres(setup).expect("a Postgres");
    let world = World::on_its_own_postgres_as(stepped).await;
    let (api, pool) = (world.api(), world.pool().await);
    let pause = api.publish(PAUSE).await;
    let nothing = json!({});
    let sleepers = async |count| {
        let began = (0..count).map(|_| api.start(&pause, &nothing));
        join_all(began).await
    };
    let mut all = sleepers(20).await;
    let read = async || -> DateTime<Utc> {
        let read = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&pool).await;
        read.expect("the time")
    };
    let before = read().await;
    clock.set(&format!("-{BACK}")).expect("is set");
    let is_back = async || (read().await < before).then_some(());
    eventually("the database's clock to step back", is_back).await;
    let stepped = Instant::now();
    all.extend(sleepers(20).await);
    for id in &all {
        let over = |execution: &Value| execution["status"] == "completed";
        api.until(id, over).await;
    }
    let late = stepped.elapsed();
    assert!(late < Duration::from_secs(BACK + 5), "{late:?}");
    let fired: Vec<(Uuid, i64)> = sqlx::query_as(
        "SELECT stream, count(*) FROM es.event WHERE name = 'execution.turn_taken' GROUP BY stream",
    )
    .fetch_all(&pool)
    .await
    .expect("reads");
    assert_eq!(fired.len(), all.len());
    assert!(fired.iter().all(|(_, turns)| *turns == 2), "began and fired, once each: {fired:?}");
}

/// Scenario 24.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_has_more_to_do_than_is_done_at_once_keeps_nobody_waiting() {
    // The receiver holds them all.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("a higher limit");
    let (world, stub) = (World::start().await, Stub::start().await);
    let (busy, other) = (world.api(), world.key_of_somebody_else(Access::Admin).await);
    let (much, little) = (busy.publish(ONE_CALL).await, other.publish(ONE_CALL).await);
    stub.hold();
    start_many(&busy, &much, stub.url()).await;
    eventually("as many calls as may be", async || (stub.calls().len() > MANY / 2).then_some(()))
        .await;
    // Again and again: there is room for the other however long the busy one had to fill it.
    for number in MANY..MANY + OTHERS {
        other.start(&little, &json!({"url": stub.url(), "number": number})).await;
        let is_theirs = |call: &Call| call.body["number"] == json!(number);
        eventually("the other's call", async || stub.calls().iter().any(is_theirs).then_some(()))
            .await;
    }
    let calls = stub.calls().len();
    assert!(calls <= OF_ONE_TENANT + OTHERS, "{calls} calls: the busy one has more than its share");
    stub.release();
}

async fn start_many(api: &Api, workflow: &str, url: &str) {
    let mut starters = JoinSet::new();
    for starter in 0..32 {
        let (api, workflow, url) = (api.clone(), workflow.to_owned(), url.to_owned());
        starters.spawn(async move {
            for number in (starter..MANY).step_by(32) {
                api.start(&workflow, &json!({"url": url, "number": number})).await;
            }
        });
    }
    starters.join_all().await;
}

/// Scenario 26.
#[tokio::test(flavor = "multi_thread")]
async fn a_delay_that_makes_no_sense_is_an_error_of_its_execution_and_of_nobody_else() {
    let world = World::start().await;
    let api = world.api();
    let (retry, pause) = (api.publish(RETRY_AFTER).await, api.publish(PAUSE).await);
    for delay in [json!({"seconds": 1e18}), json!("P1Y2M"), json!({"days": 367})] {
        let ended = api.run(&retry, &json!({"delay": delay})).await;
        assert_eq!(ended["status"], "faulted", "{ended}");
        let kind = ended["error"]["type"].as_str().unwrap_or_default();
        assert!(kind.ends_with("/validation"), "{delay}: {ended}");
        assert_eq!(api.run(&pause, &json!({})).await["status"], "completed");
    }
}
