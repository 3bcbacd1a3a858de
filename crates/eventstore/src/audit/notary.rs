//! Seals the log: grows the trees and signs checkpoints of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use domain::Timestamp;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::find::mark;
use super::line::leaf_hash;
use super::trees::{Leaves, Marks, NOTHING, Sealed, Stored, columns, edge, latest, tiles};
use crate::tlog::{self, Checkpoint, Note, Signer, TILE_WIDTH, Tile, edge_tiles, grow};
use crate::{Error, EventStore, Position};

/// The most events between two checkpoints of a tree.
pub const SEALED_AT_ONCE: usize = 1_000;

/// The secret half of an Ed25519 key (RFC 8032).
pub type Seed = Zeroizing<[u8; 32]>;

/// The name of a tree, which no other has: of a tenant's, or of the installation's own.
#[must_use]
pub fn origin(deployment: &str, tree: Uuid) -> String {
    format!("{deployment}/{tree}")
}

/// The tree of this name, if the installation may have it.
pub(super) fn tree_of(deployment: &str, origin: &str) -> Option<Uuid> {
    origin.strip_prefix(deployment)?.strip_prefix('/')?.parse().ok()
}

/// Seals the log. Any number of them may run, in any number of processes: whoever locks the
/// notary's row does the work.
pub struct Notary {
    pool: PgPool,
    log: Arc<dyn EventStore>,
    number: i16,
    newest: Seed,
    former: Vec<Seed>,
}

/// Why nothing is sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The notary's key was replaced: one that has the new key has to go on.
    #[error("the signing key was replaced")]
    Replaced,
    /// The log or its trees cannot be read or written.
    #[error(transparent)]
    Log(#[from] Error),
}

impl From<sqlx::Error> for SealError {
    fn from(error: sqlx::Error) -> Self {
        Self::Log(error.into())
    }
}

impl fmt::Debug for Notary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notary").field("number", &self.number).finish_non_exhaustive()
    }
}

/// What all checkpoints of one go have in common.
struct Round {
    deployment: String,
    /// Up to where the log is sealed.
    position: Position,
    at: Timestamp,
}

impl Notary {
    /// A notary that signs with the Ed25519 key of this seed, on a pool of
    /// [`crate::Role::Worker`].
    #[must_use]
    pub fn new(pool: PgPool, log: Arc<dyn EventStore>, seed: Seed) -> Self {
        Self { pool, log, number: crate::postgres::LOG, newest: seed, former: vec![] }
    }

    /// The same, with the seeds of the keys that were replaced. Where one of them signed last, it
    /// signs together with the new one once more.
    #[must_use]
    pub fn after(self, former: Vec<Seed>) -> Self {
        Self { former, ..self }
    }

    /// Seals the next events, at most [`SEALED_AT_ONCE`]; tells how many that were.
    ///
    /// Tiles, checkpoints and how far the log is sealed are committed together, and a checkpoint
    /// is only signed for tiles that continue those of the one before it.
    pub async fn seal(&self, at: Timestamp) -> Result<usize, SealError> {
        let mut tx = self.pool.begin().await?;
        let found: Option<(Position, Uuid, String)> = sqlx::query_as(
            "SELECT position, installation, deployment FROM es.notary WHERE log_id = $1
             FOR UPDATE SKIP LOCKED",
        )
        .bind(self.number)
        .fetch_optional(&mut *tx)
        .await?;
        let Some((after, installation, deployment)) = found else { return Ok(0) };
        if self.is_replaced(&mut tx).await? {
            tx.rollback().await?;
            return Err(SealError::Replaced);
        }
        let events = self.log.read(after, SEALED_AT_ONCE).await?;
        let Some(position) = events.last().map(|event| event.position) else { return Ok(0) };
        let round = Round { deployment, position, at };
        let mut trees = BTreeMap::<Uuid, Leaves>::new();
        for event in &events {
            let leaves = trees.entry(event.meta.tenant.as_uuid()).or_default();
            leaves.hashes.push(leaf_hash(event));
            leaves.marks.push((event.position, mark(event.id)));
        }
        let mut own = Leaves::default();
        for (tree, leaves) in &trees {
            let note = self.grow(&mut tx, *tree, leaves, &round).await?;
            own.hashes.push(tlog::leaf(note.as_bytes()));
        }
        self.grow(&mut tx, installation, &own, &round).await?;
        sqlx::query("UPDATE es.notary SET position = $2 WHERE log_id = $1")
            .bind(self.number)
            .bind(position)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(events.len())
    }

    /// Whether another key is the newest. Who replaces one holds the lock that is held here.
    async fn is_replaced(&self, db: &mut PgConnection) -> Result<bool, Error> {
        let newest: Option<Vec<u8>> = sqlx::query_scalar(
            "SELECT public FROM es.signing_key WHERE purpose = 'log' AND retired_at IS NULL
             ORDER BY created_at DESC, secret DESC LIMIT 1",
        )
        .fetch_optional(db)
        .await?;
        let own = Signer::new("own", &self.newest).map_err(|error| unsigned(&error))?;
        Ok(newest.is_some_and(|newest| newest != own.verifier().public()))
    }

