//! The pieces of work, each measured on any engine.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bench::cost::{Peak, Reading, Spent, memory};
use sqlx::{Connection, Executor, PgConnection};
use testkit::witness::Witness;

use crate::engine::{Engine, Place, Who};
use crate::load::{Ran, float};

/// How many workflows wait in a backlog.
const BACKLOG: u64 = 5_000;
/// How many wait for an hour.
pub(crate) const PARKED: u64 = 10_000;
/// How many are in their second step when their engine is killed.
pub(crate) const CUT_OFF: u64 = 1_000;
/// How long they may take to end.
const PATIENCE: Duration = Duration::from_mins(5);
/// After how long without another one all have come that will come.
const GATHERING: Duration = Duration::from_secs(5);
/// How long an engine is given until it has nothing more to do.
const SETTLING: Duration = Duration::from_mins(2);
/// For how long it is watched whether it has, and how much of a core says that it has not.
const WATCH: Duration = Duration::from_secs(4);
const BUSY: f64 = 0.25;

/// What a load took.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) ran: Ran,
    pub(crate) spent: Spent,
    /// MiB at most.
    pub(crate) memory: f64,
}

/// What workflows took that wait for an hour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parked {
    pub(crate) per_second: f64,
    /// How much more there was afterwards, in bytes.
    pub(crate) memory: f64,
    pub(crate) disk: f64,
    pub(crate) spent: Spent,
}

/// What became of workflows whose engine was killed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Killed {
    /// How many were in their second step.
    pub(crate) inside: u64,
    /// Seconds until it was ready again, and until all had ended; none if they did not.
    pub(crate) back: f64,
    pub(crate) all: Option<f64>,
    pub(crate) lost: u64,
    pub(crate) wrong: u64,
    /// Steps that ran again though they had been answered before.
    pub(crate) redone: u64,
    /// Calls that had no answer at the kill and were made again.
    pub(crate) called_again: u64,
}

/// Callers that wait for each workflow, of an engine that has run so many before.
pub(crate) async fn load(who: Who, place: Place, long: Duration, history: u64) -> Result<Load> {
    let (url, callers) = (place.url.clone(), place.callers);
    let mut engine = who.start(place).await?;
    engine.put(0, history).await?.without_errors()?;
    engine.ended(history, PATIENCE).await?;
    engine.run(callers, long / 4).await?;
    let (before, peak) = begin(&url, engine.as_ref()).await?;
    let ran = engine.run(callers, long).await?;
    let load = Load { ran, spent: before.spent(&url).await?, memory: peak.most().await? };
    engine.stop().await?;
    Ok(load)
}

/// Workflows that are put in as fast as they are taken, to the end of the last one.
pub(crate) async fn backlog(who: Who, place: Place) -> Result<Load> {
    let url = place.url.clone();
    let mut engine = who.start(place).await?;
    let warm = BACKLOG / 5;
    drain(engine.as_mut(), 0, warm).await?;
    let (before, peak) = begin(&url, engine.as_ref()).await?;
    let ran = drain(engine.as_mut(), warm, BACKLOG).await?;
    let load = Load { ran, spent: before.spent(&url).await?, memory: peak.most().await? };
    let results = engine.results(warm + BACKLOG).await?;
    ensure!(results.wrong == 0, "{} wrong results", results.wrong);
    ensure!(results.ended == warm + BACKLOG, "only {} results", results.ended);
    engine.stop().await?;
    Ok(load)
}

async fn drain(engine: &mut dyn Engine, from: u64, count: u64) -> Result<Ran> {
    let began = Instant::now();
    engine.put(from, count).await?.without_errors()?;
    let ended = engine.ended(from + count, PATIENCE).await?;
    ensure!(ended == from + count, "{ended} of {} have ended", from + count);
    Ok(Ran::unwaited(count, began))
}

async fn begin(url: &str, engine: &dyn Engine) -> Result<(Reading, Peak)> {
    let pids = engine.pids();
    Ok((Reading::take(url, &pids).await?, Peak::watch(url, &pids).await?))
}

/// Workflows that wait for an hour.
pub(crate) async fn parked(who: Who, place: Place) -> Result<Parked> {
    let url = place.url.clone();
    let mut engine = who.start(place).await?;
    let pids = engine.pids();
    settle(&url, &pids).await?;
    let (disk, room) = (size(&url).await?, memory(&url, &pids).await?);
    let before = Reading::take(&url, &pids).await?;
    let put = engine.put(0, PARKED).await?.without_errors()?;
    settle(&url, &pids).await?;
    let spent = before.spent(&url).await?;
    let room = memory(&url, &pids).await? - room;
    let disk = if who.keeps_to_postgres() { size(&url).await? - disk } else { spent.written };
    engine.stop().await?;
    Ok(Parked { per_second: put.per_second(), memory: room * 1024.0 * 1024.0, disk, spent })
}

/// Waits until an engine does nothing but look whether there is something to do.
async fn settle(url: &str, pids: &[u32]) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < SETTLING {
        let before = Reading::take(url, pids).await?;
        tokio::time::sleep(WATCH).await;
        if before.spent(url).await?.processor < BUSY * WATCH.as_secs_f64() {
            break;
        }
    }
    Ok(())
}

/// Bytes that a database has on disk.
async fn size(url: &str) -> Result<f64> {
    let mut connection = PgConnection::connect(url).await?;
    connection.execute("CHECKPOINT").await?;
    let size = "SELECT pg_database_size(current_database())::float8";
    let size = sqlx::query_scalar(size).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(size)
}

/// Workflows that are in a call when their engine is killed.
pub(crate) async fn killed(who: Who, place: Place, witness: &Witness) -> Result<Killed> {
    let mut engine = who.start(place).await?;
    engine.put(0, CUT_OFF).await?.without_errors()?;
    let inside = witness.gather(CUT_OFF, GATHERING).await;
    engine.kill().await?;
    witness.answer();
    let began = Instant::now();
    engine.start_again().await?;
    let back = began.elapsed().as_secs_f64();
    let ended = engine.ended(CUT_OFF, PATIENCE).await?;
    let all = (ended >= CUT_OFF).then(|| began.elapsed().as_secs_f64());
    let results = engine.results(CUT_OFF).await?;
    engine.stop().await?;
    let [one, two, three] = [1, 2, 3].map(|step| witness.seen(step));
    Ok(Killed {
        inside,
        back,
        all,
        lost: CUT_OFF.saturating_sub(results.ended),
        wrong: results.wrong,
        redone: one.redone + two.redone + three.redone,
        called_again: two.repeated,
    })
}

impl Load {
    /// Milliseconds of processor time of a workflow.
    pub(crate) fn processor(&self) -> f64 {
        self.spent.processor * 1000.0 / float(self.ran.workflows)
    }

    /// Bytes that were written for a workflow: to the log of Postgres, or by the engine itself.
    pub(crate) fn written(&self, who: Option<Who>) -> f64 {
        let postgres = who.is_none_or(Who::keeps_to_postgres);
        let bytes = if postgres { self.spent.wal } else { self.spent.written };
        bytes / float(self.ran.workflows)
    }
}
