//! `make bench-engine`: what a workflow takes, and what it takes others. `scripts/bench-engine.sh`
//! starts the server and this; docs/benchmarks.md has figures, bench/peers/README.md what the others
//! are.

mod engine;
mod everstep;
mod library;
mod load;
mod long;
mod program;
mod raw;
mod restate;
mod table;
mod works;

use std::env;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bench::cost::Reading;
use bench::databases::Databases;
use tempfile::TempDir;
use testkit::slow::Slow;
use testkit::witness::Witness;

use crate::engine::{Place, Who, Work};
use crate::table::Table;
use crate::works::{CUT_OFF, Load};

/// How long the world takes to answer a call.
const LATE: Duration = Duration::from_millis(50);
/// How many workflows of a backlog are under way at once, where somebody has to say so.
const AT_ONCE: u64 = 128;
/// With how many callers the peers run the three steps.
const COMPARED: u64 = 64;
/// How many workflows there have been where there have been many.
const HISTORY: u64 = 1_000_000;

/// Makes a database for each run, and prints what came of it.
struct Bench {
    databases: Databases,
    long: Duration,
    only: String,
    /// Whether there is time for what takes long.
    history: bool,
    /// Where the programs of the peers are, if they are to run.
    peers: Option<PathBuf>,
    files: TempDir,
    table: Table,
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
        history: env::var("LONG").is_ok_and(|long| long == "yes"),
        peers: env::var_os("PEERS").map(PathBuf::from),
        files: files.prefix("everstep-bench.").permissions(readable).tempdir()?,
        table: Table::default(),
    };
    for round in 1..=number("ROUNDS", 1)? {
        if round > 1 {
            println!("\nRound {round}\n");
        }
        for callers in [1, COMPARED, 512] {
            bench.steps(callers).await?;
        }
        bench.grown().await?;
        bench.calls(500).await?;
        bench.backlog(engine::PUTTERS).await?;
        bench.commits().await?;
        bench.floor(4).await?;
        bench.parked().await?;
        bench.killed().await?;
        bench.long().await?;
        bench.table.compare();
    }
    Ok(())
}

impl Bench {
    fn wants(&self, name: &str, callers: u64) -> bool {
        format!("{name} {callers}").contains(&self.only)
    }

    /// Who is to do a piece of work.
    fn engines(&self, what: &str, callers: u64) -> Vec<Who> {
        let peers = Who::PEERS.into_iter().filter(|_| self.peers.is_some());
        let all = [Who::Everstep].into_iter().chain(peers);
        all.filter(|who| self.wants(&format!("{}: {what}", who.name()), callers)).collect()
    }

    /// An empty database and an empty directory.
    async fn place(
        &mut self,
        who: Who,
        work: Work,
        outside: Option<String>,
        callers: u64,
    ) -> Result<Place> {
        let prefix = format!("{}-{}.", who.name(), work.name());
        let files = tempfile::Builder::new().prefix(&prefix).tempdir_in(self.files.path())?.keep();
        let url = self.databases.instead().await?;
        let programs = self.peers.clone().unwrap_or_default();
        Ok(Place { url, files, programs, work, outside, callers, more: 0 })
    }

