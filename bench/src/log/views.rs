//! Read models of a long log.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use eventstore::{Position, ReadAhead, Recorded, Role, Span};
use projections::{Course, Projector};
use sqlx::PgPool;

use crate::history::log;
use crate::load::Ran;

pub(crate) const CONNECTIONS: u32 = 6;
const ALL: &[&str] = &[];
const COURSE: Course<'static> = Course { build: "this one", rate: None, progress: &|_| {} };

/// Reads the log into decoded facts.
pub(crate) async fn decode(url: &str) -> Result<Ran> {
    let log = log(url).await?;
    let (began, mut events) = (Instant::now(), 0);
    let span = Span { after: 0, upto: Position::MAX, page: 2_000, rate: None };
    let facts =
        |rows: Vec<Recorded>| rows.iter().map(eventstore::fact).collect::<Result<Vec<_>, _>>();
    let mut ahead = ReadAhead::start(log, span, facts);
    while let Some(facts) = ahead.next().await? {
        events += u64::try_from(facts?.len())?;
    }
    Ok(Ran::of(events, began))
}

/// Brings a view that has seen nothing to the end of the log.
pub(crate) async fn catch_up(url: &str, view: &str) -> Result<Ran> {
    let pool = eventstore::connect(url, Role::Worker, CONNECTIONS).await?;
    let log = log(url).await?;
    let head = log.head().await?;
    let began = Instant::now();
    Projector::of_views(pool, log, &[view])?.catch_up().await?;
    Ok(Ran::of(u64::try_from(head)?, began))
}

/// Rebuilds all read models.
pub(crate) async fn rebuild(url: &str) -> Result<Ran> {
    let pool = PgPool::connect(url).await?;
    let log = log(url).await?;
    let head = log.head().await?;
    let began = Instant::now();
    projections::rebuild(&pool, log, ALL, &COURSE).await?;
    let ran = Ran::of(u64::try_from(head)?, began);
    eprintln!("rebuilt within {} MB of memory", most_memory()? / 1024);
    Ok(ran)
}

/// Compares all read models with the log.
pub(crate) async fn verify(url: &str) -> Result<Ran> {
    let pool = PgPool::connect(url).await?;
    let log = log(url).await?;
    let head = log.head().await?;
    let began = Instant::now();
    let report = projections::verify(&pool, log, ALL, &COURSE).await?;
    ensure!(report.is_identical(), "{report:?}");
    Ok(Ran::of(u64::try_from(head)?, began))
}

/// The most memory this process ever had, in kibibytes.
fn most_memory() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
