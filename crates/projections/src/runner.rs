//! Keeps views up to date with the log.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use eventstore::{EventStore, Position, ReadAhead, Span, is_lasting};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use sqlx::{PgConnection, PgPool};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::batch::{BATCH, Batch, Share, reason};
use crate::checkpoint::{Passed, Stamp};
use crate::storage::{Kept, Shelf, Tables};
use crate::{Error, Projection, Seen, all_views, checkpoint};

/// How long to wait when nothing is known to be new: what another worker left undone is found then.
const IDLE: Duration = Duration::from_millis(500);

/// How long one round takes at least while news keeps coming: what is one more transaction for each
/// event costs many times what the events do.
const PACE: Duration = Duration::from_millis(15);

/// How often a projector that found somebody else at work looks whether they still are.
const STAND_BY: Duration = Duration::from_millis(250);

/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// A batch of so many events or fewer is given to all views in one transaction.
const TOGETHER: usize = 300;

/// How many views of one batch are written at once.
const AT_ONCE: usize = 3;

/// What follows a batch and is read while that is written, by the position of its last event.
pub(crate) type Ahead = BTreeMap<Position, ReadAhead<Option<Batch>>>;

/// Keeps views up to date. Any number of them may run, in any number of processes: a view is
/// worked on by whoever locks its checkpoint, and who finds somebody else at work stands by.
///
/// An event that a view cannot take in parks that view, with a reason and an alarm; the others
/// go on.
pub struct Projector {
    pool: PgPool,
    log: Arc<dyn EventStore>,
    views: Vec<&'static dyn Projection>,
    batch: usize,
    shelf: Shelf,
    /// Which view somebody in this process waits for, and where they are told how far it is.
    told: Option<(&'static str, watch::Sender<Position>)>,
}

/// What came of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Round {
    /// Nothing was new.
    Nothing,
    /// Somebody else took in what was, or is about to.
    Beaten,
    /// All that was known to be new is taken in.
    All,
    /// There is more to take in.
    Part,
}

impl fmt::Debug for Projector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projector").field("views", &self.names()).finish_non_exhaustive()
    }
}

impl Projector {
    /// A projector of all views, on a pool of [`eventstore::Role::Worker`].
    #[must_use]
    pub fn new(pool: PgPool, log: Arc<dyn EventStore>) -> Self {
        Self::of(pool, log, all_views().to_vec(), BATCH)
    }

    /// A projector of the views of these names.
    pub fn of_views(pool: PgPool, log: Arc<dyn EventStore>, names: &[&str]) -> Result<Self, Error> {
        Ok(Self::of(pool, log, checkpoint::named(names)?, BATCH))
    }

    /// A projector of certain views that takes so many events at once.
    pub(crate) fn of(
        pool: PgPool,
        log: Arc<dyn EventStore>,
        views: Vec<&'static dyn Projection>,
        batch: usize,
    ) -> Self {
        Self { pool, log, views, batch, shelf: Shelf::default(), told: None }
    }

    /// Tells how far a view is, whenever this has changed its rows.
    #[must_use]
    pub fn telling(self, view: &'static str, told: watch::Sender<Position>) -> Self {
        Self { told: Some((view, told)), ..self }
    }

