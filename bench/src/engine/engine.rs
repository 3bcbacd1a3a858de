//! What every engine is asked to do here, whoever made it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use async_trait::async_trait;

use crate::everstep::Everstep;
use crate::library::Library;
use crate::load::Ran;
use crate::restate::Restate;

/// How many callers put workflows in that nobody waits for.
pub(crate) const PUTTERS: u64 = 32;

/// The workflow that an engine has. All but the last make n + 3 of n, in three durable steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// The steps call nobody.
    Steps,
    /// The second calls somebody slow.
    Call,
    /// Each calls somebody who keeps count.
    Witnessed,
    /// It waits for an hour.
    Timer,
}

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Everstep,
    Restate,
    Dbos,
    Absurd,
    PgBoss,
}

/// Where an engine runs, and for what.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// A database of its own.
    pub(crate) url: String,
    /// An empty directory of its own.
    pub(crate) files: PathBuf,
    /// Where the programs of the peers are.
    pub(crate) programs: PathBuf,
    pub(crate) work: Work,
    /// Whom its steps call.
    pub(crate) outside: Option<String>,
    /// How many workflows are to be under way at once.
    pub(crate) callers: u64,
    /// How many workers there are beside the first process, where there can be.
    pub(crate) more: usize,
}

/// What came of workflows that were put in.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Results {
    /// How many of them have ended, each counted once.
    pub(crate) ended: u64,
    /// How many with a wrong result.
    pub(crate) wrong: u64,
}

/// An engine that runs, with one workflow.
#[async_trait]
pub(crate) trait Engine: Send {
    /// Its processes, without Postgres.
    fn pids(&self) -> Vec<u32>;

    /// Has each of some callers start workflows, one after the other, and check what comes of each.
    async fn run(&mut self, callers: u64, long: Duration) -> Result<Ran>;

    /// Puts so many workflows in, with [`PUTTERS`] callers, the first of them with the number `from`.
    async fn put(&mut self, from: u64, count: u64) -> Result<Ran>;

    /// Waits until so many have ended since its database was made, or for so long; how many have.
    async fn ended(&mut self, count: u64, limit: Duration) -> Result<u64>;

    /// What came of those that were put in; they have the numbers below `count`.
    async fn results(&mut self, count: u64) -> Result<Results>;

    /// `kill -9` of all its processes. Postgres stays.
    async fn kill(&mut self) -> Result<()>;

    /// Starts it again after that.
    async fn start_again(&mut self) -> Result<()>;

    /// Ends it.
    async fn stop(self: Box<Self>) -> Result<()>;
}

impl Who {
    pub(crate) const PEERS: [Self; 4] = [Self::Restate, Self::Dbos, Self::Absurd, Self::PgBoss];

    /// What it is called in the tables; of a peer also the name of its program.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Everstep => "everstep",
            Self::Restate => "restate",
            Self::Dbos => "dbos",
            Self::Absurd => "absurd",
            Self::PgBoss => "pg-boss",
        }
    }

    /// Whether Postgres is where it keeps what it must not lose.
    pub(crate) fn keeps_to_postgres(self) -> bool {
        self != Self::Restate
    }

    /// Starts one.
    pub(crate) async fn start(self, place: Place) -> Result<Box<dyn Engine>> {
        Ok(match self {
            Self::Everstep => Box::new(Everstep::start(&place).await?),
            Self::Restate => Box::new(Restate::start(place).await?),
            Self::Dbos | Self::Absurd | Self::PgBoss => {
                Box::new(Library::start(self.name(), place).await?)
            }
        })
    }
}

impl Work {
    /// What the programs of the peers call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Call => "call",
            Self::Witnessed => "witnessed",
            Self::Timer => "timer",
        }
    }
}

impl Ran {
    /// This if nothing went wrong.
    pub(crate) fn without_errors(self) -> Result<Self> {
        let error = self.error.as_deref().unwrap_or_default();
        ensure!(self.errors == 0, "{} errors, the first: {error}", self.errors);
        Ok(self)
    }
}
