//! `make bench-log`: how fast the log is, beside the most that the same Postgres does with the same
//! rows. `scripts/bench-log.sh` starts the server and this; docs/benchmarks.md has figures.

mod history;
mod live;
mod load;
mod long;
mod ours;
mod peer;
mod raw;
mod views;

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use bench::cost::Reading;
use bench::databases::Databases;

use crate::history::History;
use crate::load::{Ran, count};
use crate::ours::Load;
use crate::peer::PEERS;
use crate::raw::How;

/// That of the product, whose code is measured here.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Makes a database for each run, and prints what came of it.
struct Bench {
    databases: Databases,
    long: Duration,
    only: String,
    /// How long the log is of which read models are made.
    events: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let number = |name: &str, default: u64| match env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is no number")),
        Err(_) => Ok(default),
    };
    let mut bench = Bench {
        databases: Databases::new(env::var("DATABASE_URL").context("DATABASE_URL")?),
        long: Duration::from_secs(number("SECONDS_EACH", 4)?),
        only: env::var("ONLY").unwrap_or_default(),
        events: usize::try_from(number("EVENTS", 500_000)?)?,
    };
    println!("| what | callers | events/s | p50 ms | p99 ms | CPU µs/event | WAL bytes/event |");
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for round in 1..=number("ROUNDS", 1)? {
        if round > 1 {
            println!("| round {round} | | | | | | |");
        }
        limits(&mut bench).await?;
        appends(&mut bench).await?;
        models(&mut bench).await?;
        if env::var_os("LONG").is_some() {
            rebuilding(&mut bench).await?;
            growing(&mut bench).await?;
        }
        if let Some(directory) = env::var_os("PEERS") {
            peers(&mut bench, &PathBuf::from(directory)).await?;
        }
    }
    Ok(())
}

async fn limits(bench: &mut Bench) -> Result<()> {
    let long = bench.long;
    for callers in [1, 32] {
        bench
            .run("one row a commit", callers, async |url| raw::commits(url, callers, long).await)
            .await?;
    }
    for group in [100, 1000] {
        let name = format!("raw unnest × {group}");
        bench.run(&name, 1, async |url| raw::write(url, How::Unnest, group, long).await).await?;
    }
    bench
        .run("raw COPY × 1000", 1, async |url| raw::write(url, How::Copy, 1000, long).await)
        .await?;
    Ok(())
}

async fn appends(bench: &mut Bench) -> Result<()> {
    let long = bench.long;
    for callers in [1, 8, 32, 256] {
        let load = Load { callers, long, logs: 1, stale: 0, sealed: false };
        bench.run("everstep", callers, async |url| ours::append(url, load).await).await?;
    }
    let load = Load { callers: 256, long, logs: 1, stale: 10, sealed: false };
    bench.run("everstep, 10 % conflicts", 256, async |url| ours::append(url, load).await).await?;
    let load = Load { callers: 256, long, logs: 4, stale: 0, sealed: false };
    bench.run("everstep, 4 logs", 256, async |url| ours::append(url, load).await).await?;
    let load = Load { callers: 256, long: long * 2, logs: 1, stale: 0, sealed: true };
    bench.run("everstep, sealed at once", 256, async |url| ours::append(url, load).await).await?;
    let load = Load { callers: 32, ..load };
    bench.run("everstep, sealed at once", 32, async |url| ours::append(url, load).await).await?;
    bench
        .run("everstep, load a stream of 100", 8, async |url| {
            eventstore::migrate(url).await?;
            ours::load(url, 8).await
        })
        .await?;
    if "everstep, read all, seal".contains(&bench.only) {
        let url = bench.databases.fresh().await?;
        ours::append(&url, Load { callers: 64, long, logs: 1, stale: 0, sealed: false }).await?;
        bench
            .measure("everstep, read all", 1, &url, async |url| ours::read(url, 2000).await)
            .await?;
        bench.measure("everstep, seal", 1, &url, ours::seal).await?;
    }
    Ok(())
}

