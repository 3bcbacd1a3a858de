//! The one writer of a process: puts the appends of many callers into one transaction.
//!
//! There is no timer. While one group commits the next one gathers, so a group is as large as the
//! load makes it, and whoever is alone waits for nobody.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

use super::batch::{Batch, Outcome, answer_id};
use super::one::One;
use super::{PAUSES, lost};
use crate::{Append, Error, StreamId};

/// How many groups are under way at once: while the database works on one, the next is laid out and
/// waits for the log beside it. It goes only when it is half as large as the one before it and worth
/// a commit of its own, so that what comes in does not go out in crumbs.
const LANES: usize = 2;
/// The fewest events that go out while others are under way.
const AHEAD_EVENTS: usize = 100;
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
    /// Whether a group should go: nothing is under way, or enough waits to go ahead.
    fn is_ready(&self) -> bool {
        let ahead = self.events >= AHEAD_EVENTS && 2 * self.events >= self.under_way;
        !self.jobs.is_empty() && (self.under_way == 0 || ahead)
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
        && let Some(one) = One::of(&job.append)
        && let Some(outcome) = one.run(log, db).await?
    {
        return Ok(vec![outcome]);
    }
    Batch::of(group.iter().map(|job| &*job.append)).run(log, db).await
}

/// Whether an error is about what was sent, so that without it the rest can be stored: data
/// exceptions, broken constraints, limits of the server (SQLSTATE classes), or what could not even
/// be encoded.
fn is_about_data(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
        || matches!(error, sqlx::Error::Encode(_))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{append, one, part, stream};
    use super::*;
    use crate::{CommandKey, Expected, Reply};

    type Answer = oneshot::Receiver<Result<Outcome, Error>>;

    fn job(append: Append) -> (Job, Answer) {
        let (done, answer) = oneshot::channel();
        let events = append.streams.iter().map(|part| part.events.len()).sum();
        let append = Arc::new(append);
        (Job { events, bytes: size(&append), append, done }, answer)
    }

    /// A queue of appends, and where their outcomes are waited for.
    fn queue(appends: impl IntoIterator<Item = Append>) -> (Arc<Queue>, Vec<Answer>) {
        let queue = Arc::<Queue>::default();
        let push = |append| {
            let (job, answer) = job(append);
            queue.push(job).expect("there is room");
            answer
        };
        let answers = appends.into_iter().map(push).collect();
        (queue, answers)
    }

    fn taken(queue: &Queue) -> Vec<Uuid> {
        let group = queue.lock().take();
        group.iter().map(|job| job.append.streams[0].events[0].id).collect()
    }

    fn ids(ids: impl IntoIterator<Item = u128>) -> Vec<Uuid> {
        ids.into_iter().map(Uuid::from_u128).collect()
    }

    #[test]
    fn a_stream_is_in_a_group_once_and_its_appends_keep_their_order() {
        let any = |stream, id| one(stream, Expected::Any, [id]);
        let (queue, _answers) = queue([any(1, 1), any(1, 2), any(2, 3), any(1, 4), any(2, 5)]);
        assert_eq!(taken(&queue), ids([1, 3]));
        queue.lock().under_way = 0;
        assert_eq!(taken(&queue), ids([2, 5]));
        queue.lock().under_way = 0;
        assert_eq!(taken(&queue), ids([4]));
    }

    #[test]
    fn a_key_is_in_a_group_once() {
        let keyed = |id| Append {
            reply: Some((
                CommandKey { principal: Uuid::nil(), key: "same".to_owned(), fingerprint: [0; 32] },
                Reply { status: 200, location: None, body: String::new() },
            )),
            ..one(id, Expected::Any, [id])
        };
        let (queue, _answers) = queue([keyed(1), keyed(2), one(3, Expected::Any, [3])]);
        assert_eq!(taken(&queue), ids([1, 3]));
        queue.lock().under_way = 0;
        assert_eq!(taken(&queue), ids([2]));
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_not_stored() {
        let (queue, mut answers) = queue((1..=3).map(|id| one(id, Expected::Any, [id])));
        drop(answers.remove(1));
        assert_eq!(taken(&queue), ids([1, 3]));
        let waiting = queue.lock();
        assert_eq!((waiting.bytes, waiting.events), (0, 0));
    }

    #[test]
    fn a_group_waits_until_it_is_half_as_large_as_the_one_under_way() {
        let (queue, _answers) = queue([one(1, Expected::Any, 1..=300)]);
        assert_eq!(taken(&queue).len(), 1);
        assert_eq!(queue.lock().under_way, 300);
        let mut more = vec![];
        for id in 2..=150 {
            let (next, answer) = job(one(id, Expected::Any, [1_000 + id]));
            queue.push(next).expect("there is room");
            more.push(answer);
            assert!(taken(&queue).is_empty(), "{} are not half of 300", more.len());
        }
        let (last, _answer) = job(one(151, Expected::Any, [1_151]));
        queue.push(last).expect("there is room");
        assert_eq!(taken(&queue).len(), 150);
    }

    #[test]
    fn a_group_has_a_limit_but_one_large_append_goes_alone() {
        let large = |id: u128| one(id, Expected::Any, 1_000 * id..1_000 * id + 900);
        let (queue, _answers) = queue((1..=3).map(large));
        assert_eq!(taken(&queue).len(), 2, "1,800 events");
        queue.lock().under_way = 0;
        assert_eq!(taken(&queue).len(), 1);
    }

    #[test]
    fn whoever_comes_when_too_much_waits_is_told_to_come_back() {
        let mut huge = part(stream(1), Expected::Any, [1]);
        huge.events[0].body = format!(r#"{{"text":"{}"}}"#, "x".repeat(WAITING_BYTES));
        let (queue, _answers) = queue([append([huge])]);
        let (next, _answer) = job(one(2, Expected::Any, [2]));
        let refused = queue.push(next);
        assert!(matches!(refused, Err(Error::Busy { .. })), "{refused:?}");
        assert_eq!(taken(&queue).len(), 1, "what was there stays there");
        let (again, _answer) = job(one(2, Expected::Any, [2]));
        queue.push(again).expect("now there is room");
    }
}
