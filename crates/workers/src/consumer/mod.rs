//! Consumer groups: a subscription that several processes share.
//!
//! Streams are divided in slices by their ids. A slice belongs to one process at a time, so that
//! each stream is worked on in order; its checkpoint is written under the fence of the lease, so
//! that a process that only believes itself to be the owner is refused. The checkpoint and what a
//! handler writes through the connection that it is given are one transaction: such a handler sees
//! each event exactly once, any other at least once.
//!
//! An event that cannot be handled parks its stream: the stream's later events are held back, in the
//! log where they are, and all other streams go on.

mod parked;
mod slice;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use eventstore::{
    EventStore, Fence, Filter, Position, Recorded, StreamId, Stretch, Subscription, is_lasting,
};
use futures::{FutureExt, StreamExt, stream};
use sqlx::{PgConnection, PgPool};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use self::parked::{Change, Failure, Stream};
use self::slice::{Slice, slice_of};
use crate::Error;
use crate::leases::{Owned, count_refused};

pub(crate) use self::slice::SLICES;

/// How many events are in memory at once.
const BATCH: usize = 500;

/// How many slices are worked on at once; each takes a connection while it is.
const AT_ONCE: usize = 4;

/// How often an event is tried before its stream is parked.
const TRIES: u32 = 4;

/// The pause after the first attempt; it doubles.
const PAUSE: Duration = Duration::from_millis(100);

/// How often checkpoints of slices without events are written, and wishes of operators looked for.
const LOOKED_OVER_EVERY: Duration = Duration::from_secs(3);

/// How long a stretch of the log takes at least while news keeps coming: what is read singly costs a
/// question each.
const PACE: Duration = Duration::from_millis(15);

/// How long to wait when nothing can be done, such as when the database is away.
const REST: Duration = Duration::from_secs(1);

/// What is done with each event.
#[async_trait]
pub(crate) trait Handler: Send + Sync {
    /// Whether an event is to be handled. A slice passes all others in memory, and its checkpoint
    /// follows now and then.
    fn concerns(&self, event: &Recorded) -> bool;

    /// Handles an event. What is written to `db` is committed with the checkpoint, or not at all;
    /// everything else may be done again, and goes into the log under `fence`.
    async fn handle(
        &self,
        event: &Recorded,
        fence: Fence,
        db: &mut PgConnection,
    ) -> Result<(), Error>;
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// It is committed.
    Yes,
    /// The slice belongs to somebody else; nothing was written.
    Fenced,
    /// What was parked is not as it was; nothing was written.
    Moved,
}

/// What an attempt is to do, all or nothing.
#[derive(Clone, Copy)]
struct Step<'a> {
    /// Events to handle.
    events: &'a [&'a Recorded],
    /// Where the slice is then.
    upto: Position,
    /// What becomes of a parked stream.
    change: Option<Change<'a>>,
}

/// One member of a consumer group.
pub(crate) struct Consumer<H> {
    name: &'static str,
    pool: PgPool,
    log: Arc<dyn EventStore>,
    handler: H,
    look_over_every: Duration,
}

impl<H: Handler> Consumer<H> {
    pub(crate) fn new(
        name: &'static str,
        pool: PgPool,
        log: Arc<dyn EventStore>,
        handler: H,
    ) -> Self {
        Self { name, pool, log, handler, look_over_every: LOOKED_OVER_EVERY }
    }

