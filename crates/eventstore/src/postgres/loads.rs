//! Short pieces of streams, loaded for many at once.

use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Row as _};

use super::row::{Row, select_rows};
use super::together::Together;
use crate::{StreamId, Version};

/// How many pieces are loaded at once.
const AT_ONCE: usize = 64;

/// The most events that a piece may have. Nearly all streams are shorter, and of a longer one nobody
/// waits for what others load.
pub(super) const SHORT: Version = 50;

/// A piece of a stream: what comes after a version, up to another.
pub(super) type Piece = (StreamId, Version, Version);

/// Answers what the rows of a piece are.
pub(super) type Loads = Together<Piece, Vec<Row>>;

/// Of the streams of a log.
pub(super) fn loads(pool: PgPool, log: i16) -> Loads {
    Together::new(AT_ONCE, move |pieces| {
        let pool = pool.clone();
        async move { find(&pool, log, &pieces, LOAD).await }
    })
}

const LOAD: &str = concat!(
    "SELECT e.*, u.nth
     FROM unnest($2::uuid[], $3::text[], $4::uuid[], $5::bigint[], $6::bigint[])
         WITH ORDINALITY AS u (of_stream, of_category, of_tenant, after, upto, nth)
     CROSS JOIN LATERAL (",
    select_rows!(
        "WHERE log_id = $1 AND stream = u.of_stream AND category = u.of_category
             AND tenant = u.of_tenant AND version > u.after AND version <= u.upto"
    ),
    ") e ORDER BY u.nth, e.version"
);

/// What was found of a piece, whose number from 1 is `nth`.
struct Found<T> {
    found: T,
    nth: i64,
}

impl<'r, T: FromRow<'r, PgRow>> FromRow<'r, PgRow> for Found<T> {
    fn from_row(row: &'r PgRow) -> sqlx::Result<Self> {
        Ok(Self { found: T::from_row(row)?, nth: row.try_get("nth")? })
    }
}

/// What a statement finds of each piece. Its parameters are the log and the columns of pieces; its rows
/// have the number of their piece as `nth`.
pub(super) async fn find<T>(
    pool: &PgPool,
    log: i16,
    pieces: &[Piece],
    statement: &'static str,
) -> sqlx::Result<Vec<Vec<T>>>
where
    T: for<'r> FromRow<'r, PgRow> + Send + Unpin,
{
    let all: Vec<Found<T>> = sqlx::query_as(statement)
        .bind(log)
        .bind(pieces.iter().map(|(stream, ..)| stream.id).collect::<Vec<_>>())
        .bind(pieces.iter().map(|(stream, ..)| stream.category).collect::<Vec<_>>())
        .bind(pieces.iter().map(|(stream, ..)| stream.tenant.as_uuid()).collect::<Vec<_>>())
        .bind(pieces.iter().map(|(_, after, _)| *after).collect::<Vec<_>>())
        .bind(pieces.iter().map(|(.., upto)| *upto).collect::<Vec<_>>())
        .fetch_all(pool)
        .await?;
    let mut by_piece: Vec<Vec<T>> = pieces.iter().map(|_| vec![]).collect();
    for Found { found, nth } in all {
        let place = usize::try_from(nth - 1).unwrap_or(usize::MAX);
        if let Some(piece) = by_piece.get_mut(place) {
            piece.push(found);
        }
    }
    Ok(by_piece)
}
