//! Slices of a subscription and their checkpoints.

use std::collections::HashSet;

use eventstore::{Position, Recorded};
use projections::partition;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::parked::{self, Stream};

/// How many slices a subscription has. A divisor of the number of partitions, and the same for ever:
/// a stream that changed its slice would be worked on by two.
pub(crate) const SLICES: i16 = 16;

/// The slice of a stream.
pub(super) fn slice_of(stream: Uuid) -> i16 {
    partition(stream) % SLICES
}

/// A slice that is owned.
#[derive(Debug)]
pub(super) struct Slice {
    pub(super) number: i16,
    /// The fence of its lease.
    pub(super) fence: i64,
    /// Everything of it up to here is done, or parked.
    pub(super) position: Position,
    /// Streams whose events are held back.
    pub(super) parked: HashSet<Stream>,
}

impl Slice {
    /// Whether the stream of an event is parked.
    pub(super) fn holds_back(&self, event: &Recorded) -> bool {
        !self.parked.is_empty() && self.parked.contains(&Stream::of(event))
    }
}

/// Where slices stand of which the leases were just taken, under these fences.
pub(super) async fn begin(
    pool: &PgPool,
    name: &str,
    owned: &[(i16, i64)],
) -> sqlx::Result<Vec<(i16, Slice)>> {
    let numbers: Vec<i16> = owned.iter().map(|(number, _)| *number).collect();
    // Positions first: nobody else writes them any more, whatever comes after.
    let positions: Vec<(i16, Position)> = sqlx::query_as(
        "SELECT slice, position FROM ops.slice WHERE name = $1 AND slice = ANY ($2)",
    )
    .bind(name)
    .bind(&numbers)
    .fetch_all(pool)
    .await?;
    let mut slices = vec![];
    for (number, position) in positions {
        let fence = owned.iter().find(|(owned, _)| *owned == number);
        let Some((_, fence)) = fence.copied() else { continue };
        let parked = parked::of_slice(pool, name, number).await?;
        slices.push((number, Slice { number, fence, position, parked }));
    }
    Ok(slices)
}

/// Moves a checkpoint; whether the fence is still the slice's. The row stays locked until the
/// transaction ends, so no lease changes hands between the judgement and the commit.
pub(super) async fn advance(
    db: &mut PgConnection,
    name: &str,
    slice: &Slice,
    to: Position,
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE ops.slice SET position = $4, error = NULL
         WHERE name = $1 AND slice = $2 AND fence = $3",
    )
    .bind(name)
    .bind(slice.number)
    .bind(slice.fence)
    .bind(to)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes how far slices have come, and why they stand still, if they do; but for those that
/// belong to somebody else, or that somebody is just taking.
pub(super) async fn pass(
    pool: &PgPool,
    name: &str,
    slices: impl Iterator<Item = &Slice> + Send,
    error: Option<&str>,
) -> sqlx::Result<()> {
    let (mut numbers, mut fences, mut positions) = (vec![], vec![], vec![]);
    for slice in slices {
        numbers.push(slice.number);
        fences.push(slice.fence);
        positions.push(slice.position);
    }
    sqlx::query(
        "
        WITH mine AS (
            SELECT slice.slice, passed.position
            FROM ops.slice AS slice
            JOIN unnest($2::smallint[], $3::bigint[], $4::bigint[])
                AS passed (slice, fence, position)
                ON passed.slice = slice.slice AND passed.fence = slice.fence
            WHERE slice.name = $1
                AND (passed.position, $5::text) IS DISTINCT FROM (slice.position, slice.error)
            FOR UPDATE OF slice SKIP LOCKED
        )
        UPDATE ops.slice AS slice SET position = mine.position, error = $5
        FROM mine WHERE slice.name = $1 AND slice.slice = mine.slice
        ",
    )
    .bind(name)
    .bind(numbers)
    .bind(fences)
    .bind(positions)
    .bind(error)
    .execute(pool)
    .await
    .map(drop)
}
