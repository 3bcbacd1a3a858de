//! Restate: a server that keeps the journals, and a Node process with the handlers that it asks. The
//! load comes over HTTP from here, as for Everstep.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use serde_json::{Value, json};
use testkit::api::{Answer, Client, Method};

use crate::engine::{Engine, PUTTERS, Place, Results, Work};
use crate::load::{Enough, Ran, drive};
use crate::program::Program;

/// How long a start may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often it is asked how many have ended; a question takes it some 10 ms.
const EVERY: Duration = Duration::from_millis(100);
/// How many callers look at results.
const READERS: u64 = 8;
/// How many calls warm a new server up, which has 24 partitions.
const WARMING: u64 = 500;
const COUNT: &str = "SELECT count(*) AS n FROM sys_invocation \
                     WHERE target_service_name = 'keyed' AND status = 'completed'";

/// Both processes, and how they were started.
pub(crate) struct Restate {
    place: Place,
    ports: Ports,
    server: Program,
    handlers: Program,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    /// Where workflows are started.
    ingress: u16,
    admin: u16,
    /// Where its nodes would speak with each other.
    node: u16,
    handlers: u16,
}

impl Restate {
    /// Starts both.
    pub(crate) async fn start(place: Place) -> Result<Self> {
        let ports = Ports::free();
        let (server, handlers) = start(&place, ports).await?;
        let restate = Self { place, ports, server, handlers };
        let body = json!({"uri": format!("http://127.0.0.1:{}", ports.handlers)});
        post(&restate.admin(), "/deployments", &body).await?.expect(201)?;
        restate.warm_up().await?;
        Ok(restate)
    }

    /// Calls a few at a time until each partition should have had some. A new server that gets hundreds
    /// of calls at once is stalled by them for a minute or two.
    async fn warm_up(&self) -> Result<()> {
        let ingress = self.ingress();
        let called = drive(READERS, Enough::Calls(WARMING), move |n| {
            let ingress = ingress.clone();
            async move { post(&ingress, "/echo/run", &json!(n)).await?.expect(200).map(drop) }
        });
        called.await?.without_errors().map(drop)
    }

    fn admin(&self) -> Client {
        client(self.ports.admin)
    }

    fn ingress(&self) -> Client {
        client(self.ports.ingress)
    }
}

impl Ports {
    /// Ports that nobody listens on, from below those that the kernel hands out: they have to be free
    /// again after a kill, and no connection out may have taken one meanwhile.
    fn free() -> Self {
        loop {
            let first: u16 = rand::random_range(15_000..30_000);
            let bound = |port| TcpListener::bind(("127.0.0.1", port));
            let listeners: Vec<_> = (first..first + 4).map_while(|port| bound(port).ok()).collect();
            if listeners.len() == 4 {
                let [ingress, admin, node, handlers] = [0, 1, 2, 3].map(|nth| first + nth);
                return Self { ingress, admin, node, handlers };
            }
        }
    }
}

