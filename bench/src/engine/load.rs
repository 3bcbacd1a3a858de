//! Callers that start workflows, each the next one when it has the end of the last.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;

/// When callers have done enough.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Enough {
    /// After this time.
    Time(Duration),
    /// When this many were called for by all of them together.
    Calls(u64),
}

/// What came of a run.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    /// How many workflows ended.
    pub(crate) workflows: u64,
    pub(crate) seconds: f64,
    /// How long each took, in order.
    times: Vec<Duration>,
}

impl Ran {
    pub(crate) fn new(workflows: u64, began: Instant, mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self { workflows, seconds: began.elapsed().as_secs_f64(), times }
    }

    pub(crate) fn per_second(&self) -> f64 {
        float(self.workflows) / self.seconds
    }

    /// Milliseconds within which so many of a hundred had ended; nothing if no caller waited.
    pub(crate) fn within(&self, percent: usize) -> Option<f64> {
        let place = self.times.len().saturating_sub(1) * percent / 100;
        self.times.get(place).map(|time| time.as_secs_f64() * 1000.0)
    }
}

/// A count in arithmetic; none of them comes near 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are small")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// Has `callers` call until it is enough; `call` gets the number of the call.
pub(crate) async fn drive<F, C>(callers: u64, enough: Enough, call: F) -> Result<Ran>
where
    F: Fn(u64) -> C + Clone + Send + 'static,
    C: Future<Output = Result<()>> + Send,
{
    let began = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    let mut running = JoinSet::new();
    for _ in 0..callers {
        let (call, next) = (call.clone(), next.clone());
        running.spawn(async move {
            let mut times = vec![];
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let done = match enough {
                    Enough::Time(long) => began.elapsed() >= long,
                    Enough::Calls(most) => number >= most,
                };
                if done {
                    return Ok::<_, anyhow::Error>(times);
                }
                let called = Instant::now();
                call(number).await?;
                times.push(called.elapsed());
            }
        });
    }
    let mut times = vec![];
    while let Some(ended) = running.join_next().await {
        times.extend(ended??);
    }
    Ok(Ran::new(u64::try_from(times.len())?, began, times))
}
