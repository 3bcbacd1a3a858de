//! Everstep as its users have it: over HTTP, with authentication, read models and the audit on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use serde_json::{Value, json};
use testkit::api::Client;
use testkit::everstep::{Server, Setup};
use testkit::process::Process;

use crate::engine::{Engine, PUTTERS, Place, Results, Work};
use crate::load::{Enough, Ran, drive};

/// How long a caller waits for one workflow.
const PATIENCE: &str = "60s";
/// How often it is asked whether they have ended.
const EVERY: Duration = Duration::from_millis(10);
/// How many callers look at results.
const READERS: u64 = 8;

/// An instance, and a workflow that it has.
pub(crate) struct Everstep {
    server: Server,
    /// Workers beside it.
    more: Vec<Process>,
    client: Client,
    /// The workflow's path.
    workflow: String,
    work: Work,
}

impl Everstep {
    /// Starts one.
    pub(crate) async fn start(place: &Place) -> Result<Self> {
        let setup = Setup::new(place.files.join("data"))?.database(&place.url);
        let server = setup.env("EVERSTEP_EGRESS_ALLOW", "127.0.0.0/8").start().await?;
        let client = server.client();
        let document = document(place.work, place.outside.as_deref().unwrap_or_default());
        let workflow = client.post_document("/workflows", &document).await?.expect(201)?.body;
        let id = workflow["id"].as_str().context("no id")?;
        let workflow = format!("/workflows/{id}");
        let worker = |_| Process::work(server.setup(), &place.url);
        let more = (0..place.more).map(worker).collect::<Result<_>>()?;
        Ok(Self { server, more, client, workflow, work: place.work })
    }

    /// How many workflows have completed, as analytics tells.
    async fn completed(&self) -> Result<u64> {
        let answer = self.client.get("/analytics/dashboard").await?.expect(200)?;
        let count = answer.body["executions"]["completed"].as_u64();
        let Some(count) = count else { bail!("no count in {}", answer.text) };
        Ok(count)
    }
}

#[async_trait]
impl Engine for Everstep {
    fn pids(&self) -> Vec<u32> {
        let more = self.more.iter().map(Process::pid);
        [self.server.pid()].into_iter().chain(more).collect()
    }

    async fn run(&mut self, callers: u64, long: Duration) -> Result<Ran> {
        let path = format!("{}/execute?wait={PATIENCE}", self.workflow);
        let client = self.client.clone();
        drive(callers, Enough::Time(long), move |n| {
            let (client, path) = (client.clone(), path.clone());
            async move {
                let answer = client.post(&path, &json!({"input": {"n": n}})).await?.expect(200)?;
                ensure!(answer.body["output"]["n"] == n + 3, "a wrong result: {}", answer.text);
                Ok(())
            }
        })
        .await
    }

    async fn put(&mut self, from: u64, count: u64) -> Result<Ran> {
        let (client, path) = (self.client.clone(), format!("{}/execute", self.workflow));
        let witnessed = self.work == Work::Witnessed;
        drive(PUTTERS, Enough::Calls(count), move |number| {
            let (client, path, n) = (client.clone(), path.clone(), from + number);
            async move {
                let input = if witnessed { json!({"id": n, "n": n}) } else { json!({"n": n}) };
                client.post(&path, &json!({"input": input})).await?.expect(202)?;
                Ok(())
            }
        })
        .await
    }

    async fn ended(&mut self, count: u64, limit: Duration) -> Result<u64> {
        let began = Instant::now();
        loop {
            let ended = self.completed().await?;
            if ended >= count || began.elapsed() > limit {
                return Ok(ended);
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn results(&mut self, _count: u64) -> Result<Results> {
        let executions = self.client.all(&format!("{}/executions", self.workflow)).await?;
        let completed = executions.iter().filter(|execution| execution["status"] == "completed");
        let paths: Arc<[String]> = completed
            .map(|execution| {
                let id = execution["id"].as_str().context("no id")?;
                Ok(format!("{}/executions/{id}", self.workflow))
            })
            .collect::<Result<_>>()?;
        let wrong = Arc::new(AtomicU64::new(0));
        let ended = u64::try_from(paths.len())?;
        let (client, found) = (self.client.clone(), wrong.clone());
        let read = drive(READERS, Enough::Calls(ended), move |nth| {
            let (client, paths, found) = (client.clone(), paths.clone(), found.clone());
            async move {
                let path = &paths[usize::try_from(nth)?];
                let told = client.get(path).await?.expect(200)?.body;
                let input = told["input"]["n"].as_u64().context("no input")?;
                if told["output"]["n"] != input + 3 {
                    found.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }
        });
        read.await?.without_errors()?;
        Ok(Results { ended, wrong: wrong.load(Ordering::Relaxed) })
    }

    async fn kill(&mut self) -> Result<()> {
        self.more.clear();
        self.server.kill()
    }

    async fn start_again(&mut self) -> Result<()> {
        self.server.start_again().await?;
        self.client = self.server.client();
        Ok(())
    }

    async fn stop(mut self: Box<Self>) -> Result<()> {
        for worker in &mut self.more {
            worker.stop().await?;
        }
        self.server.stop().await.map(drop)
    }
}

/// A workflow document; JSON is YAML too.
fn document(work: Work, outside: &str) -> String {
    let add = json!({"set": {"n": "${ .n + 1 }"}});
    let call = |url: String, body: Value, output: &str| {
        let with = json!({"method": "post", "endpoint": url, "body": body});
        json!({"call": "http", "with": with, "output": {"as": output}})
    };
    let steps = match work {
        Work::Steps => [add.clone(), add.clone(), add].to_vec(),
        Work::Call => {
            let two = call(outside.to_owned(), json!({"n": "${ .n }"}), "${ {n: (.n + 1)} }");
            [add.clone(), two, add].to_vec()
        }
        Work::Witnessed => {
            let body = json!({"id": "${ .id }", "n": "${ .n }"});
            let output = "${ {id: .id, n: (.n + 1)} }";
            [1, 2, 3].map(|step| call(format!("{outside}{step}"), body.clone(), output)).to_vec()
        }
        Work::Timer => vec![json!({"wait": {"hours": 1}})],
    };
    let steps = steps.into_iter().zip(["one", "two", "three"]);
    let steps: Vec<Value> = steps.map(|(step, name)| json!({ name: step })).collect();
    let name = work.name();
    let document = json!({"dsl": "1.0.3", "namespace": "bench", "name": name, "version": "1.0.0"});
    json!({"document": document, "do": steps}).to_string()
}
