//! The stored trees: their tiles and checkpoints.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::keys::{self, Keys};
use crate::deployment::deployment;
use crate::postgres::{Files, LOG};
use crate::tlog::{
    self, Checkpoint, EMPTY, Frontier, Hash, Note, ProofFile, Tile, TileId, TileSet, TreeHead,
    inclusion_tiles, prove_inclusion,
};
use crate::{Error, Position};

/// The trees of a log, for whoever reads them.
#[derive(Debug, Clone)]
pub struct Trees {
    pub(super) pool: PgPool,
    pub(super) log: i16,
    pub(super) files: Files,
}

/// A checkpoint as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Size and root of the tree.
    pub head: TreeHead,
    /// Position of the last event in it.
    pub position: Position,
    /// The signed note, and the cosignatures of witnesses.
    pub note: String,
    /// Of a tenant's: the leaf that it is in the installation's own tree.
    pub leaf: Hash,
}

/// How far everything is sealed. Trees only grow, so whatever is read later has this in it.
#[derive(Debug)]
pub(super) struct View {
    /// Every event up to here is in a tree.
    pub(super) position: Position,
    /// The installation's own tree.
    pub(super) installation: Uuid,
    /// The name of the installation.
    pub(super) deployment: String,
    /// Of each tree, the size of its newest checkpoint.
    pub(super) sizes: BTreeMap<Uuid, u64>,
}

#[derive(sqlx::FromRow)]
pub(super) struct CheckpointRow {
    pub(super) tree: Uuid,
    pub(super) size: i64,
    pub(super) position: Position,
    /// As it was signed.
    pub(super) note: String,
    /// The lines that witnesses have added.
    pub(super) cosigned: String,
}

impl TryFrom<CheckpointRow> for Sealed {
    type Error = Error;

    fn try_from(row: CheckpointRow) -> Result<Self, Error> {
        let CheckpointRow { tree, size, position, note, cosigned } = row;
        let damaged =
            || Error::Damaged(format!("the checkpoint of tree {tree} at size {size} is garbled"));
        let (leaf, text) = (tlog::leaf(note.as_bytes()), note + &cosigned);
        let note = Note::parse(text.as_bytes()).map_err(|_| damaged())?;
        let checkpoint: Checkpoint = note.text().parse().map_err(|_| damaged())?;
        let head = checkpoint.head();
        // Checkpoints are looked for by this size, so another one would hide it.
        if head.size != size.cast_unsigned() {
            return Err(damaged());
        }
        Ok(Self { head, position, note: text, leaf })
    }
}