    /// Works on the slices that are owned, until told to stop. What is under way is finished.
    pub(crate) async fn run(&self, mut owned: watch::Receiver<Owned>, stop: CancellationToken) {
        let mut slices = BTreeMap::new();
        while !stop.is_cancelled() {
            let Err(error) = self.follow(&mut slices, &mut owned, &stop).await else { continue };
            let reason = error.to_string();
            tracing::warn!(subscription = self.name, reason, "a subscription stands still");
            let _ = slice::pass(&self.pool, self.name, slices.values(), Some(&reason)).await;
            slices.clear();
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(REST) => {}
            }
        }
        // What is not written now is read again, and passed again.
        let _ = slice::pass(&self.pool, self.name, slices.values(), None).await;
    }

    /// Follows the log for as long as the same slices are owned.
    async fn follow(
        &self,
        slices: &mut BTreeMap<i16, Slice>,
        owned: &mut watch::Receiver<Owned>,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let now = owned.borrow_and_update().clone();
        self.adopt(slices, &now, stop).await?;
        let Some(from) = slices.values().map(|slice| slice.position).min() else {
            tokio::select! {
                () = stop.cancelled() => {}
                Ok(()) = owned.changed() => {}
            }
            return Ok(());
        };
        let mut news = Subscription::new(&*self.log, Filter::default(), from, BATCH);
        let mut look_over =
            interval_at(Instant::now() + self.look_over_every, self.look_over_every);
        look_over.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let began = Instant::now();
            let stretch = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Ok(()) = owned.changed() => return Ok(()),
                _ = look_over.tick() => {
                    self.look_over(slices, stop).await?;
                    continue;
                }
                stretch = news.next() => stretch?,
            };
            self.deliver(slices, &stretch, stop).await?;
            if stretch.events.len() < BATCH {
                sleep_until(began + PACE).await;
            }
        }
    }

    /// Begins with slices that are newly owned, and forgets those that are not any more.
    async fn adopt(
        &self,
        slices: &mut BTreeMap<i16, Slice>,
        owned: &Owned,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        slices.retain(|number, slice| owned.slices.get(number) == Some(&slice.fence));
        let new: Vec<(i16, i64)> = owned
            .slices
            .iter()
            .filter(|(number, _)| !slices.contains_key(number))
            .map(|(number, fence)| (*number, *fence))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        slices.extend(slice::begin(&self.pool, self.name, &new).await?);
        let numbers: Vec<i16> = new.iter().map(|(number, _)| *number).collect();
        // What stopped at an event of a newer release may be known to this one.
        for (number, stream) in parked::of_newer(&self.pool, self.name, &numbers).await? {
            self.resume(slices, number, &stream, stop).await?;
        }
        Ok(())
    }

    /// Writes how far slices without events have come, and does what operators asked for.
    async fn look_over(
        &self,
        slices: &mut BTreeMap<i16, Slice>,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        slice::pass(&self.pool, self.name, slices.values(), None).await?;
        let numbers: Vec<i16> = slices.keys().copied().collect();
        for (number, stream) in parked::asked_for(&self.pool, self.name, &numbers).await? {
            self.resume(slices, number, &stream, stop).await?;
        }
        Ok(())
    }

    /// Gives a stretch of the log to the slices that stand before its end.
    async fn deliver(
        &self,
        slices: &mut BTreeMap<i16, Slice>,
        stretch: &Stretch,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let mut shares = BTreeMap::<i16, Vec<&Recorded>>::new();
        for event in &stretch.events {
            shares.entry(slice_of(event.stream)).or_default().push(event);
        }
        let jobs = slices.values_mut().map(|slice| {
            let share = shares.remove(&slice.number).unwrap_or_default();
            async move {
                let kept = self.give(slice, share, stretch.upto, stop).await;
                (slice.number, kept)
            }
        });
        let jobs: Vec<_> = jobs.map(FutureExt::boxed).collect();
        let done: Vec<_> = stream::iter(jobs).buffer_unordered(AT_ONCE).collect().await;
        for (number, kept) in done {
            if kept? == Kept::Fenced {
                slices.remove(&number);
            }
        }
        Ok(())
    }

    /// Gives a slice its share of a stretch. An event that cannot be handled is found by giving it
    /// one at a time.
    async fn give(
        &self,
        slice: &mut Slice,
        share: Vec<&Recorded>,
        upto: Position,
        stop: &CancellationToken,
    ) -> Result<Kept, Error> {
        let mut due = share;
        due.retain(|event| {
            event.position > slice.position
                && !slice.holds_back(event)
                && self.handler.concerns(event)
        });
        if !due.is_empty() {
            match self.attempt(slice, Step { events: &due, upto, change: None }).await {
                Ok(Kept::Yes) => {}
                Ok(not) => return Ok(not),
                Err(error) if is_weather(&error) => return Err(error),
                Err(_) => {
                    let kept = self.give_singly(slice, &due, stop).await?;
                    if kept != Kept::Yes || stop.is_cancelled() {
                        return Ok(kept);
                    }
                }
            }
        }
        slice.position = slice.position.max(upto);
        Ok(Kept::Yes)
    }

    async fn give_singly(
        &self,
        slice: &mut Slice,
        due: &[&Recorded],
        stop: &CancellationToken,
    ) -> Result<Kept, Error> {
        for event in due {
            if stop.is_cancelled() {
                break;
            }
            if slice.holds_back(event) {
                continue;
            }
            let kept = match self.persist(slice, event, event.position, None).await? {
                Ok(kept) => kept,
                Err(failure) => self.park(slice, event, event.position, &failure).await?,
            };
            if kept != Kept::Yes {
                return Ok(kept);
            }
            slice.position = event.position;
        }
        Ok(Kept::Yes)
    }

    /// Tries an event a few times; the failure if none of them did it.
    async fn persist(
        &self,
        slice: &Slice,
        event: &Recorded,
        upto: Position,
        change: Option<Change<'_>>,
    ) -> Result<Result<Kept, Failure>, Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match self.attempt(slice, Step { events: &[event], upto, change }).await {
                Ok(kept) => return Ok(Ok(kept)),
                Err(error) if is_weather(&error) => return Err(error),
                Err(error) => error,
            };
            if tries == TRIES || is_final(&error) {
                return Ok(Err(Failure::new(tries, &error)));
            }
            sleep(PAUSE * (1 << (tries - 1))).await;
        }
    }

    /// Parks the stream of an event, right before it.
    async fn park(
        &self,
        slice: &mut Slice,
        event: &Recorded,
        upto: Position,
        failure: &Failure,
    ) -> Result<Kept, Error> {
        let change = Some(Change::Park { event, failure });
        let kept = self.attempt(slice, Step { events: &[], upto, change }).await?;
        if kept == Kept::Yes {
            slice.parked.insert(Stream::of(event));
            failure.alarm(self.name, event);
        }
        Ok(kept)
    }

    /// Handles events and commits what follows from them, all or nothing.
    async fn attempt(&self, slice: &Slice, step: Step<'_>) -> Result<Kept, Error> {
        let mut tx = self.pool.begin().await?;
        let done = self.carry_out(&mut tx, slice, step).await;
        if matches!(done, Ok(Kept::Yes)) {
            tx.commit().await?;
            return done;
        }
        // Not left to the drop, which would hold locks for a while.
        let undone = tx.rollback().await;
        if matches!(done, Ok(Kept::Fenced)) {
            tracing::warn!(
                subscription = self.name,
                slice = slice.number,
                fence = slice.fence,
                "what came late was refused: the slice belongs to somebody else"
            );
            count_refused(&self.pool, self.name, slice.number).await?;
        }
        done.and_then(|kept| Ok(undone.map(|()| kept)?))
    }

    async fn carry_out(
        &self,
        db: &mut PgConnection,
        slice: &Slice,
        Step { events, upto, change }: Step<'_>,
    ) -> Result<Kept, Error> {
        for event in events {
            let fence = Fence { lease: self.name, slice: slice.number, epoch: slice.fence };
            let handled = AssertUnwindSafe(self.handler.handle(event, fence, db));
            let handled = handled.catch_unwind().await;
            match handled.unwrap_or_else(|panic| Err(Error::of_panic(&*panic))) {
                Err(error) if error.is_fenced() => return Ok(Kept::Fenced),
                handled => handled?,
            }
        }
        // What a crash takes away is done again: all of it goes together.
        sqlx::query("SET LOCAL synchronous_commit = off").execute(&mut *db).await?;
        if !slice::advance(db, self.name, slice, upto).await? {
            return Ok(Kept::Fenced);
        }
        match change {
            Some(change) if !change.make(db, self.name).await? => Ok(Kept::Moved),
            _ => Ok(Kept::Yes),
        }
    }

    /// Goes on with a parked stream, event by event, up to where its slice is.
    async fn resume(
        &self,
        slices: &mut BTreeMap<i16, Slice>,
        number: i16,
        stream: &Stream,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let Some(slice) = slices.get_mut(&number) else { return Ok(()) };
        let mut kept = Kept::Moved;
        while kept == Kept::Moved && !stop.is_cancelled() {
            kept = self.catch_up(slice, stream, stop).await?;
        }
        if kept == Kept::Fenced {
            slices.remove(&number);
        }
        Ok(())
    }

    async fn catch_up(
        &self,
        slice: &mut Slice,
        stream: &Stream,
        stop: &CancellationToken,
    ) -> Result<Kept, Error> {
        let Some(next) = parked::next(&self.pool, self.name, stream).await? else {
            slice.parked.remove(stream);
            return Ok(Kept::Yes);
        };
        let Some(category) = eventstore::category(&stream.category) else {
            // Still of a newer release.
            parked::leave(&self.pool, self.name, stream).await?;
            return Ok(Kept::Yes);
        };
        let id = StreamId { tenant: stream.tenant, category, id: stream.id };
        let mut held = self.log.load(id, next - 1, BATCH).await?;
        let is_full = held.len() == BATCH;
        held.retain(|event| event.position <= slice.position);
        let upto = slice.position;
        for event in &held {
            if stop.is_cancelled() {
                return Ok(Kept::Yes);
            }
            let past = Change::Past { stream, version: event.version };
            let kept = match self.persist(slice, event, upto, Some(past)).await? {
                Ok(kept) => kept,
                Err(failure) => return self.park(slice, event, upto, &failure).await,
            };
            if kept != Kept::Yes {
                return Ok(kept);
            }
        }
        if is_full && held.len() == BATCH {
            return Ok(Kept::Moved);
        }
        let version = held.last().map_or(next, |event| event.version + 1);
        let change = Some(Change::Done { stream, version });
        let kept = self.attempt(slice, Step { events: &[], upto, change }).await?;
        if kept == Kept::Yes {
            slice.parked.remove(stream);
            tracing::info!(subscription = self.name, stream = %stream.id, "a stream goes on");
        }
        Ok(kept)
    }
}

