//! Quarantine: streams whose work goes wrong whoever does it. They are left alone, and nobody else has
//! to wait for them.

use std::time::Duration;

use domain::Timestamp;
use serde::Serialize;
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

use crate::Error;
use crate::agenda::Key;

/// How long something is left alone at first.
const FIRST: Duration = Duration::from_secs(30);
/// How many times longer it is each time it goes wrong again.
const GROWTH: f64 = 4.0;
/// How long at most.
const LONGEST: Duration = Duration::from_hours(1);

/// A stream that is left alone.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct Quarantined {
    /// Whose it is.
    pub tenant: Uuid,
    /// Its category.
    pub category: String,
    /// Which one.
    pub stream: Uuid,
    /// Which piece of its work went wrong.
    pub item: i32,
    /// `panicked`; `died` if a process died each time that did it; `newer` if a newer release wrote the
    /// stream.
    pub cause: String,
    /// What is known about it.
    pub reason: String,
    /// How often in a row it went wrong.
    pub strikes: i32,
    /// Since when it is left alone.
    pub since: Timestamp,
    /// When it is tried again; none if only after it was released.
    pub retry_at: Option<Timestamp>,
}

/// All that is left alone, the longest first.
pub async fn list(pool: &PgPool) -> sqlx::Result<Vec<Quarantined>> {
    sqlx::query_as(
        "SELECT tenant, category, stream, item, cause, reason, strikes, since, retry_at
         FROM ops.quarantine WHERE retry_at IS NULL OR retry_at > clock_timestamp()
         ORDER BY since, stream",
    )
    .fetch_all(pool)
    .await
}

/// Has a stream worked on again, or all of them; how many these are. Whoever owns their partitions does
/// it within seconds; what goes wrong once more is left alone at once.
pub async fn release(pool: &PgPool, stream: Option<Uuid>) -> sqlx::Result<u64> {
    let released = sqlx::query(
        "UPDATE ops.quarantine SET retry_at = clock_timestamp()
         WHERE (retry_at IS NULL OR retry_at > clock_timestamp())
             AND ($1::uuid IS NULL OR stream = $1)",
    );
    Ok(released.bind(stream).execute(pool).await?.rows_affected())
}

/// Leaves the stream of a piece of work alone for a while.
pub(crate) async fn isolate(pool: &PgPool, key: &Key, error: &Error) -> sqlx::Result<()> {
    // A newer release may come at any time.
    let (cause, growth) = if error.is_newer() { ("newer", 1.0) } else { ("panicked", GROWTH) };
    sqlx::query(
        "
        INSERT INTO ops.quarantine AS q
            (tenant, category, stream, item, cause, reason, strikes, retry_at)
        VALUES ($1, $2, $3, $4, $5, $6, 1, clock_timestamp() + make_interval(secs => $7))
        ON CONFLICT (stream, category, tenant) DO UPDATE
            SET strikes = q.strikes + 1, since = clock_timestamp(), item = excluded.item,
                cause = excluded.cause, reason = excluded.reason,
                retry_at = clock_timestamp()
                    + make_interval(secs => least($7 * $9 ^ least(q.strikes, 10), $8))
        ",
    )
    .bind(key.tenant.as_uuid())
    .bind(&key.category)
    .bind(key.stream)
    .bind(key.item)
    .bind(cause)
    .bind(error.to_string().replace('\0', ""))
    .bind(FIRST.as_secs_f64())
    .bind(LONGEST.as_secs_f64())
    .bind(growth)
    .execute(pool)
    .await
    .map(drop)
}

/// A piece of work under suspicion was done.
pub(crate) async fn clear(pool: &PgPool, key: &Key) -> sqlx::Result<()> {
    sqlx::query(
        "DELETE FROM ops.quarantine
         WHERE tenant = $1 AND category = $2 AND stream = $3 AND item = $4",
    )
    .bind(key.tenant.as_uuid())
    .bind(&key.category)
    .bind(key.stream)
    .bind(key.item)
    .execute(pool)
    .await
    .map(drop)
}