impl Trees {
    /// The trees of the log that every tenant is in.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool, log: LOG, files: Files::default() }
    }

    /// Everybody who has a tree; the installation's own is not among them.
    pub async fn tenants(&self) -> Result<Vec<Uuid>, Error> {
        Ok(sqlx::query_scalar(
            "SELECT DISTINCT c.tree FROM es.checkpoint c
             WHERE c.log_id = $1
                 AND c.tree NOT IN (SELECT installation FROM es.notary WHERE log_id = $1)
             ORDER BY c.tree",
        )
        .bind(self.log)
        .fetch_all(&self.pool)
        .await?)
    }

    /// The newest checkpoint of a tree.
    pub async fn latest(&self, tree: Uuid) -> Result<Option<Sealed>, Error> {
        let mut db = self.pool.acquire().await?;
        latest(&mut db, self.log, tree).await
    }

    /// How far everything is sealed, as of one moment.
    pub(super) async fn view(&self) -> Result<View, Error> {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let mut tx = self.pool.begin_with(begin).await?;
        let found = sqlx::query_as(
            "SELECT position, installation, deployment FROM es.notary WHERE log_id = $1",
        )
        .bind(self.log)
        .fetch_optional(&mut *tx)
        .await?;
        let gone = || Error::Damaged("the log does not say how far it is sealed".to_owned());
        let (position, installation, deployment): (_, _, String) = found.ok_or_else(gone)?;
        let sizes: Vec<(Uuid, i64)> = sqlx::query_as(
            "SELECT tree, max(size) FROM es.checkpoint WHERE log_id = $1 GROUP BY tree",
        )
        .bind(self.log)
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        let sizes = sizes.into_iter().map(|(tree, size)| (tree, size.cast_unsigned()));
        Ok(View { position, installation, deployment, sizes: sizes.collect() })
    }

    /// Checkpoints of a tree that are larger than `size`, the smallest first.
    pub async fn checkpoints(
        &self,
        tree: Uuid,
        size: u64,
        limit: i64,
    ) -> Result<Vec<Sealed>, Error> {
        let rows: Vec<CheckpointRow> = sqlx::query_as(
            "SELECT c.tree, c.size, c.position, c.note,
                 coalesce(string_agg(s.line, '' ORDER BY s.witness), '') AS cosigned
             FROM (SELECT tree, size, position, note FROM es.checkpoint
                   WHERE log_id = $1 AND tree = $2 AND size > $3 ORDER BY size LIMIT $4) c
             LEFT JOIN es.cosignature s ON s.log_id = $1 AND s.tree = $2 AND s.size = c.size
             GROUP BY c.tree, c.size, c.position, c.note ORDER BY c.size",
        )
        .bind(self.log)
        .bind(tree)
        .bind(size.cast_signed())
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Sealed::try_from).collect()
    }

    /// The name of the installation that the trees are of.
    pub async fn deployment(&self) -> Result<Arc<str>, Error> {
        Ok(deployment(&self.pool, self.log).await?)
    }

    /// The keys that sign checkpoints, and those that did.
    pub async fn keys(&self) -> Result<Keys, Error> {
        keys::load(&self.pool).await
    }

    /// The hashes of some tiles.
    pub async fn tiles(&self, tree: Uuid, ids: &[TileId]) -> Result<TileSet, Error> {
        let mut db = self.pool.acquire().await?;
        Ok(tiles(&mut db, self.log, tree, ids).await?.into_set())
    }

    /// How many leaves of a tree are of events up to a position.
    pub async fn leaves_upto(&self, tree: Uuid, position: Position) -> Result<u64, Error> {
        let count: Option<i64> = sqlx::query_scalar(
            "SELECT nth * 256 + (SELECT count(*) FROM unnest(positions) p WHERE p <= $3)
             FROM es.tile
             WHERE log_id = $1 AND tree = $2 AND level = 0 AND first_position <= $3
             ORDER BY first_position DESC LIMIT 1",
        )
        .bind(self.log)
        .bind(tree)
        .bind(position)
        .fetch_optional(&self.pool)
        .await?;
        Ok(count.unwrap_or(0).cast_unsigned())
    }

    /// Everything that proves the event of a tenant at a position: where it is in the newest
    /// checkpoint; none if it is not sealed yet.
    pub async fn prove(&self, tree: Uuid, position: Position) -> Result<Option<ProofFile>, Error> {
        let sealed = self.latest(tree).await?.filter(|sealed| sealed.position >= position);
        let Some(sealed) = sealed else { return Ok(None) };
        let size = sealed.head.size;
        // Its own leaf is the last of those.
        let index = self.leaves_upto(tree, position).await?.saturating_sub(1);
        let damaged = |error: &dyn std::fmt::Display| Error::Damaged(error.to_string());
        let ids = inclusion_tiles(index, size).map_err(|error| damaged(&error))?;
        let tiles = self.tiles(tree, &ids).await?;
        let proof = prove_inclusion(index, size, &tiles).map_err(|error| damaged(&error))?;
        let checkpoint = Note::parse(sealed.note.as_bytes()).map_err(|error| damaged(&error))?;
        Ok(Some(ProofFile { extra: None, index, proof, checkpoint }))
    }
}

/// What is noted of the events whose leaves a tile has.
#[derive(Debug, Clone)]
pub(super) struct Marks {
    /// Where they are in the log.
    pub(super) positions: Vec<Position>,
    /// [`mark`](super::find::mark)s of their ids; none in tiles of a release that noted none.
    pub(super) ids: Option<Vec<u8>>,
}

/// Tiles with what is noted of their leaves, as they are stored.
#[derive(Default)]
pub(super) struct Stored(Vec<(Tile, Marks)>);

impl Stored {
    pub(super) fn into_set(self) -> TileSet {
        let mut set = TileSet::default();
        self.0.into_iter().for_each(|(tile, _)| set.insert(tile));
        set
    }