    /// Works until told to stop; a database that is away only delays.
    pub async fn run(&self, stop: impl Future<Output = ()> + Send) {
        let mut head = self.log.watch();
        let mut stop = std::pin::pin!(stop);
        let mut ahead = Ahead::new();
        loop {
            head.mark_unchanged();
            let began = Instant::now();
            let done = tokio::select! {
                () = &mut stop => return,
                done = self.step(&mut ahead) => done,
            };
            let pause = match done {
                Ok(Round::Part) => continue,
                Ok(Round::Beaten) => {
                    ahead.clear();
                    self.shelf.clear();
                    tokio::select! {
                        () = &mut stop => return,
                        () = self.stand_by() => continue,
                    }
                }
                Ok(Round::Nothing | Round::All) => IDLE,
                Err(error) => {
                    ahead.clear();
                    self.shelf.clear();
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the read models stand still"
                    );
                    PAUSE
                }
            };
            let news = async {
                // A log that is gone tells no news.
                if pause > IDLE || head.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = &mut stop => return,
                () = news => sleep_until(began + PACE).await,
                () = sleep(pause) => {}
            }
        }
    }

    /// Works until nothing more can be done: every view stands at the end of the log, is parked, or
    /// is being worked on by somebody else.
    pub async fn catch_up(&self) -> Result<(), Error> {
        let mut ahead = Ahead::new();
        while matches!(self.step(&mut ahead).await?, Round::Part | Round::All) {}
        Ok(())
    }

    /// Leaves the work to somebody else for as long as they do it: to read and decode what they take in
    /// anyway costs nearly as much as to take it in.
    async fn stand_by(&self) {
        let standing = async || -> Option<Vec<Position>> {
            Some(self.standing().await.ok()?.into_keys().collect())
        };
        let mut before = standing().await;
        loop {
            sleep(STAND_BY).await;
            let now = standing().await;
            if now.is_none() || now == before {
                return;
            }
            before = now;
        }
    }

    fn names(&self) -> Vec<&'static str> {
        self.views.iter().map(|view| view.name()).collect()
    }

    /// Brings every view one batch further. A view that fails holds up no other; its failure is told
    /// when nothing moves any more.
    pub(crate) async fn step(&self, ahead: &mut Ahead) -> Result<Round, Error> {
        let standing = self.standing().await?;
        let mut is_part = standing.len() > 1;
        let (mut results, mut readers) = (vec![], std::mem::take(ahead));
        for (after, views) in standing {
            let read = match readers.remove(&after) {
                Some(mut reader) => reader.next().await?.flatten().map(|batch| (batch, reader)),
                None => None,
            };
            let (batch, reader) = match read {
                Some((batch, reader)) => (Some(batch), Some(reader)),
                None => (Batch::read(&*self.log, after, self.batch).await?, None),
            };
            let Some(batch) = batch else { continue };
            let is_full = batch.is_full(self.batch);
            // What was read ahead ends where the log ended then.
            is_part = is_part || is_full || reader.is_some();
            let reader = reader.filter(|_| is_full).or_else(|| self.read_on(&batch));
            results.extend(self.take_in(&batch, &views).await);
            ahead.extend(reader.map(|reader| (batch.last, reader)));
        }
        if results.iter().any(|result| matches!(result, Ok(true))) {
            return Ok(if is_part { Round::Part } else { Round::All });
        }
        let round = if results.is_empty() { Round::Nothing } else { Round::Beaten };
        results.into_iter().try_for_each(|result| result.map(drop))?;
        Ok(round)
    }

    /// Reads what follows a batch, if it is likely that something does: to decode a batch takes as
    /// long as to write it.
    fn read_on(&self, batch: &Batch) -> Option<ReadAhead<Option<Batch>>> {
        let rest = Span { after: batch.last, upto: Position::MAX, page: self.batch, rate: None };
        batch.is_full(self.batch).then(|| ReadAhead::start(self.log.clone(), rest, Batch::of))
    }

    /// The views that run, by the position at which they stand.
    async fn standing(&self) -> Result<BTreeMap<Position, Vec<&'static dyn Projection>>, Error> {
        let names = self.names();
        let mut known = checkpoint::known(&self.pool, &names).await?;
        if known.len() < names.len() {
            checkpoint::begin(&self.pool, &names).await?;
            known = checkpoint::known(&self.pool, &names).await?;
        }
        let mut standing = BTreeMap::<_, Vec<_>>::new();
        for view in &self.views {
            if let Some((position, true)) = known.get(view.name()) {
                standing.entry(*position).or_default().push(*view);
            }
        }
        Ok(standing)
    }

    /// Gives a batch to all views that stand before it; which of them moved.
    async fn take_in(
        &self,
        batch: &Batch,
        views: &[&'static dyn Projection],
    ) -> Vec<Result<bool, Error>> {
        let shares = views.iter().map(|view| (*view, batch.share(*view, batch.after, batch.last)));
        let (idle, busy): (Vec<_>, Vec<_>) =
            shares.partition(|(_, share)| share.events.is_empty() && share.stop.is_none());
        let idle: Vec<&str> = idle.iter().map(|(view, _)| view.name()).collect();
        let is_waited_for = |(view, _): &(&dyn Projection, Share<'_>)| {
            self.told.as_ref().is_some_and(|(name, _)| *name == view.name())
        };
        let told = self.told.as_ref().filter(|_| busy.iter().any(is_waited_for));
        let results = self.write(batch, busy, &idle).await;
        if let Some((_, told)) = told {
            told.send_replace(batch.last);
        }
        results
    }

    async fn write(
        &self,
        batch: &Batch,
        busy: Vec<(&'static dyn Projection, Share<'_>)>,
        idle: &[&str],
    ) -> Vec<Result<bool, Error>> {
        if batch.len() <= TOGETHER
            && let Ok(moved) = self.give_all(batch, &busy, idle).await
        {
            return vec![Ok(moved)];
        }
        let mut jobs: Vec<BoxFuture<'_, _>> = Vec::with_capacity(busy.len());
        for (view, share) in busy {
            jobs.push(self.give(view, batch.after, share).boxed());
        }
        let mut results: Vec<_> = stream::iter(jobs).buffered(AT_ONCE).collect().await;
        let passed = checkpoint::pass(&self.pool, idle, batch.after, batch.last).await;
        results.push(passed.map(|passed| self.pass(&passed)).map_err(Error::from));
        results
    }

    /// Takes note of checkpoints that were moved though no row changed; whether there are any.
    fn pass(&self, passed: &[Passed]) -> bool {
        for Passed { name, before, after } in passed {
            self.shelf.pass(name, *before, *after);
        }
        !passed.is_empty()
    }

    /// Gives a small batch to all views in one transaction, for most of what it costs is the
    /// transaction: those that nobody else is working on move together, or none does.
    async fn give_all(
        &self,
        batch: &Batch,
        busy: &[(&'static dyn Projection, Share<'_>)],
        idle: &[&str],
    ) -> sqlx::Result<bool> {
        if busy.iter().any(|(_, share)| share.stop.is_some()) {
            return Err(sqlx::Error::Decode("a view stops on the way".into()));
        }
        let mut tx = self.pool.begin().await?;
        match write_all(&mut tx, &self.shelf, batch, busy, idle).await {
            Ok((kept, passed)) => {
                tx.commit().await?;
                for (view, stamp, kept) in kept {
                    self.shelf.put(view, stamp, kept);
                }
                Ok(self.pass(&passed))
            }
            Err(error) => {
                // Not left to the drop, which would hold the checkpoints for a while.
                tx.rollback().await?;
                Err(error)
            }
        }
    }

    /// Gives a view its share of a batch; whether it moved. An event that it cannot take in is
    /// found by giving it one at a time.
    async fn give(
        &self,
        view: &'static dyn Projection,
        after: Position,
        share: Share<'_>,
    ) -> Result<bool, Error> {
        match self.advance(view, after, &share).await {
            Err(error) if is_lasting(&error) => {}
            done => return Ok(done?),
        }
        let mut at = after;
        for &seen in &share.events {
            let one = Share { events: vec![seen], upto: seen.position, stop: None };
            match self.advance(view, at, &one).await {
                Ok(true) => at = seen.position,
                Ok(false) => return Ok(at > after),
                Err(error) if is_lasting(&error) => {
                    let stop = Some(reason(seen.position, seen.id, &error));
                    let nothing = Share { events: vec![], upto: seen.position - 1, stop };
                    return Ok(self.advance(view, at, &nothing).await?);
                }
                Err(error) => return Err(error.into()),
            }
        }
        let rest = Share { events: vec![], ..share };
        Ok(self.advance(view, at, &rest).await? || at > after)
    }

    /// Commits a view's rows and checkpoint, unless somebody else has moved it or is about to;
    /// whether that was done.
    #[tracing::instrument(level = "debug", skip_all, fields(view = view.name(), upto = share.upto))]
    async fn advance(
        &self,
        view: &'static dyn Projection,
        after: Position,
        share: &Share<'_>,
    ) -> sqlx::Result<bool> {
        let mut tx = self.pool.begin().await?;
        let (stamp, kept) = match write(view, &mut tx, &self.shelf, after, share).await {
            Ok(Some(done)) => done,
            not => {
                // Not left to the drop, which would hold the checkpoint for a while.
                tx.rollback().await?;
                return not.map(|_| false);
            }
        };
        tx.commit().await?;
        self.shelf.put(view.name(), stamp, kept);
        if let Some(reason) = &share.stop {
            tracing::error!(view = view.name(), reason, "a read model is parked");
        }
        Ok(true)
    }
}