/// Whether an error says nothing about the event: everything stands still until it is over.
fn is_weather(error: &Error) -> bool {
    match error {
        Error::Database(error) => !is_lasting(error),
        Error::Log(error) | Error::Plan(eventstore::PlanError::Store(error)) => match error {
            eventstore::Error::Database(error) => !is_lasting(error),
            eventstore::Error::Busy { .. }
            | eventstore::Error::Conflict { .. }
            | eventstore::Error::Fenced(_)
            | eventstore::Error::Unreadable { .. }
            | eventstore::Error::Damaged(_) => true,
            eventstore::Error::KeyUsed
            | eventstore::Error::TooLarge { .. }
            | eventstore::Error::Decode { .. }
            | eventstore::Error::Newer { .. } => false,
        },
        Error::Projection(_) | Error::Behind | Error::Full(_) => true,
        Error::Plan(_) | Error::Command(_) | Error::Panicked(_) | Error::Category(_) => false,
    }
}

/// Whether another attempt would end in the same way.
fn is_final(error: &Error) -> bool {
    match error {
        Error::Log(error) | Error::Plan(eventstore::PlanError::Store(error)) => matches!(
            error,
            eventstore::Error::TooLarge { .. }
                | eventstore::Error::Decode { .. }
                | eventstore::Error::Newer { .. }
        ),
        Error::Database(_)
        | Error::Projection(_)
        | Error::Behind
        | Error::Full(_)
        | Error::Plan(_)
        | Error::Command(_)
        | Error::Panicked(_)
        | Error::Category(_) => false,
    }
}
