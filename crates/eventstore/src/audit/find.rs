//! Finding an event by its id, without an index that every append would have to keep.

use uuid::Uuid;

use super::trees::Trees;
use crate::tlog::TILE_WIDTH;
use crate::{Error, Position};

/// How many tiles are searched at once.
const TILES: i64 = 4_096;
/// How many bytes of an id are noted.
const MARK: usize = 4;

/// What is noted of an event's id beside its leaf: its last bytes, which are random or of a hash,
/// and so tell it from nearly all others.
pub(super) fn mark(id: Uuid) -> [u8; MARK] {
    let [.., a, b, c, d] = *id.as_bytes();
    [a, b, c, d]
}

#[derive(sqlx::FromRow)]
struct Row {
    positions: Vec<Position>,
    ids: Option<Vec<u8>>,
}

impl Trees {
    /// Where a sealed event of a tenant is, by its id.
    pub async fn position_of(&self, tenant: Uuid, event: Uuid) -> Result<Option<Position>, Error> {
        let mut begin = 0;
        loop {
            let (candidates, more) = self.candidates(tenant, event, begin).await?;
            let found = sqlx::query_scalar(
                "SELECT position FROM es.event
                 WHERE log_id = $1 AND position = ANY ($2) AND tenant = $3 AND id = $4",
            )
            .bind(self.log)
            .bind(&candidates)
            .bind(tenant)
            .bind(event)
            .fetch_optional(&self.pool)
            .await?;
            let found = match found {
                None => self.files.find((&self.pool, self.log), &candidates, tenant, event).await?,
                found => found,
            };
            if found.is_some() || !more {
                return Ok(found);
            }
            begin += TILES;
        }
    }

    /// Where the event may be, among the leaves of the tiles from one on; whether there are more.
    async fn candidates(
        &self,
        tenant: Uuid,
        event: Uuid,
        begin: i64,
    ) -> Result<(Vec<Position>, bool), Error> {
        let wanted = mark(event);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT positions, ids FROM es.tile
             WHERE log_id = $1 AND tree = $2 AND level = 0 AND nth >= $3 AND nth < $4
                 AND (position($5 IN ids) > 0 OR ids IS NULL
                     OR octet_length(ids) <> 4 * cardinality(positions))
                 AND positions IS NOT NULL",
        )
        .bind(self.log)
        .bind(tenant)
        .bind(begin)
        .bind(begin + TILES)
        .bind(wanted.as_slice())
        .fetch_all(&self.pool)
        .await?;
        let mut found = vec![];
        for Row { positions, ids } in rows {
            let Some(ids) = ids.filter(|ids| ids.len() == MARK * positions.len()) else {
                found.extend(positions);
                continue;
            };
            let same = ids.chunks(MARK).zip(positions).filter(|(id, _)| *id == wanted);
            found.extend(same.map(|(_, position)| position));
        }
        let size = self.latest(tenant).await?.map_or(0, |sealed| sealed.head.size);
        let tiles = size.div_ceil(u64::from(TILE_WIDTH)).cast_signed();
        Ok((found, begin + TILES < tiles))
    }
}
