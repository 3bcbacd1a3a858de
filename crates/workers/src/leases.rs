//! Who holds which slice: leases on the database's clock, shared out evenly.
//!
//! What is divided has a name and a fixed number of slices: the partitions of open work, and the
//! slices of each subscription. A lease keeps two workers from doing the same work; it does not
//! keep anything right. Appends and checkpoints name the epoch of the lease, which the log and the
//! checkpoints know before the new owner does anything: of two workers that both think they own a
//! slice, the one that had it first is refused.
//!
//! A slice changes hands at once when its owner lets go of it, or is known to be dead (see
//! [`crate::presence`]); when nothing is known of the owner, as soon as the lease ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use eventstore::{EventStore, Fence, Position};
use sqlx::{PgConnection, PgPool};
use tokio::sync::watch;
use uuid::Uuid;

use crate::desk::WORK;
use crate::{Error, turns};

/// How long a lease lasts without being renewed. If nobody can tell whether its owner died, its work
/// stands still this long.
const LASTS: Duration = Duration::from_secs(10);

/// How often leases are renewed.
const RENEWED_EVERY: Duration = Duration::from_secs(3);

/// How often it is looked whether there is reason to do so earlier.
pub(crate) const LOOKED_EVERY: Duration = Duration::from_millis(500);

/// Something that is divided, and into how many slices.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Divided {
    pub(crate) name: &'static str,
    pub(crate) slices: i16,
}

/// Slices, each with the epoch of its lease.
pub(crate) type Slices = BTreeMap<i16, i64>;

/// The lease on one slice, as whoever works on it has it.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    /// What it is appended under.
    pub(crate) fence: Fence,
    /// Whatever was appended under an earlier epoch stands up to here in the log.
    pub(crate) since: Position,
    owned: watch::Receiver<Owned>,
}

impl Lease {
    /// The lease on a slice, if it is held at this moment.
    pub(crate) fn of(divided: Divided, slice: i16, owned: &watch::Receiver<Owned>) -> Option<Self> {
        let (epoch, since) = {
            let now = owned.borrow();
            (now.slices.get(&slice).copied().filter(|_| now.lasts())?, now.since)
        };
        let fence = Fence { lease: divided.name, slice, epoch };
        Some(Self { fence, since, owned: owned.clone() })
    }

    /// Whether it still holds.
    pub(crate) fn holds(&self) -> bool {
        let now = self.owned.borrow();
        now.slices.get(&self.fence.slice) == Some(&self.fence.epoch) && now.lasts()
    }
}

/// What this worker may act on, and until when it may believe so.
#[derive(Debug, Clone)]
pub(crate) struct Owned {
    pub(crate) slices: Slices,
    /// Whatever was appended under earlier epochs of them stands up to here in the log.
    pub(crate) since: Position,
    pub(crate) until: Instant,
    /// Whether one died so lately that all are to be careful.
    pub(crate) is_careful: bool,
}

impl Owned {
    fn nothing() -> Self {
        Self { slices: Slices::new(), since: 0, until: Instant::now(), is_careful: false }
    }

    /// Whether the leases still last. They end a second early here, so that a call begun at the
    /// last moment is not begun after the end.
    fn lasts(&self) -> bool {
        Instant::now() + Duration::from_secs(1) < self.until
    }
}

/// The leases of one worker on slices of one thing.
pub(crate) struct Leases {
    worker: Uuid,
    pool: PgPool,
    log: Arc<dyn EventStore>,
    divided: Divided,
    /// The lock that is held for as long as this worker lives, if it is.
    presence: watch::Receiver<Option<i64>>,
    owned: watch::Sender<Owned>,
    known: Mutex<Known>,
}

/// What a worker knows of its leases.
#[derive(Debug)]
struct Known {
    /// Slices that are another's share. They are not acted on any more, and let go of next time:
    /// what was begun on them comes to its end before somebody else begins. At first all, so that
    /// what this worker held when it died comes back under a new epoch.
    leaving: Vec<i16>,
    /// Epochs that the log knows of.
    fenced: Slices,
    /// Who takes part.
    members: Vec<Uuid>,
    /// How many slices are this worker's share.
    share: usize,
    renewed_at: Option<Instant>,
}

/// What there is to see of the leases of all.
#[derive(Debug, sqlx::FromRow)]
struct Seen {
    /// How many slices nobody holds.
    free: i64,
    members: Vec<Uuid>,
    /// Members that are dead for certain.
    dead: Vec<Uuid>,
}

