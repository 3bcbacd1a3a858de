//! Being careful: before a turn is taken it is written down whose it is, so that a turn that kills its
//! process is known by those who find the process dead.
//!
//! That costs a statement, which many turns share; so it is done only for a while after somebody died,
//! and for what is under suspicion. The statement does not wait for the disk: it is lost with the
//! database, not with the process, and then nobody died of a turn.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::Error;
use crate::agenda::{Item, Key};

/// For how long workers are careful after one of them died, in seconds.
const CAREFUL: f64 = 120.0;

/// The turns of one worker.
#[derive(Debug)]
pub(crate) struct Turns {
    worker: Uuid,
    pool: PgPool,
    taken: Mutex<Taken>,
    /// Up to which change they are written down.
    written: tokio::sync::Mutex<u64>,
    /// Whoever is under suspicion takes turns alone: of many who are at it when somebody dies nobody can
    /// tell which it was.
    alone: tokio::sync::RwLock<()>,
}

/// What a worker is in the middle of.
#[derive(Debug, Default)]
struct Taken {
    keys: BTreeSet<Key>,
    changes: u64,
}

impl Turns {
    pub(crate) fn new(worker: Uuid, pool: PgPool) -> Self {
        let (taken, written, alone) = Default::default();
        Self { worker, pool, taken, written, alone }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a turn that is written down.
    pub(crate) async fn take<T>(
        &self,
        item: &Item,
        turn: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let _alone = if item.is_suspect {
            (Some(self.alone.write().await), None)
        } else {
            (None, Some(self.alone.read().await))
        };
        let change = {
            let mut taken = self.taken();
            taken.keys.insert(item.key.clone());
            taken.changes += 1;
            taken.changes
        };
        let _taken = Leave { turns: self, key: &item.key };
        self.write_down(change).await?;
        turn.await
    }

    /// Writes down what is taken, if whoever did so last had not seen this change.
    async fn write_down(&self, change: u64) -> Result<(), sqlx::Error> {
        let mut written = self.written.lock().await;
        if *written >= change {
            return Ok(());
        }
        let (changes, keys) = {
            let taken = self.taken();
            (taken.changes, taken.keys.iter().cloned().collect::<Vec<_>>())
        };
        sqlx::query(
            "
            WITH off AS (SELECT set_config('synchronous_commit', 'off', true))
            INSERT INTO ops.turn AS t (at, worker, tenants, streams, categories, items)
            SELECT clock_timestamp(), $1, $2, $3, $4, $5 FROM off
            ON CONFLICT (worker) DO UPDATE SET at = excluded.at, tenants = excluded.tenants,
                streams = excluded.streams, categories = excluded.categories, items = excluded.items
            ",
        )
        .bind(self.worker)
        .bind(keys.iter().map(|key| key.tenant.as_uuid()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.stream).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.category.clone()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.item).collect::<Vec<_>>())
        .execute(&self.pool)
        .await?;
        *written = changes;
        Ok(())
    }
}

/// Strikes a turn out, however it ends.
struct Leave<'a> {
    turns: &'a Turns,
    key: &'a Key,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.turns.taken().keys.remove(self.key);
    }
}

/// Workers were found dead: what they were in the middle of is under suspicion, and taken up again alone.
/// What was alone at two deaths in a row is left alone, so that all else goes on; and since whoever died
/// may have been killed by chance, it is tried again after a while, twice, and then not until somebody
/// releases it.
pub(crate) async fn suspect(db: &mut PgConnection, dead: &[Uuid]) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM ops.death WHERE at < clock_timestamp() - interval '1 hour'")
        .execute(&mut *db)
        .await?;
    sqlx::query("INSERT INTO ops.death (worker) SELECT unnest($1)")
        .bind(dead)
        .execute(&mut *db)
        .await?;
    // If the database went down with them, they did not die of what they did.
    sqlx::query(
        "
        WITH gone AS (DELETE FROM ops.turn WHERE worker = ANY ($1) RETURNING *)
        INSERT INTO ops.quarantine AS q
            (tenant, stream, category, item, cause, reason, strikes, retry_at)
        SELECT DISTINCT ON (u.stream, u.category, u.tenant) u.tenant, u.stream, u.category, u.item,
            'died', 'a process died while it did this',
            CASE cardinality(gone.items) WHEN 1 THEN 2 ELSE 1 END, clock_timestamp()
        FROM gone, unnest(gone.tenants, gone.streams, gone.categories, gone.items)
            u (tenant, stream, category, item)
        WHERE gone.at > pg_postmaster_start_time()
        ON CONFLICT (stream, category, tenant) DO UPDATE
            SET strikes = q.strikes + 1, since = clock_timestamp(), item = excluded.item,
                cause = excluded.cause, reason = excluded.reason,
                retry_at = CASE q.strikes
                    WHEN 1 THEN clock_timestamp()
                    WHEN 2 THEN clock_timestamp() + interval '20 seconds'
                    WHEN 3 THEN clock_timestamp() + interval '30 seconds'
                END
            WHERE excluded.strikes = 2
        ",
    )
    .bind(dead)
    .execute(db)
    .await
    .map(drop)
}

/// Whether somebody died so lately that turns are to be written down.
pub(crate) async fn is_careful(db: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM ops.death
            WHERE at > clock_timestamp() - make_interval(secs => $1))",
    )
    .bind(CAREFUL)
    .fetch_one(db)
    .await
}
