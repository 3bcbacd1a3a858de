//! Short pieces of streams, loaded for many at once.

use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Row as _};
use uuid::Uuid;

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
        async move { find(&pool, log, &pieces).await }
    })
}

/// A row of a piece.
struct Found {
    row: Row,
    nth: i64,
}

impl FromRow<'_, PgRow> for Found {
    fn from_row(found: &PgRow) -> sqlx::Result<Self> {
        Ok(Self { row: Row::from_row(found)?, nth: found.try_get("nth")? })
    }
}

async fn find(pool: &PgPool, log: i16, pieces: &[Piece]) -> sqlx::Result<Vec<Vec<Row>>> {
    let columns = Columns::of(pieces);
    let found: Vec<Found> = sqlx::query_as(concat!(
        "SELECT e.*, u.nth
         FROM unnest($2::uuid[], $3::text[], $4::uuid[], $5::bigint[], $6::bigint[])
             WITH ORDINALITY AS u (of_stream, of_category, of_tenant, after, upto, nth)
         CROSS JOIN LATERAL (",
        select_rows!(
            "WHERE log_id = $1 AND stream = u.of_stream AND category = u.of_category
                 AND tenant = u.of_tenant AND version > u.after AND version <= u.upto"
        ),
        ") e ORDER BY u.nth, e.version"
    ))
    .bind(log)
    .bind(columns.ids)
    .bind(columns.categories)
    .bind(columns.tenants)
    .bind(columns.after)
    .bind(columns.upto)
    .fetch_all(pool)
    .await?;
    Ok(by_piece(pieces.len(), found.into_iter().map(|Found { row, nth }| (nth, row))))
}

/// Pieces as columns, to be unnested by a statement.
#[derive(Default)]
pub(super) struct Columns {
    pub(super) ids: Vec<Uuid>,
    pub(super) categories: Vec<&'static str>,
    pub(super) tenants: Vec<Uuid>,
    pub(super) after: Vec<Version>,
    pub(super) upto: Vec<Version>,
}

impl Columns {
    pub(super) fn of(pieces: &[Piece]) -> Self {
        let mut columns = Self::default();
        for (stream, after, upto) in pieces {
            columns.ids.push(stream.id);
            columns.categories.push(stream.category);
            columns.tenants.push(stream.tenant.as_uuid());
            columns.after.push(*after);
            columns.upto.push(*upto);
        }
        columns
    }
}

/// What was found, by the number of its piece from 1.
pub(super) fn by_piece<T>(count: usize, found: impl Iterator<Item = (i64, T)>) -> Vec<Vec<T>> {
    let mut pieces: Vec<Vec<T>> = (0..count).map(|_| vec![]).collect();
    for (nth, one) in found {
        let place = usize::try_from(nth - 1).unwrap_or(usize::MAX);
        if let Some(piece) = pieces.get_mut(place) {
            piece.push(one);
        }
    }
    pieces
}
