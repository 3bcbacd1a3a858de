//! Proves that the log keeps its promises while everything around it fails: clients append and read
//! on a fixed schedule, a nemesis kills and cuts, and what each was told is held against the log that
//! is there in the end, in the manner of Jepsen. See docs/reliability.md.

mod bugs;
mod check;
mod client;
mod cluster;
mod disk;
mod fleet;
mod history;
mod nemesis;
mod platform;
mod proxy;
mod report;
mod step;
mod world;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Parser, Subcommand};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;

use crate::check::Invariant;
use crate::disk::Disk;
use crate::nemesis::Fault;
use crate::report::{Report, Round};
use crate::world::World;

#[derive(Debug, Parser)]
#[command(about)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One process that appends and reads; started by the others.
    Client(client::Args),
    /// Rounds with every fault, each on a database of its own.
    Run {
        /// How long, in minutes; the last round is finished.
        #[arg(long, default_value_t = 15.0)]
        minutes: f64,
        /// How long a round is, in seconds.
        #[arg(long, default_value_t = 60)]
        round: u64,
        /// What the choices of the first round come from; counted up for each other one.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Rounds with the whole platform.
    Platform {
        /// How long, in minutes; the last round is finished.
        #[arg(long, default_value_t = 5.0)]
        minutes: f64,
        /// How long a round is, in seconds.
        #[arg(long, default_value_t = 40)]
        round: u64,
        /// What the choices of the first round come from; counted up for each other one.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Kills the platform, and rebuilds of its read models, before and after each step that writes.
    Crashes {
        /// At how many places, taken by chance; all if not given.
        #[arg(long)]
        places: Option<usize>,
        /// What the choices come from.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Rounds with several servers and engines on one database.
    Fleet {
        /// How long, in minutes; the last round is finished.
        #[arg(long, default_value_t = 5.0)]
        minutes: f64,
        /// How long faults happen in a round, in seconds.
        #[arg(long, default_value_t = 60)]
        round: u64,
        /// What the choices of the first round come from; counted up for each other one.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many executions are asked for in a second.
        #[arg(long, default_value_t = fleet::A_SECOND)]
        rate: u32,
    },
    /// Plants each bug, which must be found.
    Bugs {
        /// Only this one.
        #[arg(long)]
        only: Option<String>,
        /// Look for none, but tell their names.
        #[arg(long)]
        list: bool,
        /// How long to look for each, in seconds.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// What the choices come from.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let kept = match Args::parse().command {
        Command::Client(args) => client::run(args).await.map(|()| true),
        Command::Run { minutes, round, seed } => run(minutes, round, seed).await,
        Command::Platform { minutes, round, seed } => platform::run(minutes, round, seed).await,
        Command::Crashes { places, seed } => platform::crash(places, seed).await,
        Command::Fleet { minutes, round, seed, rate } => {
            fleet::run(minutes, round, seed, rate).await
        }
        Command::Bugs { list: true, .. } => {
            let platform = platform::BUGS.iter().map(|bug| bug.name);
            let platform = platform.chain(fleet::BUGS.iter().map(|bug| bug.name));
            bugs::ALL
                .iter()
                .map(|bug| bug.name)
                .chain(platform)
                .for_each(|name| println!("{name}"));
            Ok(true)
        }
        Command::Bugs { only, seconds, seed, .. } => find(only.as_deref(), seconds, seed).await,
    };
    match kept {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("torture: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Rounds without bugs until the time is over; whether every promise was kept.
async fn run(minutes: f64, length: u64, seed: u64) -> Result<bool> {
    let has_disks = has_disks();
    let mut faults = nemesis::ALL.to_vec();
    if has_disks {
        faults.extend(nemesis::OF_DISKS);
    }
    let (began, mut report) = (Instant::now(), Report::default());
    for seed in seed.. {
        let disk = if has_disks { Some(Disk::make()?) } else { None };
        let world = World::make(seed, bugs::NONE, disk).await?;
        let done = round(world, seed, &faults, Duration::from_secs(length)).await?;
        println!("{done}");
        report.add(done);
        if began.elapsed().as_secs_f64() >= minutes * 60.0 {
            break;
        }
    }
    print!("{report}");
    Ok(report.is_clean())
}

/// Whether power can be cut here. If not, that is told.
fn has_disks() -> bool {
    let lacking = disk::lacking();
    if let Some(lacking) = &lacking {
        eprintln!("SKIPPED, NOT TESTED: power cuts and full disks, which need {lacking}");
    }
    lacking.is_none()
}

/// Looks for each planted bug; whether all were found by what should find them.
async fn find(only: Option<&str>, seconds: u64, seed: u64) -> Result<bool> {
    let (mut all, has_disks) = (true, has_disks());
    println!("| planted bug | found | after | by |\n|---|---|---:|---|");
    for bug in bugs::ALL.into_iter().filter(|bug| only.is_none_or(|only| bug.name == only)) {
        if bug.needs_disk() && !has_disks {
            println!("| {} | skipped | | |", bug.name);
            continue;
        }
        let (began, mut found) = (Instant::now(), vec![]);
        // Short rounds: what is found at the end of one is found sooner.
        for seed in seed.. {
            let disk = if bug.needs_disk() { Some(Disk::make()?) } else { None };
            let world = World::make(seed, bug, disk).await?;
            let done = round(world, seed, bug.faults, Duration::from_secs(6)).await?;
            found = done.broken();
            if bug.breaks.iter().all(|wanted| found.contains(wanted))
                || began.elapsed() >= Duration::from_secs(seconds)
            {
                break;
            }
        }
        all &= tell(bug.name, bug.breaks, &found, began);
    }
    for bug in platform::BUGS.iter().filter(|bug| only.is_none_or(|only| bug.name == only)) {
        let began = Instant::now();
        let found = platform::round(seed, Some(bug), Duration::from_secs(6)).await?.broken();
        all &= tell(bug.name, &[bug.breaks], &found, began);
    }
    for bug in fleet::BUGS.iter().filter(|bug| only.is_none_or(|only| bug.name == only)) {
        all &= find_in_fleet(bug, seconds, seed).await?;
    }
    Ok(all)
}

/// Looks for a bug of engines; whether it was found by what should find it.
async fn find_in_fleet(bug: &fleet::Bug, seconds: u64, seed: u64) -> Result<bool> {
    let (began, mut found) = (Instant::now(), vec![]);
    for seed in seed.. {
        let length = Duration::from_secs(bug.seconds);
        let done = fleet::round(seed, Some(bug), length, fleet::A_SECOND).await?;
        eprintln!("{done}");
        found = done.broken();
        if found.contains(&bug.breaks) || began.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
    }
    Ok(tell(bug.name, &[bug.breaks], &found, began))
}

/// Shows what was found of a bug; whether that is what should be.
fn tell(name: &str, wanted: &[Invariant], found: &[Invariant], began: Instant) -> bool {
    let is_found = wanted.iter().all(|wanted| found.contains(wanted));
    let names: Vec<String> = found.iter().map(ToString::to_string).collect();
    let (answer, after) = (if is_found { "yes" } else { "NO" }, began.elapsed().as_secs());
    println!("| {name} | {answer} | {after} s | {} |", names.join(", "));
    is_found
}

/// One round: load, faults one after another, healing, and the check.
async fn round(mut world: World, seed: u64, faults: &[Fault], length: Duration) -> Result<Round> {
    let mut random = StdRng::seed_from_u64(seed);
    let (began, mut happened) = (Instant::now(), BTreeMap::<Fault, u32>::new());
    let mut due: Vec<Fault> = vec![];
    while began.elapsed() < length {
        sleep(Duration::from_millis(random.random_range(300..1_500))).await;
        if due.is_empty() {
            due = faults.to_vec();
        }
        if !due.is_empty() {
            let fault = due.swap_remove(random.random_range(0..due.len()));
            fault.happen(&mut world, &mut random).await?;
            *happened.entry(fault).or_default() += 1;
        }
    }
    let (history, log, cuts, mut violations) = world.end().await?;
    violations.extend(check::check(&history, &log));
    Ok(Round::of(seed, &history, log.len(), (happened, cuts), violations))
}
