//! Where the events of streams stand, looked up for many at once: whoever is told of a conflict wants to
//! know whether what stands there is the same append.

use sqlx::PgPool;

use super::loads::{Piece, find};
use super::together::Together;
use crate::judge::Found;

/// How many pieces are looked up at once.
const AT_ONCE: usize = 100;

/// Answers which events stand in a piece of a stream.
pub(super) type Places = Together<Piece, Vec<Found>>;

/// Of the streams of a log.
pub(super) fn places(pool: PgPool, log: i16) -> Places {
    Together::new(AT_ONCE, move |pieces| {
        let pool = pool.clone();
        async move { find(&pool, log, &pieces, PLACES).await }
    })
}

const PLACES: &str = "SELECT id, version, position, nth FROM es.pieces($1, $2, $3, $4, $5, $6)";
