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

const PLACES: &str = "
    SELECT e.id, e.version, e.position, u.nth
    FROM unnest($2::uuid[], $3::text[], $4::uuid[], $5::bigint[], $6::bigint[])
        WITH ORDINALITY AS u (stream, category, tenant, after, upto, nth)
    CROSS JOIN LATERAL (
        SELECT id, version, position FROM es.event
        WHERE log_id = $1 AND stream = u.stream AND category = u.category
            AND tenant = u.tenant AND version > u.after AND version <= u.upto
    ) e ORDER BY u.nth, e.version";
