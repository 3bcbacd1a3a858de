//! The load that the programs of this crate put on their store, and the line they print.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::future::try_join_all;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinSet;
use uuid::Uuid;

const APPENDS_PER_STREAM: u64 = 4;
const MOST_EVENTS: u64 = 8;
const MOST_CONNECTIONS: u32 = 90;

/// How many streams [`loads`] chooses among.
pub const STREAMS: i64 = 20_000;

/// What a program is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Append from all callers.
    Append,
    /// Read the whole log in order.
    Scan,
    /// Read streams taken at random from all callers.
    Load,
}

/// What the command line says.
#[derive(Debug, Clone)]
pub struct Options {
    /// The database.
    pub url: String,
    /// What to do with it.
    pub op: Op,
    /// How many do that at a time.
    pub callers: u32,
    /// For how long.
    pub long: Duration,
}

impl Options {
    /// Reads the command line.
    pub fn read() -> Result<Self> {
        let (mut url, mut op, mut callers, mut seconds) = (None, None, 1, 4.0);
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let value = words.next().with_context(|| format!("{word} lacks its value"))?;
            match word.as_str() {
                "--url" => url = Some(value),
                "--op" => op = Some(value),
                "--callers" => callers = value.parse().context("--callers")?,
                "--seconds" => seconds = value.parse().context("--seconds")?,
                _ => bail!("{word} is unknown"),
            }
        }
        let op = match op.as_deref() {
            Some("append") => Op::Append,
            Some("scan") => Op::Scan,
            Some("load") => Op::Load,
            _ => bail!("wanted: --op append|scan|load"),
        };
        ensure!(callers > 0, "--callers is 0");
        let long = Duration::try_from_secs_f64(seconds).context("--seconds")?;
        Ok(Self { url: url.context("wanted: --url URL")?, op, callers, long })
    }

    /// A pool of one connection a caller, all of them open.
    pub async fn connect(&self) -> Result<PgPool> {
        let size = self.callers.min(MOST_CONNECTIONS);
        let pool = PgPoolOptions::new().max_connections(size).connect(&self.url).await?;
        try_join_all((0..size).map(|_| pool.acquire())).await?;
        Ok(pool)
    }
}

/// One append of the load.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Which stream.
    pub stream: Uuid,
    /// The version it has, which is the number of its events.
    pub version: u64,
    /// How many events it gets.
    pub events: u64,
    /// Counts the appends of all callers apart.
    pub number: u64,
}

impl Step {
    /// The documents of its events.
    pub fn bodies(self) -> impl Iterator<Item = Value> {
        (0..self.events).map(move |index| body(self.number * MOST_EVENTS + index))
    }
}

/// The document of an event: 300 bytes once it is JSON, another one for each number.
fn body(number: u64) -> Value {
    json!({
        "agent": "summariser",
        "attempt": 1,
        "execution": format!("{number:036}"),
        "latency_ms": 100 + number % 899,
        "model": "large",
        "status": "completed",
        "task": format!("/do/{}/summarise", number % 10),
        "tokens": { "input": 1000 + number % 999, "output": 321 },
        "note": "x".repeat(89),
    })
}

/// What a call did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Done {
    /// How many events it stored or read.
    pub events: u64,
    /// How often it had to be tried again.
    pub retries: u64,
}

impl Done {
    /// So many events at the first try.
    pub fn at_once(events: u64) -> Self {
        Self { events, retries: 0 }
    }
}

/// What a program prints.
#[derive(Serialize)]
struct Line<'a> {
    system: &'a str,
    op: &'a str,
    callers: u32,
    events: u64,
    appends: usize,
    seconds: f64,
    p50_ms: f64,
    p99_ms: f64,
    retries: u64,
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Ran {
    done: Done,
    seconds: f64,
    times: Vec<Duration>,
}

