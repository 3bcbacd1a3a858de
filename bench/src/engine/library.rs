//! Peers that are libraries: a Node process has the engine and its client, and is told what to do.

use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use serde_json::{Value, json};

use crate::engine::{Engine, PUTTERS, Place, Results, Work};
use crate::load::Ran;
use crate::program::Program;

/// How long a start, and an answer beyond the time that the work was given, may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long it may take to put workflows in.
const PUT_LIMIT: Duration = Duration::from_mins(5);
/// Seconds after which a worker that does not say that it lives counts as dead. By default that is two
/// minutes (absurd) or fifteen (pg-boss); who recovers at once has none.
const LEASE: &str = "20";

/// A program, and how it was started.
pub(crate) struct Library {
    name: &'static str,
    place: Place,
    program: Program,
}

impl Library {
    /// Starts a peer.
    pub(crate) async fn start(name: &'static str, place: Place) -> Result<Self> {
        let program = start(name, &place).await?;
        Ok(Self { name, place, program })
    }
}

async fn start(name: &str, place: &Place) -> Result<Program> {
    let callers = place.callers.to_string();
    let mut args = vec!["--url", &place.url, "--work", place.work.name(), "--callers", &callers];
    if let Some(outside) = &place.outside {
        args.extend(["--outside", outside]);
    }
    if place.work == Work::Witnessed {
        args.extend(["--lease", LEASE]);
    }
    let mut program = Program::talking(&place.programs, name, &place.files, &args)?;
    // It says what it is once it is ready.
    program.says(PATIENCE).await?;
    Ok(program)
}

#[async_trait]
impl Engine for Library {
    fn pids(&self) -> Vec<u32> {
        self.program.pid().into_iter().collect()
    }

    async fn run(&mut self, callers: u64, long: Duration) -> Result<Ran> {
        let command = json!({"do": "run", "callers": callers, "seconds": long.as_secs_f64()});
        ran(&self.program.ask(&command, long + PATIENCE).await?)
    }

    async fn put(&mut self, from: u64, count: u64) -> Result<Ran> {
        let command = json!({"do": "put", "callers": PUTTERS, "from": from, "count": count});
        ran(&self.program.ask(&command, PUT_LIMIT).await?)
    }

    async fn ended(&mut self, count: u64, limit: Duration) -> Result<u64> {
        let command = json!({"do": "await", "count": count, "seconds": limit.as_secs_f64()});
        number(&self.program.ask(&command, limit + PATIENCE).await?, "ended")
    }

    async fn results(&mut self, _count: u64) -> Result<Results> {
        let told = self.program.ask(&json!({"do": "results"}), PATIENCE).await?;
        Ok(Results { ended: number(&told, "ended")?, wrong: number(&told, "wrong")? })
    }

    async fn kill(&mut self) -> Result<()> {
        self.program.kill().await
    }

    async fn start_again(&mut self) -> Result<()> {
        self.program = start(self.name, &self.place).await?;
        Ok(())
    }

    async fn stop(mut self: Box<Self>) -> Result<()> {
        self.program.stop().await
    }
}

fn ran(told: &Value) -> Result<Ran> {
    let time = |name: &str| told[name].as_f64();
    let within = match (time("p50_ms"), time("p95_ms"), time("p99_ms")) {
        (Some(p50), Some(p95), Some(p99)) => Some([p50, p95, p99]),
        _ => None,
    };
    Ok(Ran {
        workflows: number(told, "workflows")?,
        seconds: time("seconds").context("seconds")?,
        within,
        errors: number(told, "errors")?,
        error: told["error"].as_str().map(str::to_owned),
    })
}

fn number(told: &Value, name: &str) -> Result<u64> {
    told[name].as_u64().with_context(|| format!("no {name} in {told}"))
}
