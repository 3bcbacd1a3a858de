//! What goes wrong with the fleet. Three of it go on at once, so that faults come in pairs (F26): an
//! engine is killed every five seconds; something is frozen; and something else breaks.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{interval_at, sleep};

use super::crew::{Fleet, Member};
use super::history::Window;
use crate::history::now;

/// How often an engine is killed.
const KILLED_EVERY: Duration = Duration::from_secs(5);
/// How long an engine is frozen, in milliseconds: longer than its lease of ten seconds.
const FROZEN: std::ops::Range<u64> = 12_000..13_500;
/// How long it has, once it is thawed, before those who took over are answered.
const HEAD_START: Duration = Duration::from_secs(2);

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// F1: a server is killed.
    KillServer,
    /// F2: an engine is killed.
    KillEngine,
    /// F3: Postgres is killed, all of it.
    KillPostgres,
    /// F14: the wall clock of an engine jumps by an hour.
    StepClock,
    /// F17: a server is asked to stop, and started again.
    StopServer,
    /// F17: an engine is asked to stop, and started again.
    StopEngine,
    /// F18: an engine stands still until others have its leases, and goes on as if nothing had been.
    FreezeEngine,
    /// F19: all engines stand still for some seconds.
    FreezeEngines,
}

/// What breaks besides killed and frozen engines.
const QUICK: [Fault; 5] = [
    Fault::KillPostgres,
    Fault::StopEngine,
    Fault::StopServer,
    Fault::StepClock,
    Fault::KillServer,
];

impl Fault {
    /// Its number in docs/reliability.md.
    pub(super) fn number(self) -> &'static str {
        match self {
            Self::KillServer => "F1",
            Self::KillEngine => "F2",
            Self::KillPostgres => "F3",
            Self::StepClock => "F14",
            Self::StopServer | Self::StopEngine => "F17",
            Self::FreezeEngine => "F18",
            Self::FreezeEngines => "F19",
        }
    }

    /// Whether it may make an engine call twice, or be late.
    pub(super) fn concerns_engines(self) -> bool {
        match self {
            Self::KillServer | Self::StopServer => false,
            Self::KillEngine
            | Self::KillPostgres
            | Self::StepClock
            | Self::StopEngine
            | Self::FreezeEngine
            | Self::FreezeEngines => true,
        }
    }
}

/// Has faults happen for so long, and heals them. With `only` no others happen than those.
pub(super) async fn suffer(
    fleet: &Fleet,
    only: Option<&[Fault]>,
    length: Duration,
    seed: u64,
) -> Result<()> {
    let end = Instant::now() + length;
    let may = |fault: &Fault| only.is_none_or(|only| only.contains(fault));
    let random = |nth| StdRng::seed_from_u64(seed.wrapping_mul(10) + nth);
    let quick: Vec<Fault> = QUICK.into_iter().filter(&may).collect();
    let slow = [Fault::FreezeEngine, Fault::FreezeEngines];
    let slow: Vec<Fault> = slow.into_iter().filter(&may).collect();
    tokio::try_join!(
        kill_engines(fleet, may(&Fault::KillEngine), end, random(1)),
        in_turn(fleet, (&slow, 500..2_000), end, random(2)),
        break_more(fleet, (quick, 1_000..3_500), end, random(3)),
    )?;
    Ok(())
}

async fn kill_engines(fleet: &Fleet, may: bool, end: Instant, mut random: StdRng) -> Result<()> {
    let mut tick = interval_at(tokio::time::Instant::now() + KILLED_EVERY, KILLED_EVERY);
    loop {
        tick.tick().await;
        if !may || Instant::now() >= end {
            return Ok(());
        }
        fleet.happen(Fault::KillEngine, &mut random).await?;
    }
}

/// Freezes again and again, for as long as there is time for it.
async fn in_turn(
    fleet: &Fleet,
    (faults, pause): (&[Fault], std::ops::Range<u64>),
    end: Instant,
    mut random: StdRng,
) -> Result<()> {
    for fault in faults.iter().cycle() {
        sleep(Duration::from_millis(random.random_range(pause.clone()))).await;
        if Instant::now() >= end {
            break;
        }
        fleet.happen(*fault, &mut random).await?;
    }
    Ok(())
}

/// Each of some faults once, in any order, and all of them again.
async fn break_more(
    fleet: &Fleet,
    (faults, pause): (Vec<Fault>, std::ops::Range<u64>),
    end: Instant,
    mut random: StdRng,
) -> Result<()> {
    let mut due = vec![];
    while !faults.is_empty() {
        sleep(Duration::from_millis(random.random_range(pause.clone()))).await;
        if Instant::now() >= end {
            break;
        }
        if due.is_empty() {
            due.clone_from(&faults);
        }
        let fault = due.swap_remove(random.random_range(0..due.len()));
        fleet.happen(fault, &mut random).await?;
    }
    Ok(())
}

