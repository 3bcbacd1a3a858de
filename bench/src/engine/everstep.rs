//! Everstep as its users have it: over HTTP, with authentication, read models and the audit on.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use testkit::api::Client;
use testkit::everstep::{Server, Setup};

use crate::load::{Enough, Ran, drive};
use testkit::slow::Slow;

/// How long a caller waits for one workflow.
const PATIENCE: &str = "60s";
/// Three steps, each its input and one.
const STEPS: &str = "
document: {dsl: 1.0.3, namespace: bench, name: steps, version: 1.0.0}
do:
  - one: {set: {n: '${ .n + 1 }'}}
  - two: {set: {n: '${ .n + 1 }'}}
  - three: {set: {n: '${ .n + 1 }'}}
";
/// How many callers put a backlog in.
const PUTTERS: u64 = 32;

/// An instance, and a workflow that it has.
pub(crate) struct Everstep {
    server: Server,
    client: Client,
    path: String,
}

impl Everstep {
    /// Starts one on a database, with the workflow of three steps.
    pub(crate) async fn start(url: &str, files: &Path) -> Result<Self> {
        Self::with(Setup::new(files.join("data"))?.database(url), STEPS).await
    }

    /// The same, with a second step that calls somebody slow.
    pub(crate) async fn calling(url: &str, files: &Path, slow: &Slow) -> Result<Self> {
        let setup = Setup::new(files.join("data"))?.database(url);
        let setup = setup.env("EVERSTEP_EGRESS_ALLOW", "127.0.0.1");
        let document = format!(
            "
document: {{dsl: 1.0.3, namespace: bench, name: calling, version: 1.0.0}}
do:
  - one: {{set: {{n: '${{ .n + 1 }}'}}}}
  - two:
      call: http
      with: {{method: post, endpoint: {}, body: {{n: '${{ .n }}'}}}}
      output: {{as: '${{ {{n: (.n + 1)}} }}'}}
  - three: {{set: {{n: '${{ .n + 1 }}'}}}}
",
            slow.url()
        );
        Self::with(setup, &document).await
    }

    async fn with(setup: Setup, document: &str) -> Result<Self> {
        let server = setup.start().await?;
        let client = server.client();
        let workflow = client.post_document("/workflows", document).await?.expect(201)?.body;
        let id = workflow["id"].as_str().context("no id")?;
        let path = format!("/workflows/{id}/execute");
        Ok(Self { server, client, path })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    pub(crate) async fn stop(mut self) -> Result<()> {
        self.server.stop().await.map(drop)
    }

    /// Runs workflows one after the other for each of some callers.
    pub(crate) async fn run(&self, callers: u64, enough: Enough) -> Result<Ran> {
        let (client, path) = (self.client.clone(), format!("{}?wait={PATIENCE}", self.path));
        drive(callers, enough, move |n| {
            let (client, path) = (client.clone(), path.clone());
            async move {
                let answer = client.post(&path, &json!({"input": {"n": n}})).await?.expect(200)?;
                ensure!(answer.body["output"]["n"] == n + 3, "a wrong result: {}", answer.text);
                Ok(())
            }
        })
        .await
    }

    /// Puts workflows in as fast as they are taken, and waits until the last one has ended.
    pub(crate) async fn drain(&self, count: u64) -> Result<Ran> {
        let (client, path) = (self.client.clone(), self.path.clone());
        let began = Instant::now();
        let before = self.ended().await?;
        drive(PUTTERS, Enough::Calls(count), move |n| {
            let (client, path) = (client.clone(), path.clone());
            async move {
                client.post(&path, &json!({"input": {"n": n}})).await?.expect(202)?;
                Ok(())
            }
        })
        .await?;
        while self.ended().await? < before + count {
            ensure!(began.elapsed() < Duration::from_mins(5), "they do not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Ran::new(count, began, vec![]))
    }

    /// How many workflows have completed, as analytics tells.
    async fn ended(&self) -> Result<u64> {
        let answer = self.client.get("/analytics/dashboard").await?.expect(200)?;
        let count = answer.body["executions"]["completed"].as_u64();
        let Some(count) = count else { bail!("no count in {}", answer.text) };
        Ok(count)
    }
}
