//! A fleet under faults: servers and engines on one Postgres, an open-loop load, an outside system with a
//! ledger; engines are killed and frozen, clocks are set, Postgres is killed. In the end what callers were
//! told, what the outside system saw and what the log says must fit together.

mod bugs;
mod check;
mod crew;
mod documents;
mod history;
mod load;
mod log;
mod nemesis;
#[cfg(test)]
mod tests;
mod totals;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sqlx::{Connection, PgConnection};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::check::{Invariant, Violation};
use crate::history::{Moment, now};
use crate::report::{self, TOLD};
pub(crate) use bugs::{BUGS, Bug};
use check::{Figures, Seen};
use crew::Fleet;
use history::{History, Window};
use load::Caller;
pub(crate) use nemesis::Fault;

/// How many executions are asked for in a second.
pub(crate) const A_SECOND: u32 = 15;
/// How long the load goes on before anything goes wrong.
const WARM: Duration = Duration::from_secs(3);
/// How long the load goes on with nothing going wrong any more: longer than faults are felt.
const QUIET: Duration = Duration::from_secs(8);
/// How long everything that was accepted may take until it is over.
const DONE: Duration = Duration::from_secs(90);
/// The same with a bug that leaves things open for ever.
const HASTY: Duration = Duration::from_secs(10);

/// What is checked.
const INVARIANTS: [Invariant; 10] = [
    Invariant::I1,
    Invariant::I2,
    Invariant::I8,
    Invariant::I10,
    Invariant::I11,
    Invariant::I12,
    Invariant::I16,
    Invariant::I17,
    Invariant::I21,
    Invariant::I22,
];

/// What a round came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// How many requests were accepted, had failed for certain, and had no answer that says anything.
    requests: [usize; 3],
    /// How many executions there are, by how they ended.
    ended: BTreeMap<String, usize>,
    figures: Figures,
    /// How many appends of whoever had lost a slice were refused.
    refused: i64,
    /// How many slices changed hands.
    moved: i64,
    /// How often a process that was up ended by itself.
    quit: u32,
    faults: Vec<Window>,
    violations: Vec<Violation>,
}

impl Outcome {
    /// What was broken, each once.
    pub(crate) fn broken(&self) -> Vec<Invariant> {
        let broken: BTreeSet<_> = self.violations.iter().map(|found| found.invariant).collect();
        broken.into_iter().collect()
    }

    /// How many faults there were while another one was.
    fn pairs(&self) -> usize {
        let meet = |a: &Window, b: &Window| a.from <= b.until && b.from <= a.until;
        let (all, range) = (&self.faults, 0..self.faults.len());
        range
            .flat_map(|a| (0..a).map(move |b| (a, b)))
            .filter(|(a, b)| meet(&all[*a], &all[*b]))
            .count()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { calls, extra, quiet, touched, unread } = &self.figures;
        let [ok, fail, info] = self.requests;
        let ended: Vec<_> =
            self.ended.iter().map(|(how, count)| format!("{count} {how}")).collect();
        writeln!(
            out,
            "{ok} requests accepted, {fail} failed, {info} unknown; {}",
            ended.join(", ")
        )?;
        writeln!(out, "  {calls} calls, {extra} of them extra ({:.2} %)", percent(*extra, *calls))?;
        for (name, late) in [("no fault was near", quiet), ("faults were near", touched)] {
            let (p50, p99, most) = (rank(late, 50), rank(late, 99), rank(late, 100));
            writeln!(
                out,
                "  {} timers while {name}: late {p50}, p99 {p99}, most {most} ms",
                late.len()
            )?;
        }
        write!(
            out,
            "  {} faults, {} pairs at once; {} slices changed hands, {} late appends refused, {unread} \
             requests unread by who stopped, {} processes ended by themselves; {} violations",
            self.faults.len(),
            self.pairs(),
            self.moved,
            self.refused,
            self.quit,
            self.violations.len()
        )?;
        for broken in self.broken() {
            let found = self.violations.iter().filter(|found| found.invariant == broken);
            for Violation { invariant, what } in found.take(TOLD) {
                write!(out, "\n  {invariant}: {what}")?;
            }
        }
        Ok(())
    }
}

/// So many of a hundred values are at most this, in milliseconds.
fn rank(sorted: &[i64], percent: usize) -> i64 {
    let nth = (sorted.len() * percent).div_ceil(100);
    sorted.get(nth.saturating_sub(1)).map_or(0, |micros| micros / 1_000)
}

#[expect(clippy::cast_precision_loss, reason = "it is shown with two digits")]
fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// Rounds without bugs until the time is over; whether every promise was kept.
pub(crate) async fn run(minutes: f64, length: u64, seed: u64, a_second: u32) -> Result<bool> {
    let (began, mut rounds) = (Instant::now(), vec![]);
    for seed in seed.. {
        let done = round(seed, None, Duration::from_secs(length), a_second).await?;
        println!("seed {seed}: {done}");
        rounds.push(done);
        if began.elapsed().as_secs_f64() >= minutes * 60.0 {
            break;
        }
    }
    let faults = rounds.iter().flat_map(|round| &round.faults);
    let faults = faults.map(|one| (format!("{} {:?}", one.fault.number(), one.fault), 1));
    let pairs = (
        "F26 two at once".to_owned(),
        u32::try_from(rounds.iter().map(Outcome::pairs).sum::<usize>())?,
    );
    let broken: Vec<_> = rounds.iter().map(Outcome::broken).collect();
    print!("\n{}", report::tables(faults.chain([pairs]), &INVARIANTS, &broken));
    let promised = |round: &Outcome| round.requests[0] > 0 && round.figures.calls > 0;
    Ok(rounds.iter().all(|round| round.violations.is_empty() && promised(round)))
}

