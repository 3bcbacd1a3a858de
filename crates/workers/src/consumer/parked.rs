//! Streams that a subscription cannot go on with.

use std::collections::HashSet;
use std::error::Error as _;

use domain::{Id, Tenant};
use eventstore::{Recorded, Version};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::slice::slice_of;
use crate::Error;

/// Names a stream, of whatever release.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Stream {
    pub(super) tenant: Id<Tenant>,
    pub(super) category: String,
    pub(super) id: Uuid,
}

impl Stream {
    pub(super) fn of(event: &Recorded) -> Self {
        Self { tenant: event.meta.tenant, category: event.category.clone(), id: event.stream }
    }
}

/// Why an event could not be handled.
#[derive(Debug)]
pub(super) struct Failure {
    tries: u32,
    /// Whether a newer release knows what to do.
    newer: bool,
    reason: String,
}

impl Failure {
    pub(super) fn new(tries: u32, error: &Error) -> Self {
        let newer = error.is_newer();
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            // Some errors say what their cause says.
            let cause_says = cause.to_string();
            if !reason.contains(&cause_says) {
                reason.push_str(": ");
                reason.push_str(&cause_says);
            }
            source = cause.source();
        }
        Self { tries, newer, reason: reason.replace('\0', "") }
    }

    /// Tells whoever watches the installation.
    pub(super) fn alarm(&self, subscription: &str, event: &Recorded) {
        let Self { tries, newer, reason } = self;
        let what = if *newer {
            "a stream is suspended until a newer release works on it"
        } else {
            "a stream is parked"
        };
        tracing::error!(
            subscription,
            tenant = %event.meta.tenant,
            category = event.category,
            stream = %event.stream,
            position = event.position,
            event = event.name,
            tries,
            reason,
            "{what}"
        );
    }
}

/// A change to what is parked, committed with a checkpoint.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change<'a> {
    /// The stream of this event is parked right before it.
    Park { event: &'a Recorded, failure: &'a Failure },
    /// The event of this version was handled; the stream stays parked before the next one.
    Past { stream: &'a Stream, version: Version },
    /// Nothing before this version is held back any more.
    Done { stream: &'a Stream, version: Version },
}

impl Change<'_> {
    /// Makes it; not, if the stream is not parked as the change takes it to be.
    pub(super) async fn make(self, db: &mut PgConnection, name: &str) -> sqlx::Result<bool> {
        match self {
            Self::Park { event, failure } => park(db, name, event, failure).await.map(|()| true),
            Self::Past { stream, version } => past(db, name, stream, version).await,
            Self::Done { stream, version } => done(db, name, stream, version).await,
        }
    }
}

async fn park(
    db: &mut PgConnection,
    name: &str,
    event: &Recorded,
    failure: &Failure,
) -> sqlx::Result<()> {
    sqlx::query(
        "
        INSERT INTO ops.parked AS parked (subscription, slice, tenant, category, stream, position,
            version, event, name, tries, cause, reason)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        ON CONFLICT (subscription, tenant, category, stream) DO UPDATE
        SET position = excluded.position, version = excluded.version, event = excluded.event,
            name = excluded.name, cause = excluded.cause, reason = excluded.reason, again = false,
            tries = excluded.tries
                + CASE WHEN parked.version = excluded.version THEN parked.tries ELSE 0 END
        ",
    )
    .bind(name)
    .bind(slice_of(event.stream))
    .bind(event.meta.tenant.as_uuid())
    .bind(&event.category)
    .bind(event.stream)
    .bind(event.position)
    .bind(event.version)
    .bind(event.id)
    .bind(&event.name)
    .bind(i32::try_from(failure.tries).unwrap_or(i32::MAX))
    .bind(if failure.newer { "newer" } else { "failed" })
    .bind(&failure.reason)
    .execute(db)
    .await
    .map(drop)
}

async fn past(
    db: &mut PgConnection,
    name: &str,
    stream: &Stream,
    version: Version,
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE ops.parked SET version = version + 1, tries = 0
         WHERE subscription = $1 AND tenant = $2 AND category = $3 AND stream = $4 AND version = $5",
    )
    .bind(name)
    .bind(stream.tenant.as_uuid())
    .bind(&stream.category)
    .bind(stream.id)
    .bind(version)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

async fn done(
    db: &mut PgConnection,
    name: &str,
    stream: &Stream,
    version: Version,
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "DELETE FROM ops.parked
         WHERE subscription = $1 AND tenant = $2 AND category = $3 AND stream = $4 AND version = $5",
    )
    .bind(name)
    .bind(stream.tenant.as_uuid())
    .bind(&stream.category)
    .bind(stream.id)
    .bind(version)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The version at which a stream is parked, if it is.
pub(super) async fn next(
    pool: &PgPool,
    name: &str,
    stream: &Stream,
) -> sqlx::Result<Option<Version>> {
    sqlx::query_scalar(
        "SELECT version FROM ops.parked
         WHERE subscription = $1 AND tenant = $2 AND category = $3 AND stream = $4",
    )
    .bind(name)
    .bind(stream.tenant.as_uuid())
    .bind(&stream.category)
    .bind(stream.id)
    .fetch_optional(pool)
    .await
}

/// Takes note that another attempt, which somebody asked for, is in vain.
pub(super) async fn leave(pool: &PgPool, name: &str, stream: &Stream) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE ops.parked SET again = false
         WHERE subscription = $1 AND tenant = $2 AND category = $3 AND stream = $4",
    )
    .bind(name)
    .bind(stream.tenant.as_uuid())
    .bind(&stream.category)
    .bind(stream.id)
    .execute(pool)
    .await
    .map(drop)
}

type Row = (i16, Uuid, String, Uuid);

fn streams(rows: Vec<Row>) -> impl Iterator<Item = (i16, Stream)> {
    rows.into_iter().map(|(slice, tenant, category, id)| {
        (slice, Stream { tenant: Id::from_uuid(tenant), category, id })
    })
}

/// What is parked in a slice.
pub(super) async fn of_slice(
    pool: &PgPool,
    name: &str,
    number: i16,
) -> sqlx::Result<HashSet<Stream>> {
    let rows = sqlx::query_as(
        "SELECT slice, tenant, category, stream FROM ops.parked
         WHERE subscription = $1 AND slice = $2",
    )
    .bind(name)
    .bind(number)
    .fetch_all(pool)
    .await?;
    Ok(streams(rows).map(|(_, stream)| stream).collect())
}

/// What is parked in some slices at an event of a newer release.
pub(super) async fn of_newer(
    pool: &PgPool,
    name: &str,
    numbers: &[i16],
) -> sqlx::Result<Vec<(i16, Stream)>> {
    let rows = sqlx::query_as(
        "SELECT slice, tenant, category, stream FROM ops.parked
         WHERE subscription = $1 AND slice = ANY ($2) AND cause = 'newer' ORDER BY position",
    )
    .bind(name)
    .bind(numbers)
    .fetch_all(pool)
    .await?;
    Ok(streams(rows).collect())
}

/// What is parked in some slices and is to be tried again.
pub(super) async fn asked_for(
    pool: &PgPool,
    name: &str,
    numbers: &[i16],
) -> sqlx::Result<Vec<(i16, Stream)>> {
    let rows = sqlx::query_as(
        "SELECT slice, tenant, category, stream FROM ops.parked
         WHERE subscription = $1 AND slice = ANY ($2) AND again ORDER BY position",
    )
    .bind(name)
    .bind(numbers)
    .fetch_all(pool)
    .await?;
    Ok(streams(rows).collect())
}
