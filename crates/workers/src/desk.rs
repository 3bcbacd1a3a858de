//! The loop that finds work and has it done. It is level-triggered: recovery is not a step at
//! start-up but the same loop, which every few seconds looks at everything that is open.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use domain::{Id, Tenant, Timestamp};
use eventstore::Position;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::agenda::{Agenda, Item, Key};
use crate::carry::{Carried, Done, Failed, carry};
use crate::gates::Gate;
use crate::leases::{Divided, Lease, Owned, count_refused};
use crate::turns::Turns;
use crate::{Deps, Error, quarantine};

/// What the desks of all processes share: the partitions that `rm.work` names.
pub(crate) const WORK: Divided = Divided { name: "work", slices: 256 };

/// How often everything that is open is looked at again.
const LOOKED_OVER_EVERY: Duration = Duration::from_secs(5);

/// How far ahead work is fetched. What is due later stays in the table: many looks lie between.
const HORIZON: TimeDelta = TimeDelta::seconds(60);

/// How long to wait if nothing is known to come.
const IDLE: Duration = LOOKED_OVER_EVERY;

/// How long to wait for the projector of another process when the log is ahead of it; that of this
/// process tells.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(50);

/// After so many looks in vain the projector is not slow but parked.
const LOOKS: u32 = 20;

/// How long to wait for a projector that is parked.
const PARKED_PAUSE: Duration = Duration::from_millis(500);

/// How long work under way may take to end when this is told to stop.
const GRACE: Duration = Duration::from_secs(1);

/// How much is done at once.
const AT_ONCE: usize = 2_048;

/// How much of that for one tenant: there always is room for another.
const OF_ONE_TENANT: usize = 1_536;

/// When work that was handed to somebody else, or that failed, is looked at again.
const LOOK_AGAIN: TimeDelta = TimeDelta::seconds(15);

/// The longest pause after repeated failures.
const LONGEST_PAUSE: TimeDelta = TimeDelta::seconds(30);

/// The same for what is done, and only to be noted.
const LONGEST_UNNOTED: TimeDelta = TimeDelta::seconds(1);

/// After so many failures in a row of which the last was a panic, work is left alone.
const PANICS: u32 = 3;

/// A statement for open work of some partitions, the first parameter, that nobody has to leave alone.
macro_rules! select_work {
    ($condition:literal) => {
        concat!(
            "SELECT w.tenant, w.category, w.stream, w.item, w.partition, w.due_at,
                 coalesce(q.item = w.item, false)
             FROM rm.work w
             LEFT JOIN ops.quarantine q USING (tenant, category, stream)
             WHERE w.partition = ANY($1) AND (q.stream IS NULL OR q.retry_at <= clock_timestamp())
                 AND ",
            $condition
        )
    };
}

/// A piece of work that came back from whoever did it.
struct Back {
    item: Item,
    result: Result<Carried, Failed>,
}

/// The desk of one worker.
pub(crate) struct Desk {
    deps: Arc<Deps>,
    owned: watch::Receiver<Owned>,
    turns: Arc<Turns>,
    /// How far the table of open work is, as the projector of this process tells.
    opened: watch::Receiver<Position>,
    agenda: Agenda,
    under_way: HashSet<Key>,
    /// How much is under way for each tenant.
    tenants: HashMap<Id<Tenant>, usize>,
    /// How often in a row a piece of work has failed.
    failures: HashMap<Key, u32>,
    /// What was done and could not be noted.
    unnoted: HashMap<Key, Done>,
    /// What waits for room at another side.
    shut_out: HashMap<Gate, Agenda>,
    /// Everything up to here in the table of open work has been seen.
    seen: Position,
    /// How often in a row nothing more was to be seen, although the log goes on.
    in_vain: u32,
    back: (mpsc::UnboundedSender<Back>, mpsc::UnboundedReceiver<Back>),
}

impl Desk {
    pub(crate) fn new(
        worker: Uuid,
        deps: Arc<Deps>,
        owned: watch::Receiver<Owned>,
        opened: watch::Receiver<Position>,
    ) -> Self {
        let turns = Arc::new(Turns::new(worker, deps.pool.clone()));
        let weights = deps.weights.clone();
        Self {
            deps,
            owned,
            turns,
            opened,
            agenda: Agenda::new(weights),
            under_way: HashSet::new(),
            tenants: HashMap::new(),
            failures: HashMap::new(),
            unnoted: HashMap::new(),
            shut_out: HashMap::new(),
            seen: 0,
            in_vain: 0,
            back: mpsc::unbounded_channel(),
        }
    }

