//! Appends that wait to be stored, and which of them go out together.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domain::{Id, Tenant};
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use super::batch::{Outcome, Salt, answer_id, salts};
use crate::{Append, Error, Priority, StreamAppend, StreamId, Weights};

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
/// If appends have been waiting for so long on average of late, and the first of those that wait now
/// has as well, whoever has most that waits is to start nothing new.
const STRAIN: Duration = Duration::from_millis(250);

/// What is strain for whoever wants to begin something of this urgency.
fn strain(priority: Priority) -> Duration {
    match priority {
        Priority::Low => STRAIN / 2,
        Priority::Normal => STRAIN,
        Priority::High => STRAIN * 4,
    }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    news: Notify,
    weights: Weights,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
    events: usize,
    /// How many events the groups have that are being stored.
    under_way: usize,
    /// How long appends have waited until they were stored: a moving average over some ten groups.
    average: Duration,
    /// Since when the first of each of these groups has been waiting.
    since: Vec<Instant>,
    /// How many appends of each tenant are waiting, or being stored.
    tenants: HashMap<Id<Tenant>, usize>,
}

/// An append, and where its outcome is waited for.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) append: Arc<Append>,
    /// One for each event.
    pub(super) salts: Vec<Salt>,
    events: usize,
    bytes: usize,
    since: Instant,
    pub(super) done: oneshot::Sender<Result<Outcome, Error>>,
}

impl Job {
    /// An append, and where its outcome will be told.
    pub(super) fn of(append: Arc<Append>) -> (Self, oneshot::Receiver<Result<Outcome, Error>>) {
        let (done, outcome) = oneshot::channel();
        let (salts, bytes) = (salts(&append), size(&append));
        let events = salts.len();
        (Self { append, salts, events, bytes, since: Instant::now(), done }, outcome)
    }
}

fn size(append: &Append) -> usize {
    let events = append.streams.iter().flat_map(|part| &part.events);
    let reply = append.reply.as_ref().map_or(0, |(_, reply)| reply.body.len());
    OVERHEAD + reply + events.map(|draft| OVERHEAD + draft.body.len()).sum::<usize>()
}

impl Queue {
    pub(super) fn new(weights: Weights) -> Self {
        Self { weights, ..Self::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, job: Job) -> Result<(), Error> {
        let mut waiting = self.lock();
        if !waiting.jobs.is_empty() && waiting.bytes + job.bytes > WAITING_BYTES {
            return Err(Error::Busy { retry_after: RETRY_AFTER });
        }
        waiting.bytes += job.bytes;
        waiting.events += job.events;
        *waiting.tenants.entry(job.append.meta.tenant).or_default() += 1;
        waiting.jobs.push_back(job);
        let ready = waiting.is_ready();
        drop(waiting);
        if ready {
            self.news.notify_one();
        }
        Ok(())
    }

    /// Refuses a tenant that is more than its share of what keeps others waiting.
    pub(super) fn admit(&self, tenant: Id<Tenant>, priority: Priority) -> Result<(), Error> {
        let waiting = self.lock();
        let is_strained = waiting.is_late(strain(priority), Instant::now())
            && waiting.has_its_share(tenant, &self.weights);
        if is_strained { Err(Error::Busy { retry_after: RETRY_AFTER }) } else { Ok(()) }
    }

    /// The next group, as soon as one should go.
    pub(super) async fn next(self: &Arc<Self>) -> Group {
        loop {
            let jobs = self.lock().take();
            if !jobs.is_empty() {
                // What is left may be for another lane.
                self.news.notify_one();
                return Group { _under_way: UnderWay::of(&jobs, self.clone()), jobs };
            }
            self.news.notified().await;
        }
    }
}

/// Appends that go out together.
pub(super) struct Group {
    pub(super) jobs: Vec<Job>,
    _under_way: UnderWay,
}

/// Lets the next group go when it is dropped, also by a lane that panics.
struct UnderWay {
    queue: Arc<Queue>,
    events: usize,
    since: Instant,
    /// How long its appends had been waiting on average when they were taken, and when that was.
    waited: (Duration, Instant),
    tenants: Vec<Id<Tenant>>,
}

impl UnderWay {
    fn of(jobs: &[Job], queue: Arc<Queue>) -> Self {
        let since = jobs.iter().map(|job| job.since).min().unwrap_or_else(Instant::now);
        queue.lock().since.push(since);
        let events = jobs.iter().map(|job| job.events).sum();
        let tenants = jobs.iter().map(|job| job.append.meta.tenant).collect();
        let (now, count) = (Instant::now(), u32::try_from(jobs.len()).unwrap_or(u32::MAX).max(1));
        let waited = jobs.iter().map(|job| now.duration_since(job.since)).sum::<Duration>() / count;
        Self { queue, events, since, waited: (waited, now), tenants }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut waiting = self.queue.lock();
        waiting.under_way -= self.events;
        let (before, taken) = self.waited;
        waiting.average = (waiting.average * 9 + before + taken.elapsed()) / 10;
        if let Some(nth) = waiting.since.iter().position(|since| *since == self.since) {
            waiting.since.swap_remove(nth);
        }
        for tenant in &self.tenants {
            waiting.leave(*tenant);
        }
        drop(waiting);
        self.queue.news.notify_one();
    }
}

impl Waiting {
    /// Whether a group should go: nothing is under way, or enough waits to go ahead.
    fn is_ready(&self) -> bool {
        let ahead = self.events >= AHEAD_EVENTS && 2 * self.events >= self.under_way;
        !self.jobs.is_empty() && (self.under_way == 0 || ahead)
    }

