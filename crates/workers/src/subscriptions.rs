//! Subscriptions as an operator sees them: how far they are, what they cannot go on with, and what
//! is to be done about it.

use domain::Timestamp;
use eventstore::{EventStore, Position, Version};
use serde::Serialize;
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

/// How far a subscription has come.
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// Everything up to here is done, or parked.
    pub position: Position,
    /// How many events of the log come after that.
    pub lag_events: Position,
    /// How old the oldest of them is, in seconds.
    pub lag_seconds: i64,
    /// How many streams are parked.
    pub parked: i64,
    /// How many events were skipped on purpose.
    pub skipped: i64,
    /// How many checkpoints came from processes that did not own their slice any more.
    pub refused: i64,
    /// Why it stands still, if it does.
    pub error: Option<String>,
    /// Its slices.
    pub slices: Vec<Slice>,
}

/// A part of a subscription, by hash of the stream.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct Slice {
    /// Its number, from 0.
    pub slice: i16,
    /// Everything of it up to here is done, or parked.
    pub position: Position,
    /// The worker that has it; none if nobody does.
    pub owner: Option<Uuid>,
    /// How often it has changed hands.
    pub fence: i64,
    #[serde(skip)]
    refused: i64,
    #[serde(skip)]
    error: Option<String>,
}

/// A stream that a subscription cannot go on with.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct Parked {
    /// Whose it is.
    pub tenant: Uuid,
    /// Its category.
    pub category: String,
    /// Which one.
    pub stream: Uuid,
    /// Position of the event that could not be handled.
    pub position: Position,
    /// Its place in the stream.
    pub version: Version,
    /// Its stored name.
    pub name: String,
    /// How often it was tried.
    pub tries: i32,
    /// `failed`, or `newer` if a newer release wrote it: that goes on by itself.
    pub cause: String,
    /// Why it could not be handled.
    pub reason: String,
    /// Since when the stream is parked.
    pub since: Timestamp,
    /// Whether somebody asked for another attempt that is still to come.
    pub again: bool,
}

/// An event that was skipped on purpose.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct Skipped {
    /// Position of the event.
    pub position: Position,
    /// Whose it is.
    pub tenant: Uuid,
    /// Category of its stream.
    pub category: String,
    /// Its stream.
    pub stream: Uuid,
    /// Its stored name.
    pub name: String,
    /// Why it could not be handled.
    pub failure: String,
    /// Why it was skipped.
    pub reason: String,
    /// Who did it: a login at the database.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Why an operator's request cannot be met.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none of this name.
    #[error("there is no subscription `{0}`")]
    Unknown(String),
    /// The event is not what its stream is parked at.
    #[error("no stream of `{name}` is parked at position {position}")]
    NotParked {
        /// The subscription.
        name: String,
        /// The position.
        position: Position,
    },
    /// The log could not be read.
    #[error("cannot read the log")]
    Log(#[from] eventstore::Error),
    /// The subscriptions could not be read or written.
    #[error("cannot read or write the subscriptions")]
    Database(#[from] sqlx::Error),
}

/// All subscriptions, by name.
pub async fn list(pool: &PgPool, log: &dyn EventStore) -> Result<Vec<Standing>, Error> {
    // Checkpoints first: the head of the log is never behind them then.
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT name, (SELECT count(*) FROM ops.parked WHERE subscription = s.name),
             (SELECT count(*) FROM ops.skipped WHERE subscription = s.name)
         FROM ops.subscription s ORDER BY name",
    )
    .fetch_all(pool)
    .await?;
    let mut standings = vec![];
    for (name, parked, skipped) in rows {
        let slices = slices(pool, &name).await?;
        let position = slices.iter().map(|slice| slice.position).min().unwrap_or(0);
        let refused = slices.iter().map(|slice| slice.refused).sum();
        let error = slices.iter().find_map(|slice| slice.error.clone());
        let (lag_events, lag_seconds) = lag(pool, log, position).await?;
        standings.push(Standing {
            name,
            position,
            lag_events,
            lag_seconds,
            parked,
            skipped,
            refused,
            error,
            slices,
        });
    }
    Ok(standings)
}

