//! `kill -9` in the middle of everything, again and again, and a database that is away: nothing is lost,
//! nothing is done twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::api::Client;
use testkit::processes;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::documents::LOAD;
use crate::support::{PATIENCE, Stub, World, eventually};

/// How many executions there are, and how many effects each has.
const EXECUTIONS: usize = 40;
const EFFECTS: usize = 3;

/// How long a refusal may take that comes at once, on a machine that does much else: half of how long a
/// connection to the database is waited for.
const AT_ONCE: Duration = Duration::from_secs(2);

/// When to kill: when the receiver's ledger has grown to one of these lengths.
fn moments(seed: u64, times: usize) -> BTreeSet<usize> {
    let mut state = seed;
    let mut moments = BTreeSet::new();
    while moments.len() < times {
        // Knuth's MMIX generator: chance that comes out the same each time.
        let (factor, summand) = (6_364_136_223_846_793_005, 1_442_695_040_888_963_407);
        state = state.wrapping_mul(factor).wrapping_add(summand);
        let random = usize::try_from(state >> 33).expect("31 bits");
        moments.insert(1 + random % (EXECUTIONS * EFFECTS / 2));
    }
    moments
}

/// Kills at the given moments: each time with a call under way that is not answered yet. How often
/// there still was something to kill.
async fn kill_at(moments: BTreeSet<usize>, stub: &Stub, mut kill: impl AsyncFnMut()) -> usize {
    let mut times = 0;
    for moment in moments {
        let so_far = stub.calls().len();
        if so_far >= EXECUTIONS * EFFECTS {
            break;
        }
        let moment = moment.max(so_far + 1);
        stub.release_until(moment);
        eventually("the next moment", async || (stub.calls().len() >= moment).then_some(())).await;
        kill().await;
        times += 1;
    }
    stub.release();
    times
}

/// Starts all executions, each under its own key.
fn start_all(client: &Client, workflow: &str, url: &str) -> JoinSet<String> {
    let mut starting = JoinSet::new();
    for number in 0..EXECUTIONS {
        let (client, path) = (client.clone(), format!("/workflows/{workflow}/execute"));
        let body = json!({"input": {"url": url, "number": number}});
        starting.spawn(async move { start(&client, &path, number, &body).await });
    }
    starting
}