impl Leases {
    pub(crate) fn new(
        worker: Uuid,
        pool: PgPool,
        log: Arc<dyn EventStore>,
        (divided, presence): (Divided, watch::Receiver<Option<i64>>),
    ) -> Self {
        let owned = watch::Sender::new(Owned::nothing());
        let known = Mutex::new(Known {
            leaving: (0..divided.slices).collect(),
            fenced: Slices::new(),
            members: vec![],
            share: 0,
            renewed_at: None,
        });
        Self { worker, pool, log, divided, presence, owned, known }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is owned, as it changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Owned> {
        self.owned.subscribe()
    }

    /// Renews the leases if it is time, or if there is reason to: somebody came or went, a slice is
    /// free, or one is to be let go of.
    pub(crate) async fn look(&self) -> Result<(), Error> {
        let seen = self.seen().await?;
        let is_due = {
            let known = self.known();
            let renewed = known.renewed_at;
            seen.members != known.members
                || !known.leaving.is_empty()
                || (seen.free > 0 && self.owned.borrow().slices.len() < known.share)
                || renewed.is_none_or(|at| at.elapsed() >= RENEWED_EVERY)
        };
        if is_due || !seen.dead.is_empty() { self.renew(&seen.dead).await } else { Ok(()) }
    }

    /// Renews what is owned, takes what is free up to a fair share, prepares to let go of what is
    /// beyond it. What the dead held is free.
    pub(crate) async fn renew(&self, dead: &[Uuid]) -> Result<(), Error> {
        let asked = Instant::now();
        let mut tx = self.pool.begin().await?;
        // What was called the same before it began is dead.
        let before = self.known().renewed_at.is_none().then_some(self.worker);
        let dead: Vec<Uuid> = dead.iter().copied().chain(before).collect();
        self.bury(&mut tx, &dead).await?;
        let is_careful = turns::is_careful(&mut tx).await?;
        let members = self.members(&mut tx).await?;
        let slices = usize::try_from(self.divided.slices).unwrap_or_default();
        let share = slices.div_ceil(members.len().max(1));
        let leaving = self.known().leaving.clone();
        self.let_go(&mut tx, &leaving).await?;
        let mut held = self.extend(&mut tx).await?;
        if held.len() < share {
            held.extend(self.claim(&mut tx, share - held.len()).await?);
        }
        tx.commit().await?;
        // Before anything is done under a new epoch, nothing can be appended under an older one.
        let since = self.fence(&held).await?;
        let beyond: Vec<i16> = held.keys().copied().skip(share).collect();
        let fenced = held.clone();
        held.retain(|slice, _| !beyond.contains(slice));
        *self.known() = Known { leaving: beyond, fenced, members, share, renewed_at: Some(asked) };
        let until = asked + LASTS;
        // Only other slices are news; a later end of the same ones is not.
        self.owned.send_if_modified(|owned| {
            let news = owned.slices != held;
            *owned = Owned { slices: held, since, until, is_careful };
            news
        });
        Ok(())
    }

    /// Tells the log of epochs that it does not know of yet; where it ended then at the latest.
    async fn fence(&self, held: &Slices) -> Result<Position, Error> {
        let fences: Vec<Fence> = {
            let known = self.known();
            let new = held.iter().filter(|(slice, epoch)| known.fenced.get(slice) != Some(epoch));
            let lease = self.divided.name;
            new.map(|(slice, epoch)| Fence { lease, slice: *slice, epoch: *epoch }).collect()
        };
        if fences.is_empty() {
            return Ok(self.owned.borrow().since);
        }
        self.log.fence(&fences).await?;
        Ok(self.log.head().await?)
    }

    async fn seen(&self) -> Result<Seen, sqlx::Error> {
        // Whose lock can be had is dead; it is given back at the end of the statement.
        sqlx::query_as(
            "
            SELECT
                (SELECT count(*) FROM ops.slice
                    WHERE name = $1 AND expires_at <= clock_timestamp()) AS free,
                ARRAY(SELECT id FROM ops.member
                    WHERE name = $1 AND expires_at > clock_timestamp() ORDER BY id) AS members,
                ARRAY(SELECT id FROM ops.member
                    WHERE CASE WHEN name = $1 AND id <> $2 AND presence IS NOT NULL
                        THEN pg_try_advisory_xact_lock_shared(presence) ELSE false END) AS dead
            ",
        )
        .bind(self.divided.name)
        .bind(self.worker)
        .fetch_one(&self.pool)
        .await
    }

    /// Takes from the dead what they held.
    async fn bury(&self, db: &mut PgConnection, dead: &[Uuid]) -> Result<(), sqlx::Error> {
        if dead.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "UPDATE ops.slice SET owner = NULL, expires_at = '-infinity'
             WHERE name = $1 AND owner = ANY ($2)",
        )
        .bind(self.divided.name)
        .bind(dead)
        .execute(&mut *db)
        .await?;
        let gone = "DELETE FROM ops.member WHERE name = $1 AND id = ANY ($2) RETURNING id";
        let gone: Vec<Uuid> =
            sqlx::query_scalar(gone).bind(self.divided.name).bind(dead).fetch_all(&mut *db).await?;
        // Everybody takes part in the work: there each death is met once.
        if self.divided.name == WORK.name && !gone.is_empty() {
            turns::suspect(db, &gone).await?;
        }
        Ok(())
    }