impl Fleet {
    /// Has a fault happen and heals it, and notes it; not if nobody is there whom it could befall.
    async fn happen(&self, fault: Fault, random: &mut StdRng) -> Result<()> {
        let from = now();
        let befallen = match fault {
            Fault::KillServer | Fault::StopServer => self.end_server(fault, random).await,
            Fault::KillEngine | Fault::StopEngine => self.end_engine(fault, random).await,
            Fault::KillPostgres => self.kill_postgres().await,
            Fault::StepClock => self.step_clock(random),
            Fault::FreezeEngine => self.freeze_engine(random).await,
            Fault::FreezeEngines => self.freeze_engines(random).await,
        };
        if let Some(Befallen { target, until }) = befallen.with_context(|| format!("{fault:?}"))? {
            self.note(Window { fault, target, from, until: until.unwrap_or_else(now) })?;
        }
        Ok(())
    }

    async fn end_server(&self, fault: Fault, random: &mut StdRng) -> Result<Option<Befallen>> {
        let Some((target, mut server)) = any(&self.servers, random) else { return Ok(None) };
        if server.is_young() {
            return Ok(None);
        }
        if fault == Fault::KillServer {
            server.process.kill()?;
        } else {
            server.process.stop().await?;
        }
        let ended = now();
        server.start_again()?;
        server.until_ready().await?;
        // What is asked after it has ended is not asked of a process that stops.
        let until = (fault == Fault::StopServer).then_some(ended);
        Ok(Some(Befallen { target: Some(target), until }))
    }

    async fn end_engine(&self, fault: Fault, random: &mut StdRng) -> Result<Option<Befallen>> {
        let Some((target, mut engine)) = any(&self.engines, random) else { return Ok(None) };
        if engine.is_young() {
            return Ok(None);
        }
        if fault == Fault::KillEngine {
            engine.process.kill()?;
        } else {
            engine.process.stop().await?;
        }
        engine.start_again()?;
        Ok(Some(Befallen { target: Some(target), until: None }))
    }

    async fn kill_postgres(&self) -> Result<Option<Befallen>> {
        let mut cluster = self.cluster.lock().await;
        cluster.kill().await?;
        cluster.restart().await?;
        Ok(Some(Befallen { target: None, until: None }))
    }

    fn step_clock(&self, random: &mut StdRng) -> Result<Option<Befallen>> {
        let Some(clock) = &self.clock else { return Ok(None) };
        let is = clock.is_off()?;
        let others: Vec<_> = ["+0", "+3600", "-3600"].into_iter().filter(|to| *to != is).collect();
        clock.set(others[random.random_range(0..others.len())])?;
        Ok(Some(Befallen { target: Some(self.engines.len() - 1), until: None }))
    }

    /// Who takes over is answered after the frozen one has woken, so that only the epoch tells that
    /// the frozen one's answers are too late.
    async fn freeze_engine(&self, random: &mut StdRng) -> Result<Option<Befallen>> {
        let Some((target, engine)) = any(&self.engines, random) else { return Ok(None) };
        engine.process.freeze();
        self.outside.hold_repeats(true);
        sleep(Duration::from_millis(random.random_range(FROZEN))).await;
        engine.process.thaw();
        sleep(HEAD_START).await;
        self.outside.hold_repeats(false);
        Ok(Some(Befallen { target: Some(target), until: None }))
    }

    async fn freeze_engines(&self, random: &mut StdRng) -> Result<Option<Befallen>> {
        let mut all = vec![];
        for engine in &self.engines {
            all.push(engine.lock().await);
        }
        for engine in &all {
            engine.process.freeze();
        }
        sleep(Duration::from_millis(random.random_range(3_000..12_000))).await;
        for engine in &all {
            engine.process.thaw();
        }
        Ok(Some(Befallen { target: None, until: None }))
    }
}

/// Whom a fault befell, and until when, if not until now.
struct Befallen {
    target: Option<usize>,
    until: Option<u64>,
}

/// One of those that nothing else is happening to.
fn any<'a>(
    members: &'a [Mutex<Member>],
    random: &mut StdRng,
) -> Option<(usize, MutexGuard<'a, Member>)> {
    let first = random.random_range(0..members.len());
    let mut order = (first..members.len()).chain(0..first);
    order.find_map(|nth| members[nth].try_lock().ok().map(|member| (nth, member)))
}
