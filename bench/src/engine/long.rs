//! One execution that has gone round for long: what a round takes, and how fast it is gone on with.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sqlx::{Connection, PgConnection};
use testkit::everstep::Setup;

/// How often it goes round: a thousand times a thousand.
pub(crate) const ROUNDS: u64 = 1_000_000;

/// How long that may take.
const PATIENCE: Duration = Duration::from_mins(20);
/// How often it is asked whether it waits.
const EVERY: Duration = Duration::from_millis(100);

/// It goes round, waits for an hour, and is somebody's whose process was killed.
const DOCUMENT: &str = r"
document: {dsl: '1.0.3', namespace: bench, name: long, version: '1.0.0'}
do:
  - thousand:
      for: {in: '[range(1000)]'}
      do:
        - times:
            for: {in: '[range(1000)]'}
            do:
              - count: {set: {n: '${ .n + 1 }'}}
  - rest: {wait: {hours: 1}}
";

/// What it took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Long {
    /// Seconds for all rounds.
    pub(crate) took: f64,
    /// How many events it has.
    pub(crate) events: i64,
    /// Milliseconds that a new process took for the first thing that happened to it.
    pub(crate) resumed: f64,
}

/// Runs one on an empty database, with files in an empty directory.
pub(crate) async fn run(url: &str, files: &Path) -> Result<Long> {
    let mut server = Setup::new(files.join("data"))?.database(url).start().await?;
    let client = server.client();
    let workflow = client.post_document("/workflows", DOCUMENT).await?.expect(201)?.body;
    let workflow = format!("/workflows/{}", workflow["id"].as_str().context("no id")?);
    let began = Instant::now();
    let started = client.post(&format!("{workflow}/execute"), &json!({"input": {"n": 0}})).await?;
    let id = started.expect(202)?.body["id"].as_str().context("no id")?.to_owned();
    let mut database = PgConnection::connect(url).await?;
    let waits =
        "SELECT EXISTS (SELECT FROM rm.work WHERE due_at > clock_timestamp() + interval '30 min')";
    while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&mut database).await? {
        ensure!(began.elapsed() < PATIENCE, "it has not come to its end");
        tokio::time::sleep(EVERY).await;
    }
    let took = began.elapsed().as_secs_f64();
    let events = "SELECT max(version) FROM es.event WHERE category = 'execution'";
    let events = sqlx::query_scalar(events).fetch_one(&mut database).await?;
    database.close().await?;
    server.kill()?;
    server.start_again().await?;
    let client = server.client();
    // So that what is measured is not that the first request opens connections.
    client.get(&workflow).await?.expect(200)?;
    let began = Instant::now();
    let cancel = format!("{workflow}/executions/{id}/cancel");
    client.post(&cancel, &json!({"reason": "it was measured"})).await?.expect(202)?;
    let resumed = began.elapsed().as_secs_f64() * 1000.0;
    server.stop().await?;
    Ok(Long { took, events, resumed })
}
