//! The one writer of a process: puts the appends of many callers into one transaction.
//!
//! There is no timer. While one group commits the next one gathers, so a group is as large as the
//! load makes it, and whoever is alone waits for nobody.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

use super::batch::{Batch, Outcome, answer_id};
use super::{PAUSES, lost};
use crate::{Append, Error, StreamId};

/// How many groups are under way at once: while the database works on one, the next is laid out and
/// waits for the log beside it. It goes only when it is as large as the one before it, so that what
/// comes in does not go out in crumbs.
const LANES: usize = 2;
/// The most events of a group. Beyond this, larger groups are hardly cheaper per event.
const GROUP_EVENTS: usize = 2_000;
/// The most bytes of a group, but for one append that has more by itself.
const GROUP_BYTES: usize = 4 * 1024 * 1024;
/// The most bytes that wait; whoever comes then is told to come back.
const WAITING_BYTES: usize = 64 * 1024 * 1024;
/// What an event takes beside its body, roughly.
const OVERHEAD: usize = 512;
/// When to come back.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long a lane keeps its connection when there is nothing to do.
const KEPT: Duration = Duration::from_secs(1);

/// Takes appends and stores them.
#[derive(Debug)]
pub(super) struct Writer {
    pool: PgPool,
    log: i16,
    queue: Arc<Queue>,
    /// End with the writer.
    lanes: Mutex<JoinSet<()>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
    events: usize,
    /// How many events the groups have that are being stored.
    under_way: usize,
}

/// An append, and where its outcome is waited for.
#[derive(Debug)]
struct Job {
    append: Arc<Append>,
    events: usize,
    bytes: usize,
    done: oneshot::Sender<Result<Outcome, Error>>,
}

impl Writer {
    /// A writer to a log, within a Tokio runtime.
    pub(super) fn new(pool: PgPool, log: i16) -> Self {
        Self { pool, log, queue: Arc::default(), lanes: Mutex::default() }
    }

    /// Stores an append, or says why not. One that is given up before it goes out is not stored.
    pub(super) async fn write(&self, append: Arc<Append>) -> Result<Outcome, Error> {
        let (done, outcome) = oneshot::channel();
        let events = append.streams.iter().map(|part| part.events.len()).sum();
        self.queue.push(Job { events, bytes: size(&append), append, done })?;
        self.start();
        // A lane that panics takes its group along; nobody knows what became of it.
        outcome.await.unwrap_or_else(|_| Err(sqlx::Error::WorkerCrashed.into()))
    }

    /// Starts the lanes with the first append: whoever only reads pays for none.
    fn start(&self) {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        while lanes.try_join_next().is_some() {}
        while lanes.len() < LANES {
            let (pool, queue) = (self.pool.clone(), self.queue.clone());
            lanes.spawn(Lane { pool, queue, log: self.log, connection: None }.run());
        }
    }
}

fn size(append: &Append) -> usize {
    let events = append.streams.iter().flat_map(|part| &part.events);
    let reply = append.reply.as_ref().map_or(0, |(_, reply)| reply.body.len());
    OVERHEAD + reply + events.map(|draft| OVERHEAD + draft.body.len()).sum::<usize>()
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, job: Job) -> Result<(), Error> {
        let mut waiting = self.lock();
        if !waiting.jobs.is_empty() && waiting.bytes + job.bytes > WAITING_BYTES {
            return Err(Error::Busy { retry_after: RETRY_AFTER });
        }
        waiting.bytes += job.bytes;
        waiting.events += job.events;
        waiting.jobs.push_back(job);
        let ready = waiting.is_ready();
        drop(waiting);
        if ready {
            self.news.notify_one();
        }
        Ok(())
    }

    /// The next group, as soon as one should go.
    async fn next(self: &Arc<Self>) -> Group {
        loop {
            let jobs = self.lock().take();
            if !jobs.is_empty() {
                // What is left may be for another lane.
                self.news.notify_one();
                let events = jobs.iter().map(|job| job.events).sum();
                return Group { jobs, _under_way: UnderWay { queue: self.clone(), events } };
            }
            self.news.notified().await;
        }
    }
}