    /// As many of the first as fit into a group. What is not apart from those that are in it already waits
    /// for the next one, so that a verdict never depends on a neighbour.
    fn take(&mut self) -> Vec<Job> {
        let (mut group, mut events, mut bytes) = (vec![], 0, 0);
        if !self.is_ready() {
            return group;
        }
        let (mut streams, mut keys) = (HashMap::new(), HashSet::new());
        let mut later = VecDeque::new();
        while let Some(job) = self.jobs.pop_front() {
            if job.done.is_closed() {
                self.forget(&job);
                self.leave(job.append.meta.tenant);
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

    /// Whether somebody has been waiting for so long, as others have on average of late.
    fn is_late(&self, strain: Duration, now: Instant) -> bool {
        let first = self.jobs.front().map(|job| job.since);
        let first = self.since.iter().copied().chain(first).min();
        self.average > strain && first.is_some_and(|first| now.duration_since(first) > strain)
    }

    /// Whether a tenant has no less that waits than its weight gives it, of all who wait.
    fn has_its_share(&self, tenant: Id<Tenant>, weights: &Weights) -> bool {
        let all = self.tenants.values().sum::<usize>();
        let of_all = self.tenants.keys().map(|tenant| weights.of(*tenant)).sum::<usize>();
        let own = self.tenants.get(&tenant);
        own.is_some_and(|own| own * of_all >= all * weights.of(tenant))
    }

    /// One append of a tenant waits no more.
    fn leave(&mut self, tenant: Id<Tenant>) {
        if let Some(count) = self.tenants.get_mut(&tenant) {
            *count -= 1;
            if *count == 0 {
                self.tenants.remove(&tenant);
            }
        }
    }

    fn forget(&mut self, job: &Job) {
        self.bytes -= job.bytes;
        self.events -= job.events;
    }
}

/// Whether an append shares no stream and no key with those before it; then takes note of its own. A stream
/// that only must be as expected may be that of many, as long as none of them adds to it: `streams` says
/// whether one does.
fn apart(append: &Append, streams: &mut HashMap<StreamId, bool>, keys: &mut HashSet<Uuid>) -> bool {
    let tenant = append.meta.tenant.as_uuid();
    let key = append.reply.as_ref().map(|(key, _)| answer_id(tenant, key.principal, &key.key));
    let adds = |part: &StreamAppend| !part.events.is_empty();
    let shared = |part: &StreamAppend| {
        streams.get(&part.stream).is_some_and(|is_added_to| *is_added_to || adds(part))
    };
    if append.streams.iter().any(shared) || key.is_some_and(|key| keys.contains(&key)) {
        return false;
    }
    streams.extend(append.streams.iter().map(|part| (part.stream, adds(part))));
    keys.extend(key);
    true
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::super::tests::{append, one, part, stream};
    use super::*;
    use crate::{CommandKey, Expected, Reply};

    type Answer = oneshot::Receiver<Result<Outcome, Error>>;

    fn job(append: Append) -> (Job, Answer) {
        Job::of(Arc::new(append))
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
    fn many_may_ask_for_the_same_stream_to_be_as_it_is_but_not_beside_one_that_adds_to_it() {
        let given = |id| {
            let mut append = one(id, Expected::None, [id]);
            append.streams.push(part(stream(9), Expected::At(1), []));
            append
        };
        let adding = |id| one(9, Expected::Any, [id]);
        let (queue, _answers) = queue([given(1), adding(2), given(3), adding(4), given(5)]);
        assert_eq!(taken(&queue), ids([1, 3, 5]));
        queue.lock().under_way = 0;
        assert_eq!(taken(&queue), ids([2]));
        queue.lock().under_way = 0;
        assert_eq!(taken(&queue), ids([4]));
    }

    fn tenant(number: u128) -> Id<Tenant> {
        Id::from_uuid(Uuid::from_u128(number))
    }

    /// An append of a tenant that has been waiting for a while.
    fn waits(queue: &Queue, of: u128, id: u128) -> Answer {
        let mut append = one(id, Expected::Any, [id]);
        append.meta.tenant = tenant(of);
        append.streams[0].stream.tenant = append.meta.tenant;
        let (mut job, answer) = job(append);
        job.since -= 2 * STRAIN;
        queue.push(job).expect("there is room");
        answer
    }

    #[test]
    fn who_has_most_that_waits_for_long_begins_nothing_new_and_others_may() {
        let queue = Arc::<Queue>::default();
        let admits = |number| queue.admit(tenant(number), Priority::Normal).is_ok();
        assert!(admits(1), "nobody waits");
        queue.lock().average = 2 * STRAIN;
        let mut answers: Vec<Answer> = (1..=5).map(|id| waits(&queue, 1, id)).collect();
        answers.push(waits(&queue, 2, 10));
        assert_eq!((admits(1), admits(2), admits(3)), (false, true, true));
        let jobs = queue.lock().take();
        let under_way = UnderWay::of(&jobs, queue.clone());
        assert!(!admits(1), "what is being stored counts as well");
        drop(under_way);
        assert!(admits(1), "it is over");
        assert!(queue.lock().tenants.is_empty());
    }

    #[test]
    fn what_is_less_urgent_is_refused_sooner() {
        let queue = Arc::<Queue>::default();
        let _answer = waits(&queue, 1, 1);
        let admitted = |average| {
            queue.lock().average = average;
            let all = [Priority::Low, Priority::Normal, Priority::High];
            all.map(|priority| queue.admit(tenant(1), priority).is_ok())
        };
        assert_eq!(admitted(STRAIN / 4), [true, true, true]);
        assert_eq!(admitted(STRAIN / 4 * 3), [false, true, true]);
        assert_eq!(admitted(STRAIN * 2), [false, false, true]);
        queue.lock().jobs[0].since -= 8 * STRAIN;
        assert_eq!(admitted(STRAIN * 8), [false, false, false]);
    }

    #[test]
    fn whoever_weighs_more_may_have_more_that_waits() {
        let weights = [(tenant(1), NonZeroU16::new(3).expect("not 0"))];
        let queue = Arc::new(Queue::new(weights.into_iter().collect()));
        queue.lock().average = 2 * STRAIN;
        let mut answers: Vec<Answer> = (1..=5).map(|id| waits(&queue, 1, id)).collect();
        answers.extend((11..=12).map(|id| waits(&queue, 2, id)));
        let admits = |number| queue.admit(tenant(number), Priority::Normal).is_ok();
        assert_eq!((admits(1), admits(2)), (true, false), "5 of 7 are less than three quarters");
        answers.push(waits(&queue, 1, 6));
        assert_eq!((admits(1), admits(2)), (false, false), "6 of 8 are not");
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