    /// Works until told to stop; a database that is away only delays.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut head = self.deps.log.watch();
        let mut look_over = interval(LOOKED_OVER_EVERY);
        look_over.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // When to look for what is new, if anything may be.
        let mut look_at = None;
        loop {
            let wake_at = self.wake_at().min(look_at.unwrap_or_else(|| Instant::now() + IDLE));
            let outcome = tokio::select! {
                biased;
                () = stop.cancelled() => return self.finish().await,
                // What is rare comes first: a busy log would never let it have its turn.
                _ = look_over.tick() => self.look_over().await,
                Ok(()) = self.owned.changed() => self.look_over().await,
                Some(back) = self.back.1.recv() => {
                    self.take_back(back).await;
                    self.let_in();
                    Ok(())
                }
                Ok(()) = self.opened.changed() => {
                    look_at = None;
                    self.look_at_new().await
                }
                Ok(()) = head.changed(), if look_at.is_none() => Ok(()),
                () = sleep_until(wake_at) => {
                    if look_at.take_if(|at| *at <= Instant::now()).is_some() {
                        self.look_at_new().await
                    } else {
                        Ok(())
                    }
                }
            };
            if let Err(error) = outcome {
                tracing::warn!(%error, "cannot look for work");
            }
            if look_at.is_none() && self.seen < *head.borrow() {
                look_at = Some(Instant::now() + self.pause());
            }
            self.begin_what_is_due();
        }
    }

    /// Lets work under way end and be noted, for a moment: what is cut off is done again.
    async fn finish(mut self) {
        let grace = Instant::now() + GRACE;
        while !self.under_way.is_empty() {
            match timeout_at(grace, self.back.1.recv()).await {
                Ok(Some(back)) => self.under_way.remove(&back.item.key),
                Ok(None) | Err(_) => return,
            };
        }
    }

    /// How long to wait for the projector.
    fn pause(&self) -> Duration {
        if self.in_vain >= LOOKS { PARKED_PAUSE } else { CATCH_UP_PAUSE }
    }

    /// When the next piece of work is due, or somebody may be free for it.
    fn wake_at(&self) -> Instant {
        let due_at = self.agenda.due_at(|tenant| may(&self.tenants, tenant));
        let until = due_at
            .map_or(IDLE, |due_at| (due_at - self.deps.clock.now()).to_std().unwrap_or_default());
        let full = self.under_way.len() >= AT_ONCE;
        Instant::now() + if full { IDLE } else { until.min(IDLE) }
    }

    fn begin_what_is_due(&mut self) {
        let now = self.deps.clock.now();
        while self.under_way.len() < AT_ONCE {
            let may = |tenant| may(&self.tenants, tenant);
            let Some(item) = self.agenda.next(now, may) else { return };
            let Some(lease) = Lease::of(WORK, item.partition, &self.owned) else { continue };
            if !self.under_way.insert(item.key.clone()) {
                continue;
            }
            *self.tenants.entry(item.key.tenant).or_default() += 1;
            let deps = self.deps.clone();
            let back = self.back.0.clone();
            let done = self.unnoted.remove(&item.key);
            let is_careful = item.is_suspect || self.owned.borrow().is_careful;
            let turns = is_careful.then(|| self.turns.clone());
            tokio::spawn(async move {
                let result = carry(&deps, &item, (&lease, turns.as_deref()), done).await;
                let _ = back.send(Back { item, result });
            });
        }
    }

    async fn take_back(&mut self, Back { item, result }: Back) {
        self.under_way.remove(&item.key);
        if let Entry::Occupied(mut count) = self.tenants.entry(item.key.tenant) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        let now = self.deps.clock.now();
        match result {
            Ok(carried) => {
                self.failures.remove(&item.key);
                if item.is_suspect {
                    self.clear(&item.key).await;
                }
                let next = match carried {
                    Carried::Done(opened) => opened,
                    Carried::Later => vec![Item { due_at: now + LOOK_AGAIN, ..item }],
                };
                for item in next {
                    self.put(item);
                }
            }
            Err(Failed { error: Error::Full(gate), .. }) => {
                let waiting = || Agenda::new(self.deps.weights.clone());
                self.shut_out.entry(gate).or_insert_with(waiting).put(item);
            }
            // Whoever has the partition now finds it in the table of open work.
            Err(Failed { error, .. }) if error.is_fenced() => {
                self.failures.remove(&item.key);
                tracing::warn!(stream = %item.key.stream, %error, "what came late was refused");
                let pool = self.deps.pool.clone();
                tokio::spawn(async move { count_refused(&pool, WORK.name, item.partition).await });
            }
            Err(Failed { error, done }) => {
                let count = self.failures.entry(item.key.clone()).or_default();
                *count += 1;
                let failed = *count;
                let panics = matches!(error, Error::Panicked(_));
                let is_poison =
                    error.is_newer() || (panics && (item.is_suspect || failed >= PANICS));
                if is_poison && self.isolate(&item, &error).await {
                    return;
                }
                let longest = if done.is_some() { LONGEST_UNNOTED } else { LONGEST_PAUSE };
                let pause = pause(failed).min(longest);
                if let Some(done) = done {
                    self.unnoted.insert(item.key.clone(), done);
                }
                let (stream, item_number) = (item.key.stream, item.key.item);
                tracing::warn!(%stream, item = item_number, failed, %error, "work failed; it is tried again");
                self.put(Item { due_at: now + pause, ..item });
            }
        }
    }

    /// Puts down again what there is room for by now.
    fn let_in(&mut self) {
        let now = self.deps.clock.now();
        let mut free = vec![];
        for (gate, waiting) in &mut self.shut_out {
            let next = std::iter::from_fn(|| waiting.next(now, |_| true));
            free.extend(next.take(self.deps.gates.room(gate)));
        }
        self.shut_out.retain(|_, waiting| !waiting.is_empty());
        for item in free {
            self.put(item);
        }
    }

    /// Leaves the stream of a piece of work alone; whether that could be said to all.
    async fn isolate(&mut self, item: &Item, error: &Error) -> bool {
        let Key { tenant, category, stream, item: number } = &item.key;
        if let Err(unsaid) = quarantine::isolate(&self.deps.pool, &item.key, error).await {
            tracing::warn!(%stream, error = %unsaid, "a stream could not be quarantined");
            return false;
        }
        tracing::error!(%tenant, category, %stream, item = number, %error, "a stream is in quarantine");
        self.agenda.retain(|key, _| key.stream != *stream);
        self.failures.remove(&item.key);
        true
    }

    async fn clear(&self, key: &Key) {
        if let Err(error) = quarantine::clear(&self.deps.pool, key).await {
            tracing::warn!(stream = %key.stream, %error, "it stays under suspicion");
        }
    }

    /// Puts a piece of work down for its time, if that is near.
    fn put(&mut self, item: Item) {
        let is_near = item.due_at <= self.deps.clock.now() + HORIZON;
        if is_near && !self.under_way.contains(&item.key) {
            self.agenda.put(item);
        }
    }

    /// Fetches work that was opened since the last look.
    async fn look_at_new(&mut self) -> Result<(), Error> {
        // The checkpoint first: what is committed between the two reads is fetched next time.
        let caught_up = projections::position_of(&self.deps.pool, "work").await?;
        let rows = sqlx::query_as(select_work!("w.position > $2"))
            .bind(self.partitions())
            .bind(self.seen)
            .fetch_all(&self.deps.pool)
            .await?;
        for row in rows {
            self.put(item(row));
        }
        self.in_vain = if caught_up > self.seen { 0 } else { self.in_vain.saturating_add(1) };
        self.seen = self.seen.max(caught_up);
        Ok(())
    }

    /// Fetches all open work whose time is near: whatever was lost on the way, was not near before, or
    /// belonged to another worker, is found here.
    async fn look_over(&mut self) -> Result<(), Error> {
        let partitions = self.partitions();
        let caught_up = projections::position_of(&self.deps.pool, "work").await?;
        let rows = sqlx::query_as(select_work!("w.due_at <= $2"))
            .bind(&partitions)
            .bind(self.deps.clock.now() + HORIZON)
            .fetch_all(&self.deps.pool)
            .await?;
        let items: Vec<Item> = rows.into_iter().map(item).collect();
        let open: HashSet<&Key> = items.iter().map(|item| &item.key).collect();
        let is_mine = |key: &Key, partition| partitions.contains(&partition) && open.contains(key);
        self.agenda.retain(is_mine);
        for waiting in self.shut_out.values_mut() {
            waiting.retain(is_mine);
        }
        self.failures.retain(|key, _| open.contains(key));
        self.unnoted.retain(|key, _| open.contains(key));
        for item in items {
            let waits = self.shut_out.values().any(|waiting| waiting.contains(&item.key));
            if !waits && !self.agenda.contains(&item.key) {
                self.put(item);
            }
        }
        self.seen = self.seen.max(caught_up);
        Ok(())
    }

    fn partitions(&self) -> Vec<i16> {
        self.owned.borrow().slices.keys().copied().collect()
    }
}

/// Whether one more piece of work of a tenant may be begun.
fn may(under_way: &HashMap<Id<Tenant>, usize>, tenant: Id<Tenant>) -> bool {
    under_way.get(&tenant).is_none_or(|count| *count < OF_ONE_TENANT)
}

/// The pause after so many failures in a row: 100 ms, doubling.
fn pause(failures: u32) -> TimeDelta {
    TimeDelta::milliseconds(100 << failures.saturating_sub(1).min(16))
}

type Row = (Uuid, String, Uuid, i32, i16, Timestamp, bool);

fn item((tenant, category, stream, item, partition, due_at, is_suspect): Row) -> Item {
    let key = Key { tenant: Id::from_uuid(tenant), category, stream, item };
    Item { key, partition, due_at, is_suspect }
}
