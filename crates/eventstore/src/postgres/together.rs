//! Questions of many, asked together: while one round is under way the next gathers, unless that takes long.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout;

use super::retry::retrying;
use crate::Error;

/// How many may wait for their question to be asked; whoever comes then is told to come back.
const WAITING: usize = 10_000;
/// After how long under way a round is overtaken by the next: it waits for a disk then, and others can
/// as well.
const OVERTAKEN: Duration = Duration::from_millis(3);
/// How many rounds may be under way.
const ROUNDS: usize = 4;
/// How long an answer may take, when nobody says that it will not come.
const PATIENCE: Duration = Duration::from_secs(5);

/// A question, and where its answer is waited for.
type Asker<Q, A> = (Q, oneshot::Sender<Result<A, Error>>);

/// Asks, for whoever wants to know something.
#[derive(Debug)]
pub(super) struct Together<Q, A> {
    askers: mpsc::Sender<Asker<Q, A>>,
}

impl<Q: Clone + Send + Sync + 'static, A: Send + 'static> Together<Q, A> {
    /// Asks up to `most` questions at once, within a Tokio runtime, until this is dropped. `ask` gives
    /// an answer to each, in their order.
    pub(super) fn new<F>(most: usize, ask: impl Fn(Vec<Q>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = sqlx::Result<Vec<A>>> + Send + 'static,
    {
        let (askers, waiting) = mpsc::channel(WAITING);
        tokio::spawn(answer(most, ask, waiting));
        Self { askers }
    }

    /// The answer at a moment after this was called.
    pub(super) async fn ask(&self, question: Q) -> Result<A, Error> {
        let (tell, told) = oneshot::channel();
        match self.askers.try_send((question, tell)) {
            Err(TrySendError::Full(_)) => return Err(Error::Busy { retry_after: PATIENCE }),
            // One that is gone gives no answer, which is found below.
            Ok(()) | Err(TrySendError::Closed(_)) => {}
        }
        told.await.unwrap_or_else(|_| Err(sqlx::Error::WorkerCrashed.into()))
    }
}

async fn answer<Q: Clone + Send + Sync + 'static, A: Send + 'static, F>(
    most: usize,
    ask: impl Fn(Vec<Q>) -> F + Send + Sync + 'static,
    mut waiting: mpsc::Receiver<Asker<Q, A>>,
) where
    F: Future<Output = sqlx::Result<Vec<A>>> + Send + 'static,
{
    let (ask, mut rounds, mut askers) = (Arc::new(ask), JoinSet::new(), Vec::new());
    while waiting.recv_many(&mut askers, most).await > 0 {
        // Who is about to ask as well goes with this round, not after it.
        yield_now().await;
        while askers.len() < most
            && let Ok(asker) = waiting.try_recv()
        {
            askers.push(asker);
        }
        rounds.spawn(round(ask.clone(), std::mem::take(&mut askers)));
        // One that is over says nothing more; one that takes long is not waited for.
        let _ = timeout(OVERTAKEN, rounds.join_next()).await;
        while rounds.len() >= ROUNDS {
            rounds.join_next().await;
        }
    }
    while rounds.join_next().await.is_some() {}
}

async fn round<Q: Clone, A, F>(
    ask: Arc<impl Fn(Vec<Q>) -> F + Send + Sync>,
    mut askers: Vec<Asker<Q, A>>,
) where
    F: Future<Output = sqlx::Result<Vec<A>>>,
{
    // Whoever gave up does not want to know.
    askers.retain(|(_, tell)| !tell.is_closed());
    let questions: Vec<Q> = askers.iter().map(|(question, _)| question.clone()).collect();
    let asked = timeout(PATIENCE, retrying(|| ask(questions.clone()))).await;
    match asked.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
        Ok(answers) => {
            for ((_, tell), answer) in askers.into_iter().zip(answers) {
                let _ = tell.send(Ok(answer));
            }
        }
        Err(error) => {
            let error = Arc::new(error);
            for (_, tell) in askers {
                let _ = tell.send(Err(Error::Database(error.clone())));
            }
        }
    }
}
