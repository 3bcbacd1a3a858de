//! The one writer of a process: puts the appends of many callers into one transaction.
//!
//! There is no timer. While one group commits the next one gathers, so a group is as large as the
//! load makes it, and whoever is alone waits for nobody.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::{Id, Tenant};
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::batch::{Batch, Outcome};
use super::memory::Memory;
use super::one::One;
use super::queue::{Job, Queue};
use super::retry::{PAUSES, lost};
use crate::{Append, Error, Priority, Weights};

/// How many groups are under way at once: while the database works on one, the next is laid out and
/// waits for the log beside it. It goes only when it is half as large as the one before it and worth
/// a commit of its own, so that what comes in does not go out in crumbs.
const LANES: usize = 2;
/// How long a lane keeps its connection when there is nothing to do.
const KEPT: Duration = Duration::from_secs(1);

/// Takes appends and stores them.
#[derive(Debug)]
pub(super) struct Writer {
    pool: PgPool,
    log: i16,
    queue: Arc<Queue>,
    /// Where what was stored is remembered, if somebody wants that.
    memory: Option<Memory>,
    /// End with the writer.
    lanes: Mutex<JoinSet<()>>,
}

impl Writer {
    /// A writer to a log, within a Tokio runtime.
    pub(super) fn new(pool: PgPool, log: i16) -> Self {
        let (queue, lanes) = Default::default();
        Self { pool, log, queue, memory: None, lanes }
    }

    /// The same with shares of tenants that differ.
    pub(super) fn weighing(self, weights: Weights) -> Self {
        Self { queue: Arc::new(Queue::new(weights)), ..self }
    }

    /// The same that remembers what it has stored.
    pub(super) fn remembering(self, memory: Memory) -> Self {
        Self { memory: Some(memory), ..self }
    }

    /// Stores an append, or says why not. One that is given up before it goes out is not stored.
    pub(super) async fn write(&self, append: Arc<Append>) -> Result<Outcome, Error> {
        let (job, outcome) = Job::of(append);
        self.queue.push(job)?;
        self.start();
        // A lane that panics takes its group along; nobody knows what became of it.
        outcome.await.unwrap_or_else(|_| Err(sqlx::Error::WorkerCrashed.into()))
    }

    /// Refuses a tenant that is more than its share of what keeps others waiting.
    pub(super) fn admit(&self, tenant: Id<Tenant>, priority: Priority) -> Result<(), Error> {
        self.queue.admit(tenant, priority)
    }

    /// Starts the lanes with the first append: whoever only reads pays for none.
    fn start(&self) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        while lanes.try_join_next().is_some() {}
        while lanes.len() < LANES {
            let (pool, queue) = (self.pool.clone(), self.queue.clone());
            let (log, memory) = (self.log, self.memory.clone());
            lanes.spawn(Lane { pool, queue, log, memory, connection: None }.run());
        }
    }
}

/// Stores one group at a time.
struct Lane {
    pool: PgPool,
    queue: Arc<Queue>,
    log: i16,
    memory: Option<Memory>,
    connection: Option<PoolConnection<Postgres>>,
}

impl Lane {
    async fn run(mut self) {
        loop {
            let group = if let Ok(group) = timeout(KEPT, self.queue.next()).await {
                group
            } else {
                self.connection = None;
                self.queue.next().await
            };
            self.store(group.jobs).await;
            // Whoever was just answered may have more: it goes with the next group, not after it.
            tokio::task::yield_now().await;
        }
    }

    /// Stores a group. If an append in it cannot be stored as it is, the others are: the group is
    /// cut in half until the bad one is alone.
    async fn store(&mut self, group: Vec<Job>) {
        let mut groups = vec![group];
        while let Some(mut group) = groups.pop() {
            match self.attempt(&group).await {
                Ok(outcomes) => {
                    // Before anybody is told of it, and looks.
                    if let Some(memory) = &self.memory {
                        memory.keep(&group, &outcomes).await;
                    }
                    for (job, outcome) in group.into_iter().zip(outcomes) {
                        // Whoever gave up does not want to know.
                        let _ = job.done.send(Ok(outcome));
                    }
                }
                Err(error) if group.len() > 1 && is_about_data(&error) => {
                    let half = group.split_off(group.len() / 2);
                    groups.extend([half, group]);
                }
                Err(error) => {
                    // Nobody knows what became of it.
                    if let Some(memory) = &self.memory {
                        memory.forget();
                    }
                    let error = Arc::new(error);
                    for job in group {
                        let _ = job.done.send(Err(Error::Database(error.clone())));
                    }
                }
            }
        }
    }

    /// Sends a group, again while the reason is a lost connection: appends that were stored
    /// recognise themselves.
    async fn attempt(&mut self, group: &[Job]) -> Result<Vec<Outcome>, sqlx::Error> {
        for pause in PAUSES {
            match self.send(group).await {
                Err(error) if lost(&error) => {
                    tracing::warn!(%error, "the connection to the database was lost; trying again");
                    tokio::time::sleep(pause).await;
                }
                done => return done,
            }
        }
        self.send(group).await
    }

    async fn send(&mut self, group: &[Job]) -> Result<Vec<Outcome>, sqlx::Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.pool.acquire().await?,
        };
        let done = stored(group, self.log, &mut connection).await;
        if !done.as_ref().is_err_and(lost) {
            self.connection = Some(connection);
        }
        done
    }
}

/// Stores appends: the short way if it is one, and easy; else all together.
async fn stored(
    group: &[Job],
    log: i16,
    db: &mut PgConnection,
) -> Result<Vec<Outcome>, sqlx::Error> {
    if let [job] = group
        && let Some(one) = One::of(&job.append, &job.salts)
        && let Some(outcome) = one.run(log, db).await?
    {
        return Ok(vec![outcome]);
    }
    Batch::of(group.iter().map(|job| (&*job.append, &job.salts))).run(log, db).await
}

/// Whether an error is about what was sent, so that without it the rest can be stored: data
/// exceptions, broken constraints, limits of the server (SQLSTATE classes), or what could not even
/// be encoded.
fn is_about_data(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
        || matches!(error, sqlx::Error::Encode(_))
}
