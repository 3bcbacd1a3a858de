//! The load: callers that append, one after the other, as fast as they are answered.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;
use uuid::Uuid;

/// How many appends a stream gets before the next one begins.
const APPENDS_PER_STREAM: u64 = 4;

/// One append of the load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    /// Which stream.
    pub(crate) stream: Uuid,
    /// The version it has.
    pub(crate) version: i64,
    /// How many events it gets.
    pub(crate) events: u64,
    /// Counts appends of all callers apart.
    pub(crate) number: u64,
}

/// What came of a run.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    pub(crate) events: u64,
    pub(crate) seconds: f64,
    /// Milliseconds within which half of the appends were answered, and 99 of a hundred; nothing
    /// if there were none.
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
}

impl Ran {
    pub(crate) fn per_second(&self) -> f64 {
        count(self.events) / self.seconds
    }

    /// A run that was not made of appends.
    pub(crate) fn of(events: u64, began: Instant) -> Self {
        Self { events, seconds: began.elapsed().as_secs_f64(), p50: None, p99: None }
    }
}

/// Has `callers` append for so long, each waiting for its answer: 1 to 8 events an append, four
/// appends a stream. `append` tells how many events it stored.
pub(crate) async fn drive<F, A>(callers: u64, long: Duration, append: F) -> Result<Ran>
where
    F: Fn(Step) -> A + Clone + Send + 'static,
    A: Future<Output = Result<u64>> + Send,
{
    let began = Instant::now();
    let until = began + long;
    let mut running = JoinSet::new();
    for caller in 0..callers {
        let append = append.clone();
        running.spawn(async move { call(caller, until, append).await });
    }
    let (mut events, mut times) = (0, vec![]);
    while let Some(ended) = running.join_next().await {
        let (appended, took) = ended??;
        events += appended;
        times.extend(took);
    }
    let seconds = began.elapsed().as_secs_f64();
    times.sort_unstable();
    let within = |percent: usize| {
        let place = times.len().saturating_sub(1) * percent / 100;
        times.get(place).map(|time| time.as_secs_f64() * 1000.0)
    };
    Ok(Ran { events, seconds, p50: within(50), p99: within(99) })
}

async fn call<F, A>(caller: u64, until: Instant, append: F) -> Result<(u64, Vec<Duration>)>
where
    F: Fn(Step) -> A,
    A: Future<Output = Result<u64>>,
{
    let (mut events, mut times, mut number) = (0, vec![], caller * 1_000_003);
    loop {
        let stream = id();
        let mut version = 0;
        for _ in 0..APPENDS_PER_STREAM {
            if Instant::now() >= until {
                return Ok((events, times));
            }
            let step = Step { stream, version, events: number % 8 + 1, number };
            let sent = Instant::now();
            events += append(step).await?;
            times.push(sent.elapsed());
            version += i64::try_from(step.events)?;
            number += 1;
        }
    }
}

/// A random id.
pub(crate) fn id() -> Uuid {
    Uuid::from_u128(rand::random())
}

/// The body of an event: 300 bytes of JSON, different each time.
pub(crate) fn body(number: u64) -> String {
    let (step, tokens, took) = (number % 10, 1000 + number % 999, 100 + number % 899);
    let mut body = format!(
        r#"{{"agent":"summariser","attempt":1,"execution":"{number:036}","latency_ms":{took},"model":"large","status":"completed","task":"/do/{step}/summarise","tokens":{{"input":{tokens},"output":321}},"note":""#
    );
    while body.len() < 298 {
        body.push('x');
    }
    body.push_str("\"}");
    body
}

/// A count as a number that can be divided.
#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
pub(crate) fn count(count: u64) -> f64 {
    count as f64
}