    /// What is noted of the leaves of a tile of level 0.
    pub(super) fn marks(&self, index: u64) -> Marks {
        let found =
            self.0.iter().find(|(tile, _)| tile.id().level == 0 && tile.id().index == index);
        let nothing = || Marks { positions: vec![], ids: Some(vec![]) };
        found.map_or_else(nothing, |(_, marks)| marks.clone())
    }
}

#[derive(sqlx::FromRow)]
struct TileRow {
    level: i16,
    nth: i64,
    hashes: Vec<u8>,
    positions: Option<Vec<Position>>,
    ids: Option<Vec<u8>>,
}

/// Reads tiles, as wide as they are.
pub(super) async fn tiles(
    db: &mut PgConnection,
    log: i16,
    tree: Uuid,
    ids: &[TileId],
) -> Result<Stored, Error> {
    let levels: Vec<i16> = ids.iter().map(|id| id.level.into()).collect();
    let places: Vec<i64> = ids.iter().map(|id| id.index.cast_signed()).collect();
    let rows: Vec<TileRow> = sqlx::query_as(
        "SELECT t.level, t.nth, t.hashes, t.positions, t.ids
         FROM unnest($3::smallint[], $4::bigint[]) w (level, nth)
         JOIN es.tile t ON t.log_id = $1 AND t.tree = $2 AND t.level = w.level AND t.nth = w.nth",
    )
    .bind(log)
    .bind(tree)
    .bind(levels)
    .bind(places)
    .fetch_all(db)
    .await?;
    let mut stored = Stored::default();
    for TileRow { level, nth, hashes, positions, ids } in rows {
        let garbled = || Error::Damaged(format!("tile {level}/{nth} of {tree} is garbled"));
        let level = u8::try_from(level).map_err(|_| garbled())?;
        let tile = Tile::from_bytes(level, nth.cast_unsigned(), &hashes).map_err(|_| garbled())?;
        let positions = positions.unwrap_or_default();
        // An earlier release, beside this one, adds leaves and no ids.
        let ids = ids.filter(|ids| ids.len() == 4 * positions.len());
        let marks = Marks { positions, ids };
        stored.0.push((tile, marks));
    }
    Ok(stored)
}

pub(super) async fn latest(
    db: &mut PgConnection,
    log: i16,
    tree: Uuid,
) -> Result<Option<Sealed>, Error> {
    let row: Option<CheckpointRow> = sqlx::query_as(
        "SELECT c.tree, c.size, c.position, c.note,
             coalesce(string_agg(s.line, '' ORDER BY s.witness), '') AS cosigned
         FROM (SELECT tree, size, position, note FROM es.checkpoint
               WHERE log_id = $1 AND tree = $2 ORDER BY size DESC LIMIT 1) c
         LEFT JOIN es.cosignature s ON s.log_id = $1 AND s.tree = $2 AND s.size = c.size
         GROUP BY c.tree, c.size, c.position, c.note",
    )
    .bind(log)
    .bind(tree)
    .fetch_optional(db)
    .await?;
    row.map(Sealed::try_from).transpose()
}

/// The head of a tree without a checkpoint.
pub(super) const NOTHING: TreeHead = TreeHead { size: 0, root: EMPTY };

/// The right edge of a tree, which must be the one that its checkpoint was signed for.
pub(super) fn edge(tree: Uuid, head: TreeHead, tiles: &TileSet) -> Result<Frontier, Error> {
    let frontier = Frontier::load(head.size, tiles)
        .map_err(|missing| Error::Damaged(format!("{missing} of tree {tree}")))?;
    if frontier.root() == head.root {
        return Ok(frontier);
    }
    Err(Error::Damaged(format!("the tiles of tree {tree} are not those of its checkpoint")))
}

/// The hashes of a tile as bytes and its place, as columns.
pub(super) fn columns(tile: &Tile) -> (i16, i64, Vec<u8>) {
    (tile.id().level.into(), tile.id().index.cast_signed(), tile.to_bytes())
}

/// Leaves that a tree gets, in order.
#[derive(Debug, Default)]
pub(super) struct Leaves {
    pub(super) hashes: Vec<Hash>,
    /// Of each event its position and the [`mark`](super::find::mark) of its id.
    pub(super) marks: Vec<(Position, [u8; 4])>,
}