/// One round: load, faults, a while without any, healing, and the checks.
pub(crate) async fn round(
    seed: u64,
    bug: Option<&Bug>,
    length: Duration,
    a_second: u32,
) -> Result<Outcome> {
    let (fleet, caller) = Fleet::make(bug).await?;
    let (fleet, caller) = (Arc::new(fleet), Arc::new(caller));
    let supervisor = tokio::spawn({
        let fleet = fleet.clone();
        async move { fleet.supervise().await }
    });
    let (go_on, stop) = watch::channel(true);
    let load = tokio::spawn(load::run(caller.clone(), a_second, seed, stop));
    sleep(WARM).await;
    nemesis::suffer(&fleet, bug.map(|bug| bug.faults), length, seed).await?;
    if bug.is_none() {
        sleep(QUIET).await;
    }
    let _ = go_on.send(false);
    load.await??;
    let outcome = fleet.end(&caller, bug).await;
    supervisor.abort();
    let _ = supervisor.await;
    // It writes to its directory until then, which could not be removed.
    fleet.cluster.lock().await.kill().await?;
    let outcome = outcome?;
    if bug.is_none()
        && !outcome.violations.is_empty()
        && let Some(fleet) = Arc::into_inner(fleet)
    {
        eprintln!("what it left is in {}", fleet.keep().display());
    }
    Ok(outcome)
}

impl Fleet {
    /// Waits until everything is over, and holds against each other what everybody knows.
    async fn end(&self, caller: &Caller, bug: Option<&Bug>) -> Result<Outcome> {
        for server in &self.servers {
            server.lock().await.until_ready().await?;
        }
        let asked = History::read(&self.history())?;
        caller.ask_again(unknown(&asked)).await?;
        let mut db = self.connect().await?;
        let is_hasty = bug.is_some_and(Bug::leaves_open);
        let open = until_done(&mut db, if is_hasty { HASTY } else { DONE }).await?;
        let mut outcome = self.outcome(&mut db).await?;
        if let Some(open) = open {
            let what = format!("{open} of them are never done");
            outcome.violations.push(Violation { invariant: Invariant::I10, what });
        }
        if bug.is_none() {
            outcome.violations.extend(totals::check(&mut db, &caller.clients[0]).await?);
            let done = self.run(&["replay", "--verify"]).await?;
            if !done.status.success() {
                let what = String::from_utf8_lossy(&done.stdout).into_owned();
                outcome.violations.push(Violation { invariant: Invariant::I8, what });
            }
        }
        db.close().await?;
        Ok(outcome)
    }

    async fn outcome(&self, db: &mut PgConnection) -> Result<Outcome> {
        let History { ops, windows } = History::read(&self.history())?;
        let executions = log::read(db).await?;
        let calls = self.outside.calls().into_iter().map(seen_call).collect();
        let seen = Seen { ops, windows, executions, calls, zero: totals::zero(db).await? };
        let (mut violations, figures) = check::check(&seen);
        violations.extend(totals::written_late(db).await?);
        let count = |is: fn(&history::Outcome) -> bool| {
            seen.ops.iter().filter(|op| is(&op.outcome)).count()
        };
        let requests = [
            count(|outcome| matches!(outcome, history::Outcome::Ok(_))),
            count(|outcome| matches!(outcome, history::Outcome::Fail(_))),
            count(|outcome| matches!(outcome, history::Outcome::Info { .. })),
        ];
        let mut ended = BTreeMap::new();
        for end in seen.executions.values().flat_map(|one| &one.ends) {
            *ended.entry(end.trim_start_matches("execution.").to_owned()).or_default() += 1;
        }
        let (moved, refused) = totals::moved(db).await?;
        let quit = self.ended.load(Ordering::Relaxed);
        let faults = seen.windows;
        Ok(Outcome { requests, ended, figures, refused, moved, quit, faults, violations })
    }
}

/// What was asked and never accepted, but may have been.
fn unknown(history: &History) -> Vec<history::Ask> {
    let mut open = BTreeMap::new();
    for op in &history.ops {
        if matches!(op.outcome, history::Outcome::Info { .. }) {
            open.insert(op.ask.key.as_str(), &op.ask);
        }
    }
    for op in &history.ops {
        if matches!(op.outcome, history::Outcome::Ok(_)) {
            open.remove(op.ask.key.as_str());
        }
    }
    open.into_values().cloned().collect()
}

fn seen_call(call: testkit::outside::Call) -> check::Call {
    let ago = u64::try_from(call.at.elapsed().as_nanos()).unwrap_or(Moment::MAX);
    let testkit::outside::Call { execution, step, key, told, .. } = call;
    check::Call { execution, step, key, at: now().saturating_sub(ago), told }
}

/// Waits until every execution has ended and every read model has seen it; how many have not, if that
/// takes too long.
async fn until_done(db: &mut PgConnection, limit: Duration) -> Result<Option<i64>> {
    let deadline = Instant::now() + limit;
    loop {
        let open: i64 = sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM rm.executions
                     WHERE status NOT IN ('completed', 'faulted', 'cancelled'))
                 + (SELECT count(*) FROM rm.projection p JOIN es.log l ON l.log_id = 1
                    WHERE p.position < l.position)",
        )
        .fetch_one(&mut *db)
        .await
        .context("looking for what is open")?;
        if open == 0 {
            return Ok(None);
        }
        if Instant::now() > deadline {
            return Ok(Some(open));
        }
        sleep(Duration::from_millis(100)).await;
    }
}