async fn slices(pool: &PgPool, name: &str) -> sqlx::Result<Vec<Slice>> {
    sqlx::query_as(
        "SELECT slice, position, fence, refused, error,
             CASE WHEN expires_at > clock_timestamp() THEN owner END AS owner
         FROM ops.slice WHERE name = $1 ORDER BY slice",
    )
    .bind(name)
    .fetch_all(pool)
    .await
}

/// How many events come after a position, and how old the first of them is.
async fn lag(
    pool: &PgPool,
    log: &dyn EventStore,
    position: Position,
) -> Result<(Position, i64), Error> {
    let behind = log.head().await? - position;
    let Some(oldest) = log.read(position, 1).await?.pop() else { return Ok((behind, 0)) };
    let age = "SELECT extract(epoch FROM clock_timestamp() - $1)::bigint";
    let age: i64 = sqlx::query_scalar(age).bind(oldest.meta.at).fetch_one(pool).await?;
    Ok((behind, age.max(0)))
}

/// What is parked, the oldest event first.
pub async fn parked(pool: &PgPool, name: &str) -> Result<Vec<Parked>, Error> {
    known(pool, name).await?;
    let rows = sqlx::query_as(
        "SELECT tenant, category, stream, position, version, name, tries, cause, reason, since,
             again
         FROM ops.parked WHERE subscription = $1 ORDER BY position",
    );
    Ok(rows.bind(name).fetch_all(pool).await?)
}

/// What was ever skipped, the oldest event first.
pub async fn skipped(pool: &PgPool, name: &str) -> Result<Vec<Skipped>, Error> {
    known(pool, name).await?;
    let rows = sqlx::query_as(
        "SELECT position, tenant, category, stream, name, failure, reason, by, at
         FROM ops.skipped WHERE subscription = $1 ORDER BY position",
    );
    Ok(rows.bind(name).fetch_all(pool).await?)
}

/// Has a parked stream tried again, or all of them; how many these are. Whoever owns their slices
/// does it within seconds.
pub async fn retry(pool: &PgPool, name: &str, stream: Option<Uuid>) -> Result<u64, Error> {
    known(pool, name).await?;
    let done = sqlx::query(
        "UPDATE ops.parked SET again = true
         WHERE subscription = $1 AND ($2::uuid IS NULL OR stream = $2)",
    );
    Ok(done.bind(name).bind(stream).execute(pool).await?.rows_affected())
}

/// Has a subscription go past the event at which a stream is parked: it is never handled, and what
/// follows it in its stream is. Who did that and why stays known.
pub async fn skip(
    pool: &PgPool,
    name: &str,
    position: Position,
    reason: &str,
) -> Result<(), Error> {
    known(pool, name).await?;
    let mut tx = pool.begin().await?;
    let skipped = sqlx::query(
        "INSERT INTO ops.skipped (subscription, position, version, tenant, category, stream, event,
             name, failure, reason)
         SELECT subscription, position, version, tenant, category, stream, event, name, reason, $3
         FROM ops.parked WHERE subscription = $1 AND position = $2 AND tries > 0
         FOR UPDATE",
    )
    .bind(name)
    .bind(position)
    .bind(reason)
    .execute(&mut *tx)
    .await?;
    if skipped.rows_affected() == 0 {
        return Err(Error::NotParked { name: name.to_owned(), position });
    }
    sqlx::query(
        "UPDATE ops.parked SET version = version + 1, tries = 0, again = true
         WHERE subscription = $1 AND position = $2",
    )
    .bind(name)
    .bind(position)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

async fn known(pool: &PgPool, name: &str) -> Result<(), Error> {
    let there: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM ops.subscription WHERE name = $1)")
            .bind(name)
            .fetch_one(pool)
            .await?;
    if there { Ok(()) } else { Err(Error::Unknown(name.to_owned())) }
}
