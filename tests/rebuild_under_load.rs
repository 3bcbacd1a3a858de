//! All read models are rebuilt again and again while workflows run and everything is read: nothing that
//! was acknowledged is ever missing, told wrongly, or not in time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout;

use crate::documents::{ECHO, FAULTY};
use crate::support::{Api, PATIENCE, World, eventually, ok};

const WRITERS: usize = 2;
const READERS: usize = 4;
/// How many answers are read for each execution that is started.
const PACE: u32 = 20;
/// How many answers each reader has before and after each rebuild.
const BETWEEN: usize = 20;
/// What is done to the read models, one after the other.
const REBUILDS: [&[&str]; 5] =
    [&["replay"], &["replay"], &["replay"], &["replay", "--rollback"], &["replay"]];

/// An execution that was acknowledged.
#[derive(Debug, Clone)]
struct Known {
    path: String,
    input: Value,
    /// What its status may be from `position` on.
    statuses: &'static [&'static str],
    position: i64,
}

/// What all who take part share.
struct Load {
    api: Api,
    echo: String,
    faulty: String,
    known: Mutex<Vec<Known>>,
    over: AtomicBool,
    /// How many answers each reader has had.
    answers: [AtomicUsize; READERS],
    /// What writers need to go on: answers, so that the log does not outgrow its readers.
    pace: Semaphore,
}

impl Load {
    fn known(&self) -> Vec<Known> {
        self.known.lock().expect("nobody panics while holding it").clone()
    }

    /// What is told as of a position, in time. An answer that says that something broke, or is not
    /// there, or not yet, fails the test here.
    async fn get(&self, reader: usize, path: &str, position: i64) -> Value {
        let request = self.api.request(Method::GET, path).header("min-position", position);
        let answer = timeout(PATIENCE, self.api.send(request)).await.expect("an answer in time");
        self.answers[reader].fetch_add(1, Ordering::Relaxed);
        self.pace.add_permits(1);
        ok(&answer, 200)
    }

    /// Runs workflows, one after the other: to the end, to a fault, and without waiting for the end.
    async fn write(&self, writer: usize) {
        for number in 0.. {
            let Ok(answers) = self.pace.acquire_many(PACE).await else { break };
            answers.forget();
            let input = json!({"writer": writer, "number": number});
            let (workflow, query, status, statuses) = match number % 3 {
                0 => (&self.echo, "?wait=30s", 200, &["completed"][..]),
                1 => (&self.faulty, "?wait=30s", 200, &["faulted"][..]),
                _ => (&self.echo, "", 202, &["running", "completed"][..]),
            };
            let path = format!("/workflows/{workflow}/execute{query}");
            let answer = self.api.post(&path, &json!({"input": input})).await;
            let id = ok(&answer, status)["id"].as_str().expect("an id").to_owned();
            let position = answer.header("x-position").and_then(|at| at.parse().ok());
            let path = format!("/workflows/{workflow}/executions/{id}");
            let position = position.expect("a position");
            let known = Known { path, input, statuses, position };
            self.known.lock().expect("nobody panics while holding it").push(known);
        }
    }

    /// Reads every execution, one by one, the newest first or last.
    async fn read_each(&self, reader: usize) {
        let mut all = self.known();
        if reader == 0 {
            all.reverse();
        }
        for known in all {
            known.is_told_as(&self.get(reader, &known.path, known.position).await);
        }
    }

    /// Reads all lists of executions to their ends: every execution is in them.
    async fn read_lists(&self, reader: usize) {
        let known = self.known();
        let head = known.iter().map(|known| known.position).max().unwrap_or_default();
        let mut listed = BTreeMap::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(reader, &format!("/executions?limit=200{cursor}"), head).await;
            for item in page["items"].as_array().expect("a list") {
                listed.insert(item["id"].as_str().expect("an id").to_owned(), item.clone());
            }
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        for known in known {
            let id = known.path.rsplit('/').next().expect("an id");
            let item = listed.get(id);
            let item = item.unwrap_or_else(|| panic!("{known:?} is in no list"));
            known.has_status(item);
        }
    }