async fn start(place: &Place, ports: Ports) -> Result<(Program, Program)> {
    let text = str::to_owned;
    let variables = [
        ("RESTATE_BASE_DIR", place.files.join("data").display().to_string()),
        ("RESTATE_NODE_NAME", text("bench")),
        ("RESTATE_LISTEN_MODE", text("tcp")),
        ("RESTATE_BIND_IP", text("127.0.0.1")),
        ("RESTATE_BIND_PORT", ports.node.to_string()),
        ("RESTATE_INGRESS__BIND_PORT", ports.ingress.to_string()),
        ("RESTATE_ADMIN__BIND_PORT", ports.admin.to_string()),
        ("RESTATE_ADMIN__DISABLE_WEB_UI", text("true")),
        ("RESTATE_DISABLE_TELEMETRY", text("true")),
        ("RESTATE_LOG_FILTER", text("error")),
    ];
    let server = Program::silent(&place.programs, "restate-server", &place.files, &variables)?;
    let url = format!("http://127.0.0.1:{}", ports.handlers);
    let mut args = vec!["--url", &url, "--work", place.work.name()];
    if let Some(outside) = &place.outside {
        args.extend(["--outside", outside]);
    }
    let mut handlers = Program::talking(&place.programs, "restate", &place.files, &args)?;
    handlers.says(PATIENCE).await?;
    let (admin, ingress, began) = (client(ports.admin), client(ports.ingress), Instant::now());
    while !(healthy(&admin, "/health").await && healthy(&ingress, "/restate/health").await) {
        let words = server.last_words();
        ensure!(began.elapsed() < PATIENCE, "restate-server is not healthy:\n{words}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok((server, handlers))
}

fn client(port: u16) -> Client {
    Client::new(format!("http://127.0.0.1:{port}"), None)
}

async fn healthy(client: &Client, path: &str) -> bool {
    let request = client.at_root(Method::GET, path).timeout(Duration::from_secs(2));
    client.send(request).await.is_ok_and(|answer| answer.status == 200)
}

async fn post(client: &Client, path: &str, body: &Value) -> Result<Answer> {
    // For the tables of the admin API, which come in a binary format otherwise.
    let request = client.at_root(Method::POST, path).header("accept", "application/json");
    client.send(request.json(body)).await
}

#[async_trait]
impl Engine for Restate {
    fn pids(&self) -> Vec<u32> {
        [&self.server, &self.handlers].into_iter().filter_map(Program::pid).collect()
    }

    async fn run(&mut self, callers: u64, long: Duration) -> Result<Ran> {
        let ingress = self.ingress();
        drive(callers, Enough::Time(long), move |n| {
            let ingress = ingress.clone();
            async move {
                let answer = post(&ingress, "/plain/run", &json!(n)).await?.expect(200)?;
                ensure!(answer.body == n + 3, "a wrong result: {}", answer.text);
                Ok(())
            }
        })
        .await
    }

    async fn put(&mut self, from: u64, count: u64) -> Result<Ran> {
        let (ingress, work) = (self.ingress(), self.place.work);
        drive(PUTTERS, Enough::Calls(count), move |number| {
            let (ingress, n) = (ingress.clone(), from + number);
            async move {
                let path = match work {
                    // Nobody will ask for its result.
                    Work::Timer => "/plain/run/send".to_owned(),
                    Work::Steps | Work::Call | Work::Witnessed => format!("/keyed/{n}/run/send"),
                };
                post(&ingress, &path, &json!(n)).await?.expect(202)?;
                Ok(())
            }
        })
        .await
    }

    async fn ended(&mut self, count: u64, limit: Duration) -> Result<u64> {
        let (admin, began) = (self.admin(), Instant::now());
        loop {
            let answer = post(&admin, "/query", &json!({"query": COUNT})).await?;
            // For a moment after a start it has no answer, because nobody leads the partitions.
            let ended = answer.body["rows"][0]["n"].as_u64();
            if began.elapsed() > limit {
                return ended.with_context(|| format!("no count in {}", answer.text));
            }
            if let Some(ended) = ended.filter(|ended| *ended >= count) {
                return Ok(ended);
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn results(&mut self, count: u64) -> Result<Results> {
        let (ingress, (sender, mut found)) =
            (self.ingress(), tokio::sync::mpsc::unbounded_channel());
        let read = drive(READERS, Enough::Calls(count), move |n| {
            let (ingress, sender) = (ingress.clone(), sender.clone());
            async move {
                let path = format!("/restate/workflow/keyed/{n}/output");
                let answer = ingress.send(ingress.at_root(Method::GET, &path)).await?;
                // Any other status says that it has not ended, or is not known.
                if answer.status == 200 {
                    sender.send(answer.body == n + 3)?;
                }
                Ok(())
            }
        });
        read.await?.without_errors()?;
        let mut results = Results::default();
        while let Some(right) = found.recv().await {
            results.ended += 1;
            results.wrong += u64::from(!right);
        }
        Ok(results)
    }

    async fn kill(&mut self) -> Result<()> {
        self.server.kill().await?;
        self.handlers.kill().await
    }

    async fn start_again(&mut self) -> Result<()> {
        (self.server, self.handlers) = start(&self.place, self.ports).await?;
        Ok(())
    }

    async fn stop(mut self: Box<Self>) -> Result<()> {
        self.handlers.stop().await?;
        self.server.stop().await
    }
}