impl Ran {
    /// Prints it as a line of JSON.
    pub fn report(mut self, system: &str, options: &Options) -> Result<()> {
        self.times.sort_unstable();
        let within = |percent: usize| {
            let at = self.times.len().saturating_sub(1) * percent / 100;
            self.times.get(at).map_or(0.0, |time| rounded(time.as_secs_f64() * 1000.0))
        };
        let (op, callers) = match options.op {
            Op::Append => ("append", options.callers),
            Op::Scan => ("scan", 1),
            Op::Load => ("load", options.callers),
        };
        let line = Line {
            system,
            op,
            callers,
            events: self.done.events,
            appends: self.times.len(),
            seconds: rounded(self.seconds),
            p50_ms: within(50),
            p99_ms: within(99),
            retries: self.done.retries,
        };
        println!("{}", serde_json::to_string(&line)?);
        Ok(())
    }

    fn add(&mut self, done: Done, time: Duration) {
        self.done.events += done.events;
        self.done.retries += done.retries;
        self.times.push(time);
    }

    fn join(&mut self, other: Self) {
        self.done.events += other.done.events;
        self.done.retries += other.done.retries;
        self.times.extend(other.times);
    }
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// Appends from all callers until time is up. A caller works on one stream at a time; `append` is
/// told which caller it acts for.
pub async fn appends<F, A>(options: &Options, append: F) -> Result<Ran>
where
    F: Fn(u32, Step) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Result<Done>> + Send,
{
    let call = move |caller: u32, until| {
        let append = append.clone();
        async move {
            let (mut ran, mut number) = (Ran::default(), u64::from(caller) * 1_000_003);
            loop {
                let stream = Uuid::from_u128(rand::random());
                let mut version = 0;
                for _ in 0..APPENDS_PER_STREAM {
                    let sent = Instant::now();
                    if sent >= until {
                        return Ok(ran);
                    }
                    let step = Step { stream, version, events: number % MOST_EVENTS + 1, number };
                    let done = append(caller, step).await?;
                    ran.add(done, sent.elapsed());
                    version += step.events;
                    number += 1;
                }
            }
        }
    };
    together(options, call).await
}

/// Loads streams taken at random until time is up.
pub async fn loads<S, F, A>(options: &Options, streams: Vec<S>, load: F) -> Result<Ran>
where
    S: Clone + Send + Sync + 'static,
    F: Fn(S) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Result<u64>> + Send,
{
    ensure!(!streams.is_empty(), "the log is empty");
    let call = move |_, until| {
        let (load, streams) = (load.clone(), streams.clone());
        async move {
            let mut ran = Ran::default();
            loop {
                let sent = Instant::now();
                if sent >= until {
                    return Ok(ran);
                }
                let stream = streams[rand::random_range(0..streams.len())].clone();
                let events = load(stream).await?;
                ran.add(Done::at_once(events), sent.elapsed());
            }
        }
    };
    together(options, call).await
}

/// Reads the log from its start, and again, until time is up; a pass that began is finished. `pass`
/// tells how many events it read.
pub async fn scans(options: &Options, pass: impl AsyncFn() -> Result<u64>) -> Result<Ran> {
    let began = Instant::now();
    let mut ran = Ran::default();
    while began.elapsed() < options.long {
        let sent = Instant::now();
        let events = pass().await?;
        ran.add(Done::at_once(events), sent.elapsed());
    }
    ran.seconds = began.elapsed().as_secs_f64();
    Ok(ran)
}

async fn together<F, A>(options: &Options, call: F) -> Result<Ran>
where
    F: Fn(u32, Instant) -> A,
    A: Future<Output = Result<Ran>> + Send + 'static,
{
    let began = Instant::now();
    let until = began + options.long;
    let mut running: JoinSet<_> = (0..options.callers).map(|caller| call(caller, until)).collect();
    let mut all = Ran::default();
    while let Some(ended) = running.join_next().await {
        all.join(ended??);
    }
    all.seconds = began.elapsed().as_secs_f64();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_300_bytes() {
        for number in [0, 7, 999_999, 31_000_093 * MOST_EVENTS] {
            assert_eq!(body(number).to_string().len(), 300);
        }
    }
}