/// Appends that go out together.
struct Group {
    jobs: Vec<Job>,
    _under_way: UnderWay,
}

/// Lets the next group go when it is dropped, also by a lane that panics.
struct UnderWay {
    queue: Arc<Queue>,
    events: usize,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.queue.lock().under_way -= self.events;
        self.queue.news.notify_one();
    }
}

impl Waiting {
    /// Whether a group should go: nothing is under way, or no more than waits here.
    fn is_ready(&self) -> bool {
        !self.jobs.is_empty() && self.events >= self.under_way
    }

    /// As many of the first as fit into a group. A stream or key that is in it already waits for
    /// the next one, so that a verdict never depends on a neighbour.
    fn take(&mut self) -> Vec<Job> {
        let (mut group, mut events, mut bytes) = (vec![], 0, 0);
        if !self.is_ready() {
            return group;
        }
        let (mut streams, mut keys) = (HashSet::new(), HashSet::new());
        let mut later = VecDeque::new();
        while let Some(job) = self.jobs.pop_front() {
            if job.done.is_closed() {
                self.forget(&job);
                continue;
            }
            let full = events + job.events > GROUP_EVENTS || bytes + job.bytes > GROUP_BYTES;
            if full && !group.is_empty() {
                later.push_back(job);
                break;
            }
            if !apart(&job.append, &mut streams, &mut keys) {
                later.push_back(job);
                continue;
            }
            self.forget(&job);
            (events, bytes) = (events + job.events, bytes + job.bytes);
            group.push(job);
        }
        later.append(&mut self.jobs);
        self.jobs = later;
        self.under_way += events;
        group
    }

    fn forget(&mut self, job: &Job) {
        self.bytes -= job.bytes;
        self.events -= job.events;
    }
}

/// Whether an append shares no stream and no key with those before it; then takes note of its own.
fn apart(append: &Append, streams: &mut HashSet<StreamId>, keys: &mut HashSet<Uuid>) -> bool {
    let tenant = append.meta.tenant.as_uuid();
    let key = append.reply.as_ref().map(|(key, _)| answer_id(tenant, key.principal, &key.key));
    let shared = append.streams.iter().any(|part| streams.contains(&part.stream));
    if shared || key.is_some_and(|key| keys.contains(&key)) {
        return false;
    }
    streams.extend(append.streams.iter().map(|part| part.stream));
    keys.extend(key);
    true
}

/// Stores one group at a time.
struct Lane {
    pool: PgPool,
    queue: Arc<Queue>,
    log: i16,
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
        }
    }

    /// Stores a group. If an append in it cannot be stored as it is, the others are: the group is
    /// cut in half until the bad one is alone.
    async fn store(&mut self, group: Vec<Job>) {
        let mut groups = vec![group];
        while let Some(mut group) = groups.pop() {
            match self.attempt(&group).await {
                Ok(outcomes) => {
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
        let batch = Batch::of(group.iter().map(|job| &*job.append));
        for pause in PAUSES {
            match self.send(&batch).await {
                Err(error) if lost(&error) => {
                    tracing::warn!(%error, "the connection to the database was lost; trying again");
                    tokio::time::sleep(pause).await;
                }
                done => return done,
            }
        }
        self.send(&batch).await
    }

    async fn send(&mut self, batch: &Batch<'_>) -> Result<Vec<Outcome>, sqlx::Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.pool.acquire().await?,
        };
        let done = batch.run(self.log, &mut connection).await;
        if !done.as_ref().is_err_and(lost) {
            self.connection = Some(connection);
        }
        done
    }
}

/// Whether an error is about what was sent, so that without it the rest can be stored: data
/// exceptions, broken constraints, limits of the server (SQLSTATE classes), or what could not even
/// be encoded.
fn is_about_data(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
        || matches!(error, sqlx::Error::Encode(_))
}