/// Starts one as a client that does not give up: with the same key until it is taken.
async fn start(client: &Client, path: &str, number: usize, body: &Value) -> String {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let request = client.request(Method::POST, path).json(body).timeout(Duration::from_secs(5));
        let request = request.header("idempotency-key", format!("start-{number}"));
        if let Ok(answer) = client.send(request).await {
            assert!([202, 409, 503].contains(&answer.status), "{} {}", answer.status, answer.text);
            if answer.status == 202 {
                return answer.body["id"].to_string();
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("execution {number} was never taken");
}

/// Waits for the end of everything and looks at it from all sides.
async fn everything_happened_once(world: &World, stub: &Stub, started: BTreeSet<String>) {
    assert_eq!(started.len(), EXECUTIONS, "each key started one execution");
    let client = world.server.client();
    let executions = eventually("the end of all executions", async || {
        let executions = client.all("/executions").await.ok()?;
        let done = executions.iter().all(|one| one["ended_at"].is_string());
        (done && executions.len() >= EXECUTIONS).then_some(executions)
    })
    .await;
    let shown: BTreeSet<String> = executions.iter().map(|one| one["id"].to_string()).collect();
    assert_eq!(shown, started);
    let failed: Vec<&Value> =
        executions.iter().filter(|one| one["status"] != "completed").collect();
    assert_eq!(failed, Vec::<&Value>::new());
    each_stream_ends_once(&world.exported().await);
    each_effect_has_one_key(stub);
    let verified = world.run(&["replay", "--verify"]).await;
    assert_eq!(verified.code, 0, "{verified:?}");
}

fn each_stream_ends_once(log: &[Value]) {
    let mut counts = BTreeMap::<(&str, String), usize>::new();
    for event in log {
        let (kind, subject) = (event["type"].as_str(), event["subject"].as_str());
        let (kind, subject) = (kind.expect("a type"), subject.expect("a subject"));
        let stream = subject.split('@').next().expect("a stream").to_owned();
        let sort = match kind {
            "execution.started" => "start",
            "execution.completed" | "execution.faulted" | "execution.cancelled" => "end",
            _ => continue,
        };
        *counts.entry((sort, stream)).or_default() += 1;
    }
    assert_eq!(counts.len(), EXECUTIONS * 2);
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
}

fn each_effect_has_one_key(stub: &Stub) {
    let mut keys = BTreeMap::<(String, i64), BTreeSet<String>>::new();
    for call in stub.calls() {
        let number = call.body["number"].as_i64().expect("a number");
        keys.entry((call.path.clone(), number)).or_default().insert(call.key().to_owned());
    }
    assert_eq!(keys.len(), EXECUTIONS * EFFECTS, "each effect came at least once");
    let several: Vec<_> = keys.iter().filter(|(_, keys)| keys.len() != 1).collect();
    assert_eq!(several, vec![], "calls of one effect carry one key");
    let distinct: BTreeSet<&String> = keys.values().flatten().collect();
    assert_eq!(distinct.len(), EXECUTIONS * EFFECTS, "and no other effect has it");
    assert!(distinct.iter().all(|key| !key.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_goes_on_where_it_was() {
    let mut world = World::start().await;
    let stub = Stub::start().await;
    stub.hold();
    let workflow = world.api().publish(LOAD).await;
    let starting = start_all(&world.server.client(), &workflow, stub.url());
    let times = kill_at(moments(20_260_729, 5), &stub, async || {
        world.server.kill().expect("killed");
        world.server.start_again().await.expect("it starts again");
    });
    assert!(times.await >= 3, "it was over too soon");
    let started = starting.join_all().await.into_iter().collect();
    everything_happened_once(&world, &stub, started).await;
    let calls = stub.calls().len();
    assert!(calls > EXECUTIONS * EFFECTS, "no call was under way when the process was killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_killed_takes_nothing_with_it() {
    let mut world = World::on_its_own_postgres().await;
    let stub = Stub::start().await;
    stub.hold();
    let workflow = world.api().publish(LOAD).await;
    let starting = start_all(&world.server.client(), &workflow, stub.url());
    let times = kill_at(moments(42, 3), &stub, async || {
        let running = eventually("a Postgres", async || world.server.postgres()).await;
        processes::signal(running, Signal::SIGKILL);
        // What was under way is answered while there is no database to write it down.
        stub.release();
        eventually("another Postgres", async || {
            world.server.postgres().filter(|other| *other != running)
        })
        .await;
        assert_eq!(world.server.ended().expect("known"), None, "everstep itself lives");
    });
    assert!(times.await >= 2, "it was over too soon");
    let started = starting.join_all().await.into_iter().collect();
    everything_happened_once(&world, &stub, started).await;
}

/// Scenario 16; the server itself is killed in the test before.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_requests_are_refused_at_once_and_nothing_is_lost() {
    let world = World::start().await;
    let stub = Stub::start().await;
    stub.hold();
    let workflow = world.api().publish(LOAD).await;
    let client = world.server.client();
    let starting = start_all(&client, &workflow, stub.url());
    let some = EXECUTIONS / 2;
    eventually("some calls", async || (stub.calls().len() >= some).then_some(())).await;
    world.database().shut().await;
    // What is under way is answered while there is no database to write it down.
    stub.release();
    eventually("the first refusal", async || {
        let answer = client.get("/executions").await.ok()?;
        (answer.status == 503).then_some(())
    })
    .await;
    let execute = format!("/workflows/{workflow}/execute");
    for (method, path) in [(Method::GET, "/executions"), (Method::POST, &execute)] {
        let asked = Instant::now();
        let answer = client.send(client.request(method, path).json(&json!({}))).await;
        let answer = answer.expect("an answer");
        assert_eq!((answer.status, &answer.body["code"]), (503, &json!("unavailable")));
        assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
        assert!(asked.elapsed() < AT_ONCE, "{path} took {:?}", asked.elapsed());
    }
    world.database().open().await;
    let started = starting.join_all().await.into_iter().collect();
    everything_happened_once(&world, &stub, started).await;
    let calls = stub.calls().len();
    assert_eq!(calls, EXECUTIONS * EFFECTS, "what was answered was asked for again");
}

/// Whoever looks after a database ends sessions now and then; nobody is told that it is away.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_are_ended_alone_fail_no_request() {
    let world = World::start().await;
    let (api, pool) = (world.api(), world.pool().await);
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    for _ in 0..5 {
        let ended: i64 = sqlx::query_scalar(end).fetch_one(&pool).await.expect("they are ended");
        assert!(ended > 0, "there was nobody");
        assert_eq!(api.get("/executions").await.status, 200);
    }
}
