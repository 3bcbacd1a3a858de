//! `make bench`: how many small workflows a second run over HTTP, on a private Postgres as durable
//! as any other, beside what that Postgres does at most in the same minute. `scripts/bench.sh`
//! builds and starts this; docs/benchmarks.md has figures.

use std::env;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::stream::{self, StreamExt, TryStreamExt};
use serde_json::json;
use sqlx::postgres::PgPoolOptions;
use testkit::api::Client;
use testkit::everstep::Setup;

/// Three tasks that call nothing: what is measured is Everstep, not the world.
const DOCUMENT: &str = "
document: {dsl: 1.0.3, namespace: bench, name: three-steps, version: 1.0.0}
do:
  - double: {set: {n: '${ .n * 2 }'}}
  - even: {switch: [{yes: {when: .n % 2 == 0, then: done}}, {no: {then: end}}]}
  - done: {set: {result: '${ .n }'}}
";

/// Connections of the reference; the server has 100, and Everstep some of them.
const CONNECTIONS: usize = 32;

#[tokio::main]
async fn main() -> Result<()> {
    let executions = number("EXECUTIONS", 2000)?;
    let callers = number("CALLERS", 16)?;
    // The database's account must get through when root runs this.
    let readable = Permissions::from_mode(0o755);
    let mut builder = tempfile::Builder::new();
    let files = builder.prefix("everstep-bench.").permissions(readable).tempdir()?;
    let mut server = Setup::new(files.path().join("data"))?.start().await?;
    let client = server.client();
    let workflow = client.post_document("/workflows", DOCUMENT).await?.expect(201)?.body;
    let id = workflow["id"].as_str().context("no id")?;
    let path = format!("/workflows/{id}/execute?wait=30s");

    let warm_up = executions.div_ceil(10);
    run(&client, &path, warm_up, callers).await?;
    let began = Instant::now();
    let mut times = run(&client, &path, executions, callers).await?;
    let took = began.elapsed().as_secs_f64();

    let commits = commits(&server.dev().database_url, executions, callers).await?;

    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
    let rate = f64::from(u32::try_from(executions)?) / took;
    println!("{executions} executions of 3 tasks by {callers} callers in {took:.2} s:");
    println!("  {rate:.0} executions/s, from the request to the answer with the output");
    println!("  p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms", at(50), at(95), at(99));
    println!("  {commits:.0} commits/s of one row by as many callers, on the same Postgres");
    println!("  {:.2} executions for each of those commits", rate / commits);
    server.stop().await?;
    Ok(())
}

/// The named reference: how many transactions a second Postgres takes that do nothing but store
/// one row of a kilobyte, from as many callers on at most as many connections as the server has.
async fn commits(url: &str, count: usize, callers: usize) -> Result<f64> {
    let connections = u32::try_from(callers.min(CONNECTIONS))?;
    let pool = PgPoolOptions::new().min_connections(connections).max_connections(connections);
    let pool = pool.connect(url).await?;
    sqlx::query("CREATE TABLE public.bench (id bigserial PRIMARY KEY, row jsonb NOT NULL)")
        .execute(&pool)
        .await?;
    let row = json!({"row": "x".repeat(1000)});
    let one = |_| {
        let insert = sqlx::query("INSERT INTO public.bench (row) VALUES ($1)").bind(&row);
        insert.execute(&pool)
    };
    let began = Instant::now();
    stream::iter(0..count).map(one).buffer_unordered(callers).try_collect::<Vec<_>>().await?;
    Ok(f64::from(u32::try_from(count)?) / began.elapsed().as_secs_f64())
}

/// How long each of `count` executions took.
async fn run(client: &Client, path: &str, count: usize, callers: usize) -> Result<Vec<Duration>> {
    let one = |n: usize| async move {
        let began = Instant::now();
        let answer = client.post(path, &json!({"input": {"n": n}})).await?.expect(200)?;
        ensure!(answer.body["output"]["result"] == 2 * n, "a wrong result: {}", answer.text);
        Ok(began.elapsed())
    };
    stream::iter(0..count).map(one).buffer_unordered(callers).try_collect().await
}

fn number(name: &str, default: usize) -> Result<usize> {
    let number = match env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is no number"))?,
        Err(_) => default,
    };
    ensure!(number > 0, "{name} is 0");
    Ok(number)
}
