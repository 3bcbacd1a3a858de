//! Who owns which partition: leases on the database's clock, shared out evenly.
//!
//! A lease keeps two workers from doing the same work; it does not keep the log right. That is
//! done by expected versions: of two workers that both think they own an execution, one appends
//! and the other is told that the stream has moved on.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sqlx::{PgConnection, PgPool};
use tokio::sync::watch;
use uuid::Uuid;

/// How many partitions there are: the `partition` of a stream is a hash of its id modulo this.
pub(crate) const PARTITIONS: usize = 256;

/// How long a lease lasts without being renewed. After a crash its work stands still this long.
const LASTS: Duration = Duration::from_secs(10);

/// How often leases are renewed.
pub(crate) const RENEWED_EVERY: Duration = Duration::from_secs(3);

/// What this worker may act on, and until when it may believe so.
#[derive(Debug, Clone)]
pub(crate) struct Owned {
    pub(crate) partitions: BTreeSet<i16>,
    until: Instant,
}

impl Owned {
    fn nothing() -> Self {
        Self { partitions: BTreeSet::new(), until: Instant::now() }
    }

    /// Whether the lease on a partition still holds. It ends a second early here, so that a call
    /// begun at the last moment is not begun after the end.
    pub(crate) fn holds(&self, partition: i16) -> bool {
        let margin = Duration::from_secs(1);
        self.partitions.contains(&partition) && Instant::now() + margin < self.until
    }
}

/// The leases of one worker.
#[derive(Debug)]
pub(crate) struct Leases {
    worker: Uuid,
    pool: PgPool,
    owned: watch::Sender<Owned>,
}

impl Leases {
    pub(crate) fn new(worker: Uuid, pool: PgPool) -> Self {
        Self { worker, pool, owned: watch::Sender::new(Owned::nothing()) }
    }

    /// What is owned, as it changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Owned> {
        self.owned.subscribe()
    }

    /// Renews what is owned, takes what is free up to a fair share, lets go of what is beyond it.
    pub(crate) async fn renew(&self) -> Result<(), sqlx::Error> {
        let asked = Instant::now();
        let mut tx = self.pool.begin().await?;
        let share = self.share(&mut tx).await?;
        let mut held = self.extend(&mut tx).await?;
        if held.len() < share {
            held.extend(self.claim(&mut tx, share - held.len()).await?);
        } else if held.len() > share {
            let beyond: Vec<i16> = held.iter().copied().skip(share).collect();
            self.let_go(&mut tx, &beyond).await?;
            held.retain(|partition| !beyond.contains(partition));
        }
        tx.commit().await?;
        let until = asked + LASTS;
        // Only other partitions are news; a later end of the same ones is not.
        self.owned.send_if_modified(|owned| {
            let news = owned.partitions != held;
            *owned = Owned { partitions: held, until };
            news
        });
        Ok(())
    }

    /// Lets go of everything, so that others need not wait for the leases to end.
    pub(crate) async fn release(&self) -> Result<(), sqlx::Error> {
        self.owned.send_replace(Owned::nothing());
        let mut tx = self.pool.begin().await?;
        sqlx::query("DELETE FROM ops.worker WHERE id = $1")
            .bind(self.worker)
            .execute(&mut *tx)
            .await?;
        sqlx::query("UPDATE ops.lease SET owner = NULL, expires_at = '-infinity' WHERE owner = $1")
            .bind(self.worker)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// Says that this worker lives; how many partitions are its fair share.
    async fn share(&self, db: &mut PgConnection) -> Result<usize, sqlx::Error> {
        sqlx::query(
            "
            INSERT INTO ops.worker (id, expires_at)
            VALUES ($1, clock_timestamp() + make_interval(secs => $2))
            ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at
            ",
        )
        .bind(self.worker)
        .bind(LASTS.as_secs_f64())
        .execute(&mut *db)
        .await?;
        sqlx::query(
            "DELETE FROM ops.worker WHERE expires_at < clock_timestamp() - interval '1 hour'",
        )
        .execute(&mut *db)
        .await?;
        let alive: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM ops.worker WHERE expires_at > clock_timestamp()",
        )
        .fetch_one(db)
        .await?;
        Ok(PARTITIONS.div_ceil(usize::try_from(alive).unwrap_or(1).max(1)))
    }

    async fn extend(&self, db: &mut PgConnection) -> Result<BTreeSet<i16>, sqlx::Error> {
        let held: Vec<i16> = sqlx::query_scalar(
            "
            UPDATE ops.lease SET expires_at = clock_timestamp() + make_interval(secs => $2)
            WHERE owner = $1 AND expires_at > clock_timestamp()
            RETURNING partition
            ",
        )
        .bind(self.worker)
        .bind(LASTS.as_secs_f64())
        .fetch_all(db)
        .await?;
        Ok(held.into_iter().collect())
    }

    async fn claim(&self, db: &mut PgConnection, most: usize) -> Result<Vec<i16>, sqlx::Error> {
        sqlx::query_scalar(
            "
            UPDATE ops.lease AS lease
            SET owner = $1, epoch = epoch + 1,
                expires_at = clock_timestamp() + make_interval(secs => $2)
            FROM (
                SELECT partition FROM ops.lease
                WHERE expires_at <= clock_timestamp()
                ORDER BY partition
                LIMIT $3
                FOR UPDATE SKIP LOCKED
            ) AS free
            WHERE lease.partition = free.partition
            RETURNING lease.partition
            ",
        )
        .bind(self.worker)
        .bind(LASTS.as_secs_f64())
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_all(db)
        .await
    }

    async fn let_go(&self, db: &mut PgConnection, beyond: &[i16]) -> Result<(), sqlx::Error> {
        sqlx::query(
            "
            UPDATE ops.lease SET owner = NULL, expires_at = '-infinity'
            WHERE owner = $1 AND partition = ANY($2)
            ",
        )
        .bind(self.worker)
        .bind(beyond)
        .execute(db)
        .await
        .map(drop)
    }
}