    /// Lets go of everything, so that others need not wait for the leases to end. To be called when
    /// nothing is done on them any more.
    pub(crate) async fn release(&self) -> Result<(), sqlx::Error> {
        self.owned.send_replace(Owned::nothing());
        let mut tx = self.pool.begin().await?;
        sqlx::query("DELETE FROM ops.member WHERE name = $1 AND id = $2")
            .bind(self.divided.name)
            .bind(self.worker)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "UPDATE ops.slice SET owner = NULL, expires_at = '-infinity'
             WHERE name = $1 AND owner = $2",
        )
        .bind(self.divided.name)
        .bind(self.worker)
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    /// Says that this worker lives; who takes part.
    async fn members(&self, db: &mut PgConnection) -> Result<Vec<Uuid>, sqlx::Error> {
        let presence = *self.presence.borrow();
        sqlx::query(
            "
            INSERT INTO ops.member (name, id, expires_at, presence)
            VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3), $4)
            ON CONFLICT (name, id) DO UPDATE
                SET expires_at = excluded.expires_at, presence = excluded.presence
            ",
        )
        .bind(self.divided.name)
        .bind(self.worker)
        .bind(LASTS.as_secs_f64())
        .bind(presence)
        .execute(&mut *db)
        .await?;
        sqlx::query(
            "DELETE FROM ops.member
             WHERE name = $1 AND expires_at < clock_timestamp() - interval '1 hour'",
        )
        .bind(self.divided.name)
        .execute(&mut *db)
        .await?;
        sqlx::query_scalar(
            "SELECT id FROM ops.member
             WHERE name = $1 AND expires_at > clock_timestamp() ORDER BY id",
        )
        .bind(self.divided.name)
        .fetch_all(db)
        .await
    }

    async fn extend(&self, db: &mut PgConnection) -> Result<Slices, sqlx::Error> {
        let held: Vec<(i16, i64)> = sqlx::query_as(
            "
            UPDATE ops.slice SET expires_at = clock_timestamp() + make_interval(secs => $3)
            WHERE name = $1 AND owner = $2 AND expires_at > clock_timestamp()
            RETURNING slice, fence
            ",
        )
        .bind(self.divided.name)
        .bind(self.worker)
        .bind(LASTS.as_secs_f64())
        .fetch_all(db)
        .await?;
        Ok(held.into_iter().collect())
    }

    async fn claim(
        &self,
        db: &mut PgConnection,
        most: usize,
    ) -> Result<Vec<(i16, i64)>, sqlx::Error> {
        sqlx::query_as(
            "
            UPDATE ops.slice AS slice
            SET owner = $2, fence = nextval('ops.epoch'),
                expires_at = clock_timestamp() + make_interval(secs => $3)
            FROM (
                SELECT slice FROM ops.slice
                WHERE name = $1 AND expires_at <= clock_timestamp()
                ORDER BY slice
                LIMIT $4
                FOR UPDATE SKIP LOCKED
            ) AS free
            WHERE slice.name = $1 AND slice.slice = free.slice
            RETURNING slice.slice, slice.fence
            ",
        )
        .bind(self.divided.name)
        .bind(self.worker)
        .bind(LASTS.as_secs_f64())
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_all(db)
        .await
    }

    async fn let_go(&self, db: &mut PgConnection, slices: &[i16]) -> Result<(), sqlx::Error> {
        if slices.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "
            UPDATE ops.slice SET owner = NULL, expires_at = '-infinity'
            WHERE name = $1 AND owner = $2 AND slice = ANY ($3)
            ",
        )
        .bind(self.divided.name)
        .bind(self.worker)
        .bind(slices)
        .execute(db)
        .await
        .map(drop)
    }
}

/// Counts what came too late: an append or a checkpoint of whoever has lost the slice.
pub(crate) async fn count_refused(pool: &PgPool, name: &str, slice: i16) -> sqlx::Result<()> {
    sqlx::query("UPDATE ops.slice SET refused = refused + 1 WHERE name = $1 AND slice = $2")
        .bind(name)
        .bind(slice)
        .execute(pool)
        .await
        .map(drop)
}