    /// Reads totals, which count whatever is known, and are never less than they were.
    async fn read_analytics(&self, reader: usize, before: &mut BTreeMap<&'static str, u64>) {
        let known = self.known();
        let head = known.iter().map(|known| known.position).max().unwrap_or_default();
        let dashboard = self.get(reader, "/analytics/dashboard", head).await;
        let executions = &dashboard["executions"];
        let at_least = |status: &str| {
            let of_status = known.iter().filter(|known| known.statuses == [status]);
            u64::try_from(of_status.count()).expect("few")
        };
        let all = u64::try_from(known.len()).expect("few");
        let least = [
            ("started", all),
            ("completed", at_least("completed")),
            ("faulted", at_least("faulted")),
        ];
        for (name, least) in least {
            let now = executions[name].as_u64().expect("a number");
            let least = before.insert(name, now).unwrap_or_default().max(least);
            assert!(now >= least, "{name} is {now} and was {least}: {executions}");
        }
    }

    /// Reads everything again and again.
    async fn read(&self, reader: usize) {
        let mut totals = BTreeMap::new();
        while !self.over.load(Ordering::Relaxed) {
            // As long as nothing is known there is nothing to wait for.
            yield_now().await;
            match reader {
                0 | 1 => self.read_each(reader).await,
                2 => self.read_lists(reader).await,
                _ => self.read_analytics(reader, &mut totals).await,
            }
        }
    }

    /// Until everybody has done something more.
    async fn go_on(&self) {
        let answers = || self.answers.each_ref().map(|answers| answers.load(Ordering::Relaxed));
        let (before, known) = (answers(), self.known().len());
        eventually("what everybody does next", async || {
            let read = answers().iter().zip(before).all(|(now, before)| *now >= before + BETWEEN);
            (read && self.known().len() >= known + 3 * WRITERS).then_some(())
        })
        .await;
    }

    fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.pace.close();
    }
}

impl Known {
    fn has_status(&self, told: &Value) {
        let status = told["status"].as_str().expect("a status");
        assert!(self.statuses.contains(&status), "{self:?} is told as {told}");
    }

    fn is_told_as(&self, told: &Value) {
        self.has_status(told);
        assert_eq!(told["input"], self.input, "{self:?}");
    }
}

/// Rebuilds all read models, several times, and goes back once.
async fn rebuild(world: &World, load: &Load) {
    load.go_on().await;
    for command in REBUILDS {
        let done = world.run(command).await;
        assert_eq!(done.code, 0, "{command:?}: {done:?}");
        load.go_on().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_acknowledged_is_told_rightly_while_all_read_models_are_rebuilt() {
    let world = World::start().await;
    let api = world.api();
    let (echo, faulty) = (api.publish(ECHO).await, api.publish(FAULTY).await);
    let (known, over, answers) = (Mutex::default(), AtomicBool::new(false), Default::default());
    let pace = Semaphore::new(10 * PACE as usize);
    let load = Arc::new(Load { api, echo, faulty, known, over, answers, pace });
    let mut tasks = JoinSet::new();
    for writer in 0..WRITERS {
        let load = load.clone();
        tasks.spawn(async move { load.write(writer).await });
    }
    for reader in 0..READERS {
        let load = load.clone();
        tasks.spawn(async move { load.read(reader).await });
    }
    tokio::select! {
        biased;
        ended = tasks.join_next() => panic!("nobody ends before all is over: {ended:?}"),
        () = rebuild(&world, &load) => load.end(),
    }
    tasks.join_all().await;

    load.read_each(0).await;
    load.read_lists(2).await;
    let verified = world.run(&["replay", "--verify"]).await;
    assert_eq!(verified.code, 0, "{verified:?}");
}
