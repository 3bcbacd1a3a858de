//! Who holds which slice: leases on the database's clock, shared out evenly.
//!
//! What is divided has a name and a fixed number of slices: the partitions of open work, and the
//! slices of each subscription. A lease keeps two workers from doing the same work; it does not
//! keep anything right. Appends name the version that they were decided on, and checkpoints the
//! fence of the lease: of two workers that both think they own a slice, one is refused.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{PgConnection, PgPool};
use tokio::sync::watch;
use uuid::Uuid;

/// How long a lease lasts without being renewed. After a crash its work stands still this long.
const LASTS: Duration = Duration::from_secs(10);

/// How often leases are renewed.
pub(crate) const RENEWED_EVERY: Duration = Duration::from_secs(3);

/// Something that is divided, and into how many slices.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Divided {
    pub(crate) name: &'static str,
    pub(crate) slices: i16,
}

/// Slices, each with the fence of its lease.
pub(crate) type Slices = BTreeMap<i16, i64>;

/// What this worker may act on, and until when it may believe so.
#[derive(Debug, Clone)]
pub(crate) struct Owned {
    pub(crate) slices: Slices,
    until: Instant,
}

impl Owned {
    fn nothing() -> Self {
        Self { slices: Slices::new(), until: Instant::now() }
    }

    /// Whether the lease on a slice still holds. It ends a second early here, so that a call
    /// begun at the last moment is not begun after the end.
    pub(crate) fn holds(&self, slice: i16) -> bool {
        let margin = Duration::from_secs(1);
        self.slices.contains_key(&slice) && Instant::now() + margin < self.until
    }
}

/// The leases of one worker on slices of one thing.
#[derive(Debug)]
pub(crate) struct Leases {
    worker: Uuid,
    pool: PgPool,
    divided: Divided,
    owned: watch::Sender<Owned>,
    /// Slices that are another's share. They are not acted on any more, and let go of next time:
    /// what was begun on them comes to its end before somebody else begins. At first all, so that
    /// what this worker held when it died comes back under a new fence.
    leaving: Mutex<Vec<i16>>,
}

impl Leases {
    pub(crate) fn new(worker: Uuid, pool: PgPool, divided: Divided) -> Self {
        let owned = watch::Sender::new(Owned::nothing());
        let leaving = Mutex::new((0..divided.slices).collect());
        Self { worker, pool, divided, owned, leaving }
    }

    /// What is owned, as it changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Owned> {
        self.owned.subscribe()
    }

    /// Renews what is owned, takes what is free up to a fair share, prepares to let go of what is
    /// beyond it.
    pub(crate) async fn renew(&self) -> Result<(), sqlx::Error> {
        let asked = Instant::now();
        let mut tx = self.pool.begin().await?;
        let share = self.share(&mut tx).await?;
        let leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.let_go(&mut tx, &leaving).await?;
        let mut held = self.extend(&mut tx).await?;
        if held.len() < share {
            held.extend(self.claim(&mut tx, share - held.len()).await?);
        }
        tx.commit().await?;
        let beyond: Vec<i16> = held.keys().copied().skip(share).collect();
        held.retain(|slice, _| !beyond.contains(slice));
        *self.leaving.lock().unwrap_or_else(PoisonError::into_inner) = beyond;
        let until = asked + LASTS;
        // Only other slices are news; a later end of the same ones is not.
        self.owned.send_if_modified(|owned| {
            let news = owned.slices != held;
            *owned = Owned { slices: held, until };
            news
        });
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

    /// Says that this worker lives; how many slices are its fair share.
    async fn share(&self, db: &mut PgConnection) -> Result<usize, sqlx::Error> {
        sqlx::query(
            "
            INSERT INTO ops.member (name, id, expires_at)
            VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))
            ON CONFLICT (name, id) DO UPDATE SET expires_at = excluded.expires_at
            ",
        )
        .bind(self.divided.name)
        .bind(self.worker)
        .bind(LASTS.as_secs_f64())
        .execute(&mut *db)
        .await?;
        sqlx::query(
            "DELETE FROM ops.member
             WHERE name = $1 AND expires_at < clock_timestamp() - interval '1 hour'",
        )
        .bind(self.divided.name)
        .execute(&mut *db)
        .await?;
        let alive: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM ops.member WHERE name = $1 AND expires_at > clock_timestamp()",
        )
        .bind(self.divided.name)
        .fetch_one(db)
        .await?;
        let slices = usize::try_from(self.divided.slices).unwrap_or_default();
        Ok(slices.div_ceil(usize::try_from(alive).unwrap_or(1).max(1)))
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
            SET owner = $2, fence = fence + 1,
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
