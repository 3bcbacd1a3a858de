//! `make bench-engine`: what a workflow takes. `scripts/bench-engine.sh` starts the server and this;
//! docs/benchmarks.md has figures.

mod everstep;
mod load;

use std::env;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Context, Result};
use bench::cost::Reading;
use bench::databases::Databases;
use tempfile::TempDir;

use crate::everstep::Everstep;
use crate::load::{Enough, Ran, float};
use testkit::slow::Slow;

/// How long the world takes to answer a call.
const LATE: Duration = Duration::from_millis(50);
const BACKLOG: u64 = 5_000;

/// Makes a database for each run, and prints what came of it.
struct Bench {
    databases: Databases,
    long: Duration,
    only: String,
    files: TempDir,
}

#[tokio::main]
async fn main() -> Result<()> {
    let number = |name: &str, default: u64| match env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is no number")),
        Err(_) => Ok(default),
    };
    let readable = Permissions::from_mode(0o755);
    let mut files = tempfile::Builder::new();
    let mut bench = Bench {
        databases: Databases::new(env::var("DATABASE_URL").context("DATABASE_URL")?),
        long: Duration::from_secs(number("SECONDS_EACH", 20)?),
        only: env::var("ONLY").unwrap_or_default(),
        files: files.prefix("everstep-bench.").permissions(readable).tempdir()?,
    };
    println!(
        "| what | callers | workflows/s | p50 ms | p95 ms | p99 ms | CPU ms each | WAL bytes each |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    for round in 1..=number("ROUNDS", 1)? {
        if round > 1 {
            println!("| round {round} | | | | | | | |");
        }
        for callers in [1, 64, 512] {
            bench.steps(callers).await?;
        }
        bench.calls(500).await?;
        bench.backlog().await?;
    }
    Ok(())
}

impl Bench {
    fn wants(&self, name: &str, callers: u64) -> bool {
        format!("{name} {callers}").contains(&self.only)
    }

    /// Three steps that call nobody.
    async fn steps(&mut self, callers: u64) -> Result<()> {
        let name = "everstep: three steps";
        if !self.wants(name, callers) {
            return Ok(());
        }
        let url = self.databases.fresh().await?;
        let everstep = Everstep::start(&url, &self.room(name)?).await?;
        self.measure(name, callers, &url, everstep).await
    }

    /// A call to somebody slow between two steps.
    async fn calls(&mut self, callers: u64) -> Result<()> {
        let name = "everstep: a call of 50 ms";
        if !self.wants(name, callers) {
            return Ok(());
        }
        let url = self.databases.fresh().await?;
        let slow = Slow::start(LATE).await?;
        let everstep = Everstep::calling(&url, &self.room(name)?, &slow).await?;
        self.measure(name, callers, &url, everstep).await
    }

    async fn measure(&self, name: &str, callers: u64, url: &str, of: Everstep) -> Result<()> {
        of.run(callers, Enough::Time(self.long / 4)).await?;
        let before = Reading::take(url, &[of.pid()]).await?;
        let ran = of.run(callers, Enough::Time(self.long)).await?;
        print(name, callers, &ran, before.since(url, float(ran.workflows)).await?);
        of.stop().await
    }

    async fn backlog(&mut self) -> Result<()> {
        let name = "everstep: a backlog of 5,000";
        if !self.wants(name, 32) {
            return Ok(());
        }
        let url = self.databases.fresh().await?;
        let everstep = Everstep::start(&url, &self.room(name)?).await?;
        everstep.drain(BACKLOG / 5).await?;
        let before = Reading::take(&url, &[everstep.pid()]).await?;
        let ran = everstep.drain(BACKLOG).await?;
        print(name, 32, &ran, before.since(&url, float(BACKLOG)).await?);
        everstep.stop().await
    }

    /// An empty directory.
    fn room(&self, name: &str) -> Result<std::path::PathBuf> {
        let prefix: String = name.chars().filter(char::is_ascii_alphabetic).collect();
        let directory = tempfile::Builder::new().prefix(&prefix).tempdir_in(self.files.path())?;
        Ok(directory.keep())
    }
}

fn print(name: &str, callers: u64, ran: &Ran, (processor, wal): (f64, f64)) {
    let cell = |percent| ran.within(percent).map_or(String::new(), |time| format!("{time:.1}"));
    let (rate, processor) = (ran.per_second(), processor / 1000.0);
    let (p50, p95, p99) = (cell(50), cell(95), cell(99));
    println!(
        "| {name} | {callers} | {rate:.0} | {p50} | {p95} | {p99} | {processor:.2} | {wal:.0} |"
    );
}
