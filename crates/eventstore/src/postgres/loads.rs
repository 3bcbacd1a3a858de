//! Short pieces of streams, loaded for many at once.

use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Row as _};

use super::row::Row;
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

/// Whole rows, in the order of [`Row`].
const LOAD: &str = "SELECT * FROM es.pieces($1, $2, $3, $4, $5, $6)";

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

/// The rows of one piece, however long it is.
pub(super) async fn load(pool: &PgPool, log: i16, piece: Piece) -> sqlx::Result<Vec<Row>> {
    Ok(find(pool, log, &[piece], LOAD).await?.pop().unwrap_or_default())
}

/// What a statement on `es.pieces` finds of each piece. Its parameters are the log and the columns of
/// pieces; its rows have the number of their piece as `nth`, and those of one piece are in order.
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
