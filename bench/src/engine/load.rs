//! Callers that start workflows, each the next one when it has the end of the last.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;

/// How long somebody waits who was refused.
const PAUSE: Duration = Duration::from_millis(50);

/// When callers have done enough.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Enough {
    /// After this time.
    Time(Duration),
    /// When this many were called for by all of them together.
    Calls(u64),
}

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ran {
    /// How many workflows ended, each with the right result.
    pub(crate) workflows: u64,
    pub(crate) seconds: f64,
    /// Milliseconds within which 50, 95 and 99 of a hundred had ended; nothing if no caller waited.
    pub(crate) within: Option<[f64; 3]>,
    /// How many did not, and what the first of them said.
    pub(crate) errors: u64,
    pub(crate) error: Option<String>,
}

impl Ran {
    /// A run whose callers did not wait.
    pub(crate) fn unwaited(workflows: u64, began: Instant) -> Self {
        Self { workflows, seconds: began.elapsed().as_secs_f64(), ..Self::default() }
    }

    pub(crate) fn per_second(&self) -> f64 {
        float(self.workflows) / self.seconds
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
            let (mut times, mut errors) = (vec![], vec![]);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let done = match enough {
                    Enough::Time(long) => began.elapsed() >= long,
                    Enough::Calls(most) => number >= most,
                };
                if done {
                    return (times, errors);
                }
                let called = Instant::now();
                match call(number).await {
                    Ok(()) => times.push(called.elapsed()),
                    Err(error) => {
                        errors.push(error);
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        });
    }
    let (mut times, mut errors) = (vec![], vec![]);
    while let Some(ended) = running.join_next().await {
        let (of_one, wrong) = ended?;
        times.extend(of_one);
        errors.extend(wrong);
    }
    times.sort_unstable();
    Ok(Ran {
        workflows: u64::try_from(times.len())?,
        seconds: began.elapsed().as_secs_f64(),
        within: quantiles(&times),
        errors: u64::try_from(errors.len())?,
        error: errors.first().map(|error| format!("{error:#}")),
    })
}

/// The milliseconds of [`Ran::within`], of times in order.
fn quantiles(times: &[Duration]) -> Option<[f64; 3]> {
    let last = times.len().checked_sub(1)?;
    Some([50, 95, 99].map(|percent| times[last * percent / 100].as_secs_f64() * 1000.0))
}
