//! All processes are restarted, one after the other, while callers go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use reqwest::Method;
use serde_json::json;
use testkit::api::Client;
use testkit::process::Process;
use testkit::processes::free_port;
use tokio::task::JoinSet;

use crate::support::{World, eventually};

/// How many callers there are; each asks again as soon as it has its answer.
const CALLERS: u64 = 8;

/// A pure step, a wait, and another step.
const SHORT: &str = "
document: {dsl: 1.0.3, namespace: tests, name: short, version: 1.0.0}
do:
  - one: {set: {n: '${ .n + 1 }'}}
  - pause: {wait: {milliseconds: 20}}
  - two: {set: {n: '${ .n + 1 }'}}
";

/// Servers and workers on the database of an instance that has stopped.
struct Fleet {
    world: World,
    servers: Vec<(u16, Process)>,
    workers: Vec<Process>,
}

impl Fleet {
    async fn start(world: World) -> Self {
        let mut fleet = Self { world, servers: vec![], workers: vec![] };
        for _ in 0..2 {
            let port = free_port().expect("a port");
            fleet.servers.push((port, fleet.serve(port)));
            fleet.workers.push(fleet.work());
            fleet.until_ready(port).await;
        }
        fleet
    }

    fn serve(&self, port: u16) -> Process {
        let (setup, dev) = (self.world.server.setup(), self.world.server.dev());
        Process::serve(setup, &dev.database_url, port).expect("a server")
    }

    fn work(&self) -> Process {
        let (setup, dev) = (self.world.server.setup(), self.world.server.dev());
        Process::work(setup, &dev.database_url).expect("a worker")
    }

    async fn until_ready(&self, port: u16) {
        let client = Client::new(format!("http://127.0.0.1:{port}"), None);
        eventually("a server that is ready", async || {
            let answer = client.send(client.at_root(Method::GET, "/readyz")).await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
    }

    /// Restarts every process; each is replaced before the next one goes.
    async fn roll(&mut self) {
        for nth in 0..self.servers.len() {
            let port = self.servers[nth].0;
            self.servers[nth].1.stop().await.expect("it stops");
            self.servers[nth].1 = self.serve(port);
            self.until_ready(port).await;
            self.workers[nth].stop().await.expect("it stops");
            self.workers[nth] = self.work();
        }
    }

    /// A client of each server.
    fn clients(&self) -> Vec<Client> {
        let token = &self.world.server.dev().token;
        let of = |port: &u16| Client::new(format!("http://127.0.0.1:{port}"), Some(token.clone()));
        self.servers.iter().map(|(port, _)| of(port)).collect()
    }
}

/// What callers have seen.
#[derive(Debug, Default)]
struct Seen {
    answered: AtomicU64,
    enough: AtomicBool,
}

/// Starts one execution after the other, at a server that takes the connection; the ids of all.
async fn call(clients: Vec<Client>, path: String, caller: u64, seen: Arc<Seen>) -> Vec<String> {
    let mut started = vec![];
    let mut number = caller;
    while !seen.enough.load(Ordering::Relaxed) {
        number += CALLERS;
        let client = &clients[usize::try_from(number / CALLERS).expect("small") % clients.len()];
        let request = client.request(Method::POST, &path).json(&json!({"input": {"n": number}}));
        match client.send(request).await {
            Ok(answer) => {
                assert!([200, 202].contains(&answer.status), "{} {}", answer.status, answer.text);
                seen.answered.fetch_add(1, Ordering::Relaxed);
                started.push(answer.body["id"].as_str().expect("an id").to_owned());
            }
            // Nobody listens there at the moment: nothing was sent.
            Err(error) => {
                let connect = error.chain().any(|cause| {
                    cause.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect)
                });
                assert!(connect, "a request was cut off: {error:?}");
            }
        }
    }
    started
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_all_processes_are_restarted_one_by_one() {
    let mut world = World::start().await;
    let workflow = world.api().publish(SHORT).await;
    world.server.stop().await.expect("it stops");
    let mut fleet = Fleet::start(world).await;
    let seen = Arc::new(Seen::default());
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let path = format!("/workflows/{workflow}/execute?wait=20s");
        callers.spawn(call(fleet.clients(), path, caller, seen.clone()));
    }
    for _ in 0..2 {
        let before = seen.answered.load(Ordering::Relaxed);
        fleet.roll().await;
        eventually("callers go on", async || {
            (seen.answered.load(Ordering::Relaxed) > before + 2 * CALLERS).then_some(())
        })
        .await;
    }
    seen.enough.store(true, Ordering::Relaxed);
    let started: Vec<String> = callers.join_all().await.into_iter().flatten().collect();
    assert_eq!(u64::try_from(started.len()).ok(), Some(seen.answered.load(Ordering::Relaxed)));
    let client = fleet.clients().remove(0);
    let done = eventually("the end of all executions", async || {
        let all = client.all("/executions").await.ok()?;
        all.iter().all(|one| one["ended_at"].is_string()).then_some(all)
    })
    .await;
    assert_eq!(done.len(), started.len(), "each request started one execution");
    assert!(done.iter().all(|one| one["status"] == "completed"), "{done:?}");
}