/// Writes what a view makes of its share, and its checkpoint; what is known of its rows then, if it moved.
async fn write(
    view: &'static dyn Projection,
    db: &mut PgConnection,
    shelf: &Shelf,
    after: Position,
    share: &Share<'_>,
) -> sqlx::Result<Option<(Stamp, Kept)>> {
    let Some(stamp) = checkpoint::take(db, view.name(), after).await? else { return Ok(None) };
    prepare(db).await?;
    let mut kept = shelf.take(view.name(), stamp);
    apply(view, &mut Tables::live(db, &mut kept), &share.events).await?;
    let stamp = checkpoint::advance(db, view.name(), share.upto, share.stop.as_deref()).await?;
    Ok(Some((stamp, kept)))
}

/// What is known of the rows of views, with the stamps of their checkpoints.
type AllKept = Vec<(&'static str, Stamp, Kept)>;

async fn write_all(
    db: &mut PgConnection,
    shelf: &Shelf,
    batch: &Batch,
    busy: &[(&'static dyn Projection, Share<'_>)],
    idle: &[&str],
) -> sqlx::Result<(AllKept, Vec<Passed>)> {
    let names: Vec<&str> = busy.iter().map(|(view, _)| view.name()).collect();
    let moving = checkpoint::take_all(db, &names, batch.after).await?;
    prepare(db).await?;
    let mut all = vec![];
    for (view, share) in busy {
        let Some(stamp) = moving.get(view.name()) else { continue };
        let mut kept = shelf.take(view.name(), *stamp);
        apply(*view, &mut Tables::live(db, &mut kept), &share.events).await?;
        all.push((view.name(), kept));
    }
    let moving: Vec<&str> = moving.keys().map(String::as_str).chain(idle.iter().copied()).collect();
    let passed = checkpoint::pass(db, &moving, batch.after, batch.last).await?;
    let stamped = |(view, kept)| {
        let stamp = passed.iter().find(|passed| passed.name == view)?.after;
        Some((view, stamp, kept))
    };
    Ok((all.into_iter().filter_map(stamped).collect(), passed))
}

/// Makes a transaction ready for writing rows.
async fn prepare(db: &mut PgConnection) -> sqlx::Result<()> {
    // What a crash takes away is folded again: rows and checkpoint go together. And rows are only
    // ever sought by their keys: a planner that believes a table to be as small as when it was last
    // analysed reads all of it.
    sqlx::query(
        "SELECT set_config('synchronous_commit', 'off', true),
                set_config('plan_cache_mode', 'force_custom_plan', true),
                set_config('enable_seqscan', 'off', true),
                set_config('enable_hashjoin', 'off', true),
                set_config('enable_mergejoin', 'off', true)",
    )
    .execute(db)
    .await
    .map(drop)
}

/// Has a view take in events; a panic in it is an error like others.
pub(crate) async fn apply(
    view: &'static dyn Projection,
    tables: &mut Tables<'_>,
    events: &[&Seen],
) -> sqlx::Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let applied = AssertUnwindSafe(view.apply(tables, events)).catch_unwind().await;
    applied.unwrap_or_else(|_| Err(sqlx::Error::Decode("the fold panicked".into())))
}