    /// Adds leaves to a tree and signs a checkpoint of it.
    async fn grow(
        &self,
        db: &mut PgConnection,
        tree: Uuid,
        leaves: &Leaves,
        round: &Round,
    ) -> Result<String, Error> {
        let last = latest(db, self.number, tree).await?;
        let head = last.as_ref().map_or(NOTHING, |sealed| sealed.head);
        let stored = tiles(db, self.number, tree, &edge_tiles(head.size)).await?;
        let marks = by_tile(&stored, head.size, &leaves.marks);
        let set = stored.into_set();
        let mut frontier = edge(tree, head, &set)?;
        let grown = grow(head.size, &leaves.hashes, &set)
            .map_err(|missing| Error::Damaged(format!("{missing} of tree {tree}")))?;
        frontier.extend(leaves.hashes.iter().copied());
        self.put(db, tree, &grown, &marks).await?;

        let name = origin(&round.deployment, tree);
        let checkpoint =
            Checkpoint::new(&name, frontier.head()).map_err(|error| unsigned(&error))?;
        let note = self.sign(&checkpoint, last.as_ref())?.to_string();
        sqlx::query(
            "INSERT INTO es.checkpoint (log_id, tree, size, position, at, note)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(self.number)
        .bind(tree)
        .bind(frontier.size().cast_signed())
        .bind(round.position)
        .bind(round.at)
        .bind(&note)
        .execute(db)
        .await?;
        Ok(note)
    }

    /// Signs with the newest key, and with the one that signed last if that is another.
    fn sign(&self, checkpoint: &Checkpoint, last: Option<&Sealed>) -> Result<Note, Error> {
        let origin = checkpoint.origin();
        let signer = Signer::new(origin, &self.newest).map_err(|error| unsigned(&error))?;
        let mut note = checkpoint.sign(&signer).map_err(|error| unsigned(&error))?;
        let Some(last) = last else { return Ok(note) };
        let last = Note::parse(last.note.as_bytes()).map_err(|error| unsigned(&error))?;
        let has_signed = |key: &Signer| last.is_signed_by(key.verifier());
        if !has_signed(&signer) {
            let mut former = self.former.iter().filter_map(|seed| Signer::new(origin, seed).ok());
            let former = former.find(has_signed);
            note.sign(&former.ok_or_else(|| {
                unsigned(&format!("the key of the last checkpoint of {origin} is not at hand"))
            })?);
        }
        Ok(note)
    }

    /// Stores tiles, all with one statement.
    async fn put(
        &self,
        db: &mut PgConnection,
        tree: Uuid,
        grown: &[Tile],
        marks: &BTreeMap<u64, Marks>,
    ) -> Result<(), Error> {
        let tiles = TileColumns::of(grown, marks);
        sqlx::query(
            "INSERT INTO es.tile
                 (log_id, tree, level, nth, hashes, ids, first_position, positions)
             SELECT $1, $2, t.level, t.nth, t.hashes, t.ids, ($7::bigint[])[t.first],
                 CASE WHEN t.first IS NOT NULL THEN ($7::bigint[])[t.first:t.last] END
             FROM unnest($3::smallint[], $4::bigint[], $5::bytea[], $6::bytea[], $8::int[],
                 $9::int[]) t (level, nth, hashes, ids, first, last)
             ON CONFLICT (log_id, tree, level, nth) DO UPDATE
                 SET hashes = EXCLUDED.hashes, positions = EXCLUDED.positions,
                     ids = EXCLUDED.ids",
        )
        .bind(self.number)
        .bind(tree)
        .bind(tiles.levels)
        .bind(tiles.places)
        .bind(tiles.hashes)
        .bind(tiles.ids)
        .bind(tiles.positions)
        .bind(tiles.firsts)
        .bind(tiles.lasts)
        .execute(db)
        .await?;
        Ok(())
    }
}

/// Tiles as columns. Positions of all are one column, of which each has those from its first to its
/// last, counted from 1.
#[derive(Default)]
struct TileColumns<'a> {
    levels: Vec<i16>,
    places: Vec<i64>,
    hashes: Vec<Vec<u8>>,
    ids: Vec<Option<&'a [u8]>>,
    positions: Vec<Position>,
    firsts: Vec<Option<i32>>,
    lasts: Vec<Option<i32>>,
}

impl<'a> TileColumns<'a> {
    fn of(tiles: &[Tile], marks: &'a BTreeMap<u64, Marks>) -> Self {
        let mut all = Self::default();
        let count = |positions: &[Position]| i32::try_from(positions.len()).ok();
        for tile in tiles {
            let (level, nth, hashes) = columns(tile);
            let own = marks.get(&tile.id().index).filter(|_| level == 0);
            let before = count(&all.positions);
            all.positions.extend(own.iter().flat_map(|own| &own.positions));
            all.firsts.push(own.and(before).map(|before| before + 1));
            all.lasts.push(own.and_then(|_| count(&all.positions)));
            all.ids.push(own.and_then(|own| own.ids.as_deref()));
            all.levels.push(level);
            all.places.push(nth);
            all.hashes.push(hashes);
        }
        all
    }
}

fn unsigned(error: &dyn fmt::Display) -> Error {
    Error::Damaged(format!("cannot sign: {error}"))
}

/// What is noted of the leaves of each tile of level 0 that new ones are added to.
fn by_tile(stored: &Stored, size: u64, added: &[(Position, [u8; 4])]) -> BTreeMap<u64, Marks> {
    let width = u64::from(TILE_WIDTH);
    let mut tiles = BTreeMap::<u64, Marks>::new();
    for (index, (position, id)) in (size..).zip(added) {
        let tile = index / width;
        let marks = tiles.entry(tile).or_insert_with(|| stored.marks(tile));
        marks.positions.push(*position);
        if let Some(ids) = &mut marks.ids {
            ids.extend(id);
        }
    }
    tiles
}