/// What read models take, on a log of real executions.
async fn models(bench: &mut Bench) -> Result<()> {
    if !"models".contains(&bench.only) {
        return Ok(());
    }
    let files = tempfile::tempdir()?;
    let history = History::record(&bench.databases.fresh().await?, files.path()).await?;
    let url = bench.databases.fresh().await?;
    let filled = history.fill(&url, bench.events).await?;
    eprintln!("{filled} events of real executions");
    bench.measure("models: read into facts", 1, &url, views::decode).await?;
    bench.measure("models: rebuild all", 1, &url, views::rebuild).await?;
    bench.measure("models: verify all", 1, &url, views::verify).await?;
    let url = bench.databases.fresh().await?;
    history.fill(&url, bench.events).await?;
    let one = async |url: &str| views::catch_up(url, "executions").await;
    bench.measure("models: catch up executions", 1, &url, one).await?;
    Ok(())
}

/// How many events all read models are made anew of while everything goes on.
const MANY: usize = 5_000_000;

/// All read models of a long log, made anew under load. It takes some ten minutes.
async fn rebuilding(bench: &mut Bench) -> Result<()> {
    if !"models: rebuild all, 5 million".contains(&bench.only) {
        return Ok(());
    }
    let files = tempfile::tempdir()?;
    let history = History::record(&bench.databases.fresh().await?, files.path()).await?;
    let url = bench.databases.fresh().await?;
    history.fill(&url, MANY).await?;
    let all = async |url: &str| views::rebuild(url).await;
    bench.measure("models: rebuild all, 5 million", 1, &url, all).await?;
    let under_load = async |url: &str| live::rebuild_under_load(url, &history, MANY).await;
    bench.measure("models: rebuild all, 5 million, under load", 1, &url, under_load).await
}

/// What a log of so many million events makes slower. It takes a quarter of an hour and 25 GB.
async fn growing(bench: &mut Bench) -> Result<()> {
    if !"after 3 million, after 30 million".contains(&bench.only) {
        return Ok(());
    }
    let (url, long) = (bench.databases.fresh().await?, bench.long * 2);
    eventstore::migrate(&url).await?;
    for million in [3, 30] {
        long::fill(&url, million * 1_000_000).await?;
        let load = Load { callers: 32, long, logs: 1, stale: 0, sealed: false };
        let name = format!("after {million} million: append");
        bench.measure(&name, 32, &url, async |url| ours::append(url, load).await).await?;
        let name = format!("after {million} million: load a stream of 20");
        bench.measure(&name, 8, &url, async |url| long::load(url, 8, long).await).await?;
    }
    Ok(())
}

async fn peers(bench: &mut Bench, directory: &Path) -> Result<()> {
    let long = bench.long;
    for name in PEERS {
        for callers in [1, 8, 32] {
            let how = (callers, long);
            bench
                .run(name, callers, async |url| {
                    peer::run(directory, name, url, "append", how).await
                })
                .await?;
        }
    }
    Ok(())
}

impl Bench {
    /// Runs `work` on a database of its own and prints a line.
    async fn run<F>(&mut self, name: &str, callers: u64, work: F) -> Result<()>
    where
        F: AsyncFnOnce(&str) -> Result<Ran>,
    {
        if !format!("{name} {callers}").contains(&self.only) {
            return Ok(());
        }
        let url = self.databases.fresh().await?;
        self.measure(name, callers, &url, work).await
    }

    /// Runs `work` on a database and prints a line.
    async fn measure<F>(&self, name: &str, callers: u64, url: &str, work: F) -> Result<()>
    where
        F: AsyncFnOnce(&str) -> Result<Ran>,
    {
        let before = Reading::take(url, &[std::process::id()]).await?;
        let ran = work(url).await.with_context(|| format!("{name}, {callers} callers"))?;
        let (processor, wal) = before.since(url, count(ran.events)).await?;
        let cell = |time: Option<f64>| time.map_or(String::new(), |time| format!("{time:.2}"));
        let (rate, p50, p99) = (ran.per_second(), cell(ran.p50), cell(ran.p99));
        println!("| {name} | {callers} | {rate:.0} | {p50} | {p99} | {processor:.1} | {wal:.0} |");
        Ok(())
    }
}
