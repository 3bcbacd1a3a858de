//! Crashes at every place where they make a difference: the process keeps nothing but what it sends
//! to Postgres, so it is killed before and after each step that writes, one after another. Which
//! statements write is seen from what goes through; functions that do are named in `step`.

use std::collections::BTreeMap;
use std::future::Future;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tokio::time::{sleep, timeout};

use super::{Fault, INVARIANTS, Platform, said};
use crate::cluster::Cluster;
use crate::proxy::{Place, Side};
use crate::report;

/// How long the load goes on before it is known what steps there are.
const LOOK: Duration = Duration::from_secs(5);
/// How long a step may take to come again while the process just runs.
const AGAIN: Duration = Duration::from_secs(2);

/// A place that is come to often is killed at by chance the first to so manyth time.
const OFTEN: u32 = 15;

/// Whose step it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    Server,
    Rebuild,
}

/// Kills the platform at each place, or at some, under load; whether every promise was kept.
pub(crate) async fn run(places: Option<usize>, seed: u64) -> Result<bool> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut platform = Platform::make(None).await?;
    // Few calls, so that rebuilds stay short.
    let load = platform.load(&mut random, 100..500);
    let mut all = platform.places(&mut random).await?;
    all.shuffle(&mut random);
    let mut reached = BTreeMap::new();
    for (whose, place) in all.into_iter().take(places.unwrap_or(usize::MAX)) {
        let is_reached = match whose {
            Whose::Server => platform.crash_server(&place).await?,
            Whose::Rebuild => platform.crash_rebuild(&place, random.random()).await?,
        };
        let told = if is_reached { "killed" } else { "not come to again" };
        eprintln!("{whose:?}, {:?} {}: {told}", place.side, place.step);
        reached.insert((whose, place.step, place.side), is_reached);
    }
    platform.rebuild_whole().await?;
    let crashes = |of| reached.iter().filter(|((whose, ..), is)| *whose == of && **is).count();
    let faults = BTreeMap::from([
        (Fault::KillEverstep, u32::try_from(crashes(Whose::Server))?),
        (Fault::KillRebuild, u32::try_from(crashes(Whose::Rebuild))?),
    ]);
    let outcome = platform.end(load, faults).await?;
    println!("{outcome}\n\n| of | killed at | before | after |\n|---|---|---|---|");
    print!("{}", table(&reached));
    print!("\n{}", report::tables(std::iter::empty(), &INVARIANTS, &[outcome.broken()]));
    Ok(outcome.violations.is_empty() && outcome.faults.values().all(|count| *count > 0))
}

/// A line for each step: whether it was come to.
fn table(reached: &BTreeMap<(Whose, String, Side), bool>) -> String {
    let mut lines = BTreeMap::<_, [&str; 2]>::new();
    for ((whose, step, side), is_reached) in reached {
        let sides = lines.entry((whose, step)).or_default();
        sides[usize::from(*side == Side::After)] = if *is_reached { "yes" } else { "not again" };
    }
    let line = |((whose, step), [before, after]): ((&Whose, &String), [&str; 2])| {
        format!("| {whose:?} | `{step}` | {before} | {after} |\n")
    };
    lines.into_iter().map(line).collect()
}

impl Platform {
    /// All places that are come to while the server runs, stops and starts, and in a rebuild.
    async fn places(&mut self, random: &mut StdRng) -> Result<Vec<(Whose, Place)>> {
        // What only the first start of an installation does is not looked for again.
        self.door.steps();
        sleep(LOOK).await;
        self.server.stop().await?;
        self.server.start_again().await?;
        self.rebuild_whole().await?;
        let mut all = vec![];
        for (whose, door) in [(Whose::Server, &self.door), (Whose::Rebuild, &self.side_door)] {
            for (step, count) in door.steps() {
                for side in [Side::Before, Side::After] {
                    // The server is looked at for longer than is waited for it to come again.
                    let often = if whose == Whose::Server { count / 4 } else { count };
                    let nth = random.random_range(1..=often.clamp(1, OFTEN));
                    all.push((whose, Place { side, step: step.clone(), nth }));
                }
            }
        }
        Ok(all)
    }

    /// Kills the server when it comes to this place: while it runs, else while it stops or starts.
    async fn crash_server(&mut self, place: &Place) -> Result<bool> {
        self.door.trap(place.clone());
        let mut is_reached = timeout(AGAIN, self.door.trapped()).await.is_ok();
        if !is_reached {
            is_reached = first(self.door.trapped(), self.server.stop()).await?;
        }
        if !is_reached {
            is_reached = first(self.door.trapped(), self.server.start_again()).await?;
        }
        if is_reached {
            self.server.kill()?;
        }
        self.door.release();
        if is_reached {
            self.server.start_again().await?;
        }
        Ok(is_reached)
    }

    /// Kills a rebuild when it comes to this place, then ends it, or leaves it to the next. One that
    /// goes on where another was killed may be past it; the next after that is not.
    async fn crash_rebuild(&mut self, place: &Place, is_ended: bool) -> Result<bool> {
        let is_reached = self.kill_rebuild(place).await? || self.kill_rebuild(place).await?;
        if is_ended {
            self.rebuild_whole().await.with_context(|| format!("after {place:?}"))?;
        }
        Ok(is_reached)
    }

    async fn kill_rebuild(&mut self, place: &Place) -> Result<bool> {
        self.side_door.trap(place.clone());
        let mut command = tokio::process::Command::from(self.rebuilding());
        command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let is_reached = first(self.side_door.trapped(), async { Ok(child.wait().await?) }).await?;
        child.kill().await?;
        self.side_door.release();
        Ok(is_reached)
    }

    /// Rebuilds all read models.
    pub(super) async fn rebuild_whole(&self) -> Result<()> {
        let mut command = self.rebuilding();
        let done = tokio::task::spawn_blocking(move || command.output()).await??;
        ensure!(done.status.success(), "{}", said(&done));
        Ok(())
    }

    fn rebuilding(&self) -> std::process::Command {
        let setup = self.server.setup().clone();
        let mut command = setup.database(&Cluster::url(self.side_door.port())).command(&["replay"]);
        command.stdin(Stdio::null());
        command
    }
}

/// Whether the trap is sprung before something is over.
async fn first<T>(
    trapped: impl Future<Output = ()>,
    over: impl Future<Output = Result<T>>,
) -> Result<bool> {
    tokio::select! {
        biased;
        () = trapped => Ok(true),
        done = over => done.map(|_| false),
    }
}
