//! Seals the log: grows the trees and signs checkpoints of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use domain::Timestamp;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::line::leaf_hash;
use super::trees::{Leaves, NOTHING, Stored, columns, edge, latest, tiles};
use crate::tlog::{self, Checkpoint, Signer, TILE_WIDTH, Tile, edge_tiles, grow};
use crate::{Error, EventStore, Position};

/// The most events between two checkpoints of a tree.
pub const SEALED_AT_ONCE: usize = 1_000;

/// The name of a tree, which no other has: of a tenant's, or of the installation's own.
#[must_use]
pub fn origin(tree: Uuid) -> String {
    format!("everstep/{tree}")
}

/// Seals the log. Any number of them may run, in any number of processes: whoever locks the
/// notary's row does the work.
pub struct Notary {
    pool: PgPool,
    log: Arc<dyn EventStore>,
    number: i16,
    seed: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for Notary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notary").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Notary {
    /// A notary that signs with the Ed25519 key of this seed, on a pool of
    /// [`crate::Role::Worker`].
    #[must_use]
    pub fn new(pool: PgPool, log: Arc<dyn EventStore>, seed: Zeroizing<[u8; 32]>) -> Self {
        Self { pool, log, number: crate::postgres::LOG, seed }
    }

    /// Seals the next events, at most [`SEALED_AT_ONCE`]; tells how many that were.
    ///
    /// Tiles, checkpoints and how far the log is sealed are committed together, and a checkpoint
    /// is only signed for tiles that continue those of the one before it.
    pub async fn seal(&self, at: Timestamp) -> Result<usize, Error> {
        let mut tx = self.pool.begin().await?;
        let found: Option<(Position, Uuid)> = sqlx::query_as(
            "SELECT position, installation FROM es.notary WHERE log_id = $1
             FOR UPDATE SKIP LOCKED",
        )
        .bind(self.number)
        .fetch_optional(&mut *tx)
        .await?;
        let Some((after, installation)) = found else { return Ok(0) };
        let events = self.log.read(after, SEALED_AT_ONCE).await?;
        let Some(last) = events.last().map(|event| event.position) else { return Ok(0) };
        let mut trees = BTreeMap::<Uuid, Leaves>::new();
        for event in &events {
            let leaves = trees.entry(event.meta.tenant.as_uuid()).or_default();
            leaves.hashes.push(leaf_hash(event));
            leaves.positions.push(event.position);
        }
        let mut own = Leaves::default();
        for (tree, leaves) in &trees {
            let note = self.grow(&mut tx, *tree, leaves, (last, at)).await?;
            own.hashes.push(tlog::leaf(note.as_bytes()));
        }
        self.grow(&mut tx, installation, &own, (last, at)).await?;
        sqlx::query("UPDATE es.notary SET position = $2 WHERE log_id = $1")
            .bind(self.number)
            .bind(last)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(events.len())
    }

    /// Adds leaves to a tree and signs a checkpoint of it, for the log up to a position and at a
    /// time.
    async fn grow(
        &self,
        db: &mut PgConnection,
        tree: Uuid,
        leaves: &Leaves,
        (position, at): (Position, Timestamp),
    ) -> Result<String, Error> {
        let head = latest(db, self.number, tree).await?.map_or(NOTHING, |sealed| sealed.head);
        let stored = tiles(db, self.number, tree, &edge_tiles(head.size)).await?;
        let positions = by_tile(&stored, head.size, &leaves.positions);
        let set = stored.into_set();
        let mut frontier = edge(tree, head, &set)?;
        let grown = grow(head.size, &leaves.hashes, &set)
            .map_err(|missing| Error::Damaged(format!("{missing} of tree {tree}")))?;
        frontier.extend(leaves.hashes.iter().copied());
        self.put(db, tree, &grown, &positions).await?;

        let unsigned = |error: &dyn fmt::Display| Error::Damaged(format!("cannot sign: {error}"));
        let name = origin(tree);
        let signer = Signer::new(&name, &self.seed).map_err(|error| unsigned(&error))?;
        let checkpoint =
            Checkpoint::new(&name, frontier.head()).map_err(|error| unsigned(&error))?;
        let note = checkpoint.sign(&signer).map_err(|error| unsigned(&error))?.to_string();
        sqlx::query(
            "INSERT INTO es.checkpoint (log_id, tree, size, position, at, note)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(self.number)
        .bind(tree)
        .bind(frontier.size().cast_signed())
        .bind(position)
        .bind(at)
        .bind(&note)
        .execute(db)
        .await?;
        Ok(note)
    }

    async fn put(
        &self,
        db: &mut PgConnection,
        tree: Uuid,
        grown: &[Tile],
        positions: &BTreeMap<u64, Vec<Position>>,
    ) -> Result<(), Error> {
        for tile in grown {
            let (level, nth, hashes) = columns(tile);
            let own = positions.get(&tile.id().index).filter(|_| level == 0);
            sqlx::query(
                "INSERT INTO es.tile (log_id, tree, level, nth, hashes, first_position, positions)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)
                 ON CONFLICT (log_id, tree, level, nth) DO UPDATE
                     SET hashes = EXCLUDED.hashes, positions = EXCLUDED.positions",
            )
            .bind(self.number)
            .bind(tree)
            .bind(level)
            .bind(nth)
            .bind(hashes)
            .bind(own.and_then(|own| own.first()))
            .bind(own)
            .execute(&mut *db)
            .await?;
        }
        Ok(())
    }
}

/// The positions of the leaves of each tile of level 0 that new ones are added to.
fn by_tile(stored: &Stored, size: u64, added: &[Position]) -> BTreeMap<u64, Vec<Position>> {
    let width = u64::from(TILE_WIDTH);
    let mut tiles = BTreeMap::<u64, Vec<Position>>::new();
    for (index, position) in (size..).zip(added) {
        let tile = index / width;
        tiles.entry(tile).or_insert_with(|| stored.positions(tile)).push(*position);
    }
    tiles
}