    /// What came of a run. One that a peer could not do is left out, and said to be; Everstep has to.
    fn known<T>(who: Who, what: &str, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(known) => Ok(Some(known)),
            Err(error) if who == Who::Everstep => Err(error.context(what.to_owned())),
            Err(error) => {
                eprintln!("{} left out of '{what}': {error:#}", who.name());
                Ok(None)
            }
        }
    }

    /// Three steps that call nobody.
    async fn steps(&mut self, callers: u64) -> Result<()> {
        let what = "three steps";
        for who in self.engines(what, callers) {
            if who == Who::Everstep || callers == COMPARED {
                let place = self.place(who, Work::Steps, None, callers).await?;
                self.load(who, what, place, 0).await?;
            }
        }
        Ok(())
    }

    /// The three steps when there is more of everything.
    async fn grown(&mut self) -> Result<()> {
        let grown =
            [("three steps, 3 processes", 2, 0), ("three steps after a million", 0, HISTORY)];
        for (what, more, history) in grown {
            let is_long = history > 0 && !self.history;
            if is_long || !self.wants(&format!("{}: {what}", Who::Everstep.name()), COMPARED) {
                continue;
            }
            let place = self.place(Who::Everstep, Work::Steps, None, COMPARED).await?;
            self.load(Who::Everstep, what, Place { more, ..place }, history).await?;
        }
        Ok(())
    }

    /// A call to somebody slow between two steps.
    async fn calls(&mut self, callers: u64) -> Result<()> {
        let what = "a call of 50 ms";
        for who in self.engines(what, callers) {
            let slow = Slow::start(LATE).await?;
            let place = self.place(who, Work::Call, Some(slow.url()), callers).await?;
            self.load(who, what, place, 0).await?;
        }
        Ok(())
    }

    async fn load(&mut self, who: Who, what: &str, place: Place, history: u64) -> Result<()> {
        let callers = place.callers;
        let load = works::load(who, place, self.long, history).await.and_then(free_of_errors(who));
        if let Some(load) = Self::known(who, what, load)? {
            self.table.load(who, what, callers, &load);
        }
        Ok(())
    }

    async fn backlog(&mut self, callers: u64) -> Result<()> {
        let what = "a backlog of 5,000";
        for who in self.engines(what, callers) {
            let place = self.place(who, Work::Steps, None, AT_ONCE).await?;
            if let Some(load) = Self::known(who, what, works::backlog(who, place).await)? {
                self.table.load(who, what, callers, &load);
            }
        }
        Ok(())
    }

    /// One row after the other.
    async fn commits(&mut self) -> Result<()> {
        let name = "raw: one row a commit";
        if !self.wants(name, 1) {
            return Ok(());
        }
        let url = self.databases.instead().await?;
        let before = Reading::take(&url, &[std::process::id()]).await?;
        let ran = raw::commits(&url, self.long / 2).await?;
        let load = Load { ran, spent: before.spent(&url).await?, memory: 0.0 };
        self.table.floor(name, 1, &load);
        Ok(())
    }

    /// The same rows without an engine.
    async fn floor(&mut self, callers: u64) -> Result<()> {
        let name = "raw: 8 events each, 100 workflows a commit";
        if !self.wants(name, callers) {
            return Ok(());
        }
        let url = self.databases.instead().await?;
        raw::write(&url, callers, self.long / 8).await?;
        let url = self.databases.instead().await?;
        let before = Reading::take(&url, &[std::process::id()]).await?;
        let ran = raw::write(&url, callers, self.long / 2).await?;
        let load = Load { ran, spent: before.spent(&url).await?, memory: 0.0 };
        self.table.floor(name, callers, &load);
        Ok(())
    }

    async fn parked(&mut self) -> Result<()> {
        let (what, callers) = ("10,000 waiting for an hour", engine::PUTTERS);
        for who in self.engines(what, callers) {
            let place = self.place(who, Work::Timer, None, AT_ONCE).await?;
            if let Some(parked) = Self::known(who, what, works::parked(who, place).await)? {
                self.table.parked(who, what, &parked);
            }
        }
        Ok(())
    }

    /// One that has gone round a million times.
    async fn long(&mut self) -> Result<()> {
        let what = "a loop of 1,000,000";
        if !self.history || !self.wants(&format!("{}: {what}", Who::Everstep.name()), 1) {
            return Ok(());
        }
        let place = self.place(Who::Everstep, Work::Timer, None, 1).await?;
        let long = long::run(&place.url, &place.files).await?;
        self.table.long(Who::Everstep, what, &long);
        Ok(())
    }

    async fn killed(&mut self) -> Result<()> {
        let (what, callers) = ("killed with 1,000 in a call", engine::PUTTERS);
        for who in self.engines(what, callers) {
            let witness = Witness::start(LATE).await?;
            let place = self.place(who, Work::Witnessed, Some(witness.url()), CUT_OFF).await?;
            let killed = works::killed(who, place, &witness).await;
            if let Some(killed) = Self::known(who, what, killed)? {
                self.table.killed(who, what, &killed);
            }
        }
        Ok(())
    }
}

/// Everstep has to be without errors; of a peer they are counted, unless nothing else came.
fn free_of_errors(who: Who) -> impl FnOnce(Load) -> Result<Load> {
    move |load| {
        let ran = &load.ran;
        if ran.errors > 0 && (who == Who::Everstep || ran.workflows == 0) {
            bail!("{} errors, the first: {}", ran.errors, ran.error.as_deref().unwrap_or_default());
        }
        Ok(load)
    }
}
