//! One tree, built again from its leaves and held against what is stored of it.

use uuid::Uuid;

use super::super::keys::verifiers;
use super::super::notary::origin;
use super::super::trees::{Sealed, Trees, View};
use super::Finding;
use super::kept::discontinued;
use crate::Error;
use crate::tlog::{
    Checkpoint, Frontier, Hash, Note, TILE_WIDTH, TileId, TileSet, Tiles, TreeHead, Verifier,
};

/// How many checkpoints are read at once.
const CHECKPOINTS: i64 = 1_000;

/// What becomes of a leaf.
pub(super) enum Taken {
    /// It is the one that was signed; with the checkpoint whose last leaf it is.
    Signed(Option<Sealed>),
    /// It is not the one that was signed.
    Other,
    /// No checkpoint has it.
    Beyond,
    /// With it, something is found that is stored of the tree.
    Wrong(Finding),
}

/// A tree that is built again from the log, beside the stored one.
pub(super) struct Tree {
    id: Uuid,
    origin: String,
    /// The keys that are believed, the oldest first.
    keys: Vec<Verifier>,
    /// The newest key that has signed the last checkpoint.
    signer: Option<Verifier>,
    /// The witnesses whose word is wanted.
    witnesses: Vec<Verifier>,
    /// Those of them that have cosigned nothing so far.
    silent: Vec<Verifier>,
    /// Heads that it must have had, the largest first.
    kept: Vec<TreeHead>,
    frontier: Frontier,
    /// The stored tile that has the next leaf.
    tiles: TileSet,
    /// The tiles that are being built, one of each level, with their index.
    levels: Vec<(u64, Vec<Hash>)>,
    /// Checkpoints to come, the last first.
    ahead: Vec<Sealed>,
    /// The size of the newest checkpoint.
    sealed: u64,
}

impl Tree {
    pub(super) fn begin(
        view: &View,
        id: Uuid,
        known: &[[u8; 32]],
        witnesses: &[Verifier],
        kept: Vec<TreeHead>,
    ) -> Result<Self, Error> {
        let origin = origin(&view.deployment, id);
        let keys = verifiers(&origin, known);
        let keys = keys.map_err(|error| Error::Damaged(format!("a key of the log: {error}")))?;
        Ok(Self {
            id,
            origin,
            keys,
            signer: None,
            witnesses: witnesses.to_vec(),
            silent: witnesses.to_vec(),
            kept,
            frontier: Frontier::default(),
            tiles: TileSet::default(),
            levels: vec![],
            ahead: vec![],
            sealed: view.sizes.get(&id).copied().unwrap_or_default(),
        })
    }

    /// How many leaves it has taken.
    pub(super) fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The next checkpoint.
    pub(super) async fn next(&mut self, trees: &Trees) -> Result<Option<&Sealed>, Error> {
        let size = self.size();
        if self.ahead.is_empty() && size < self.sealed {
            self.ahead = trees.checkpoints(self.id, size, CHECKPOINTS).await?;
            self.ahead.retain(|sealed| sealed.head.size <= self.sealed);
            self.ahead.reverse();
        }
        Ok(self.ahead.last())
    }

    /// Takes the next leaf.
    pub(super) async fn take(&mut self, trees: &Trees, leaf: Hash) -> Result<Taken, Error> {
        let index = self.size();
        if index >= self.sealed {
            return Ok(Taken::Beyond);
        }
        if index.is_multiple_of(TILE_WIDTH.into()) {
            self.load(trees, index / u64::from(TILE_WIDTH)).await?;
        }
        if self.leaf(index) != Some(leaf) {
            return Ok(Taken::Other);
        }
        self.next(trees).await?;
        self.frontier.push(leaf);
        if let Some(tile) = self.build(trees, leaf).await? {
            return Ok(Taken::Wrong(Finding::Tile { tree: self.id, tile }));
        }
        Ok(self.continues().unwrap_or_else(|| self.check()))
    }

    /// Adds a leaf to the tiles; the first tile that is full now and not the stored one.
    async fn build(&mut self, trees: &Trees, leaf: Hash) -> Result<Option<TileId>, Error> {
        let mut hash = leaf;
        for level in 0_u8.. {
            let place = usize::from(level);
            if self.levels.len() == place {
                self.levels.push((0, vec![]));
            }
            let (index, hashes) = &mut self.levels[place];
            hashes.push(hash);
            if hashes.len() < usize::from(TILE_WIDTH) {
                break;
            }
            let id = TileId { level, index: *index, width: TILE_WIDTH };
            let full = std::mem::take(hashes);
            *index += 1;
            if !self.is_stored(trees, id, &full).await? {
                return Ok(Some(id));
            }
            let mut subtree = Frontier::default();
            subtree.extend(full);
            hash = subtree.root();
        }
        Ok(None)
    }

    async fn is_stored(&self, trees: &Trees, id: TileId, hashes: &[Hash]) -> Result<bool, Error> {
        let stored = trees.tiles(self.id, &[id]).await?.tile(id);
        Ok(stored.is_some_and(|stored| stored.starts_with(hashes)))
    }

    /// Reads the tile of level 0 whose leaves come next.
    async fn load(&mut self, trees: &Trees, nth: u64) -> Result<(), Error> {
        let wanted = TileId::within(0, nth, self.sealed);
        self.tiles = match wanted {
            Some(id) => trees.tiles(self.id, &[id]).await?,
            None => TileSet::default(),
        };
        Ok(())
    }

    fn leaf(&self, index: u64) -> Option<Hash> {
        let width = u64::from(TILE_WIDTH);
        let id = TileId { level: 0, index: index / width, width: TILE_WIDTH };
        let place = usize::try_from(index % width).ok()?;
        self.tiles.tile(id)?.get(place).copied()
    }

    /// That it has, at this size, the head that somebody was shown.
    fn continues(&mut self) -> Option<Taken> {
        let size = self.size();
        while let Some(kept) = self.kept.pop_if(|kept| kept.size == size) {
            if self.frontier.head() != kept {
                let reason = "its root was another then".to_owned();
                return Some(Taken::Wrong(discontinued(&self.origin, kept, reason)));
            }
        }
        None
    }

    /// Checks the checkpoint of the tree as it is now, if there is one.
    fn check(&mut self) -> Taken {
        let (tree, size) = (self.id, self.size());
        let Some(sealed) = self.ahead.pop_if(|sealed| sealed.head.size == size) else {
            return Taken::Signed(None);
        };
        let wrong = |reason: String| Taken::Wrong(Finding::Checkpoint { tree, size, reason });
        match self.opened(&sealed.note) {
            Err(reason) => wrong(reason),
            Ok(checkpoint) if checkpoint.head() != self.frontier.head() => {
                wrong("its root is not that of its leaves".to_owned())
            }
            Ok(_) => Taken::Signed(Some(sealed)),
        }
    }

    /// The checkpoint in a note, if it is signed as it must be: by a key that is believed, and by
    /// the key of the checkpoint before it. When that was replaced, both sign the first checkpoint
    /// of the new key, and so a key that was replaced cannot come back.
    fn opened(&mut self, note: &str) -> Result<Checkpoint, String> {
        let note = Note::parse(note.as_bytes()).map_err(|error| error.to_string())?;
        // A wrong signature of somebody who is known is never let pass, the witnesses' included.
        let known = [self.keys.as_slice(), &self.witnesses].concat();
        let opened = Checkpoint::open(&note, &self.origin, &known);
        let opened = opened.map_err(|error| error.to_string())?;
        if let Some(before) = self.signer.as_ref().filter(|key| !note.is_signed_by(key)) {
            return Err(format!(
                "the key of the checkpoint before it, {before}, has not signed it"
            ));
        }
        self.signer = self.keys.iter().rfind(|key| note.is_signed_by(key)).cloned();
        self.silent.retain(|witness| !note.is_signed_by(witness));
        Ok(opened.checkpoint)
    }

    /// What was sealed and is not in the log any more, or a tile at the right edge that is not the
    /// stored one.
    pub(super) async fn end(&self, trees: &Trees) -> Result<Option<Finding>, Error> {
        let (size, sealed, tree) = (self.size(), self.sealed, self.id);
        if size < sealed {
            let reason = format!("{} of its events are not in the log", sealed - size);
            return Ok(Some(Finding::Checkpoint { tree, size: sealed, reason }));
        }
        if let Some(witness) = self.silent.first() {
            let witness = Box::new(witness.clone());
            return Ok(Some(Finding::Unwitnessed { tenant: tree, witness }));
        }
        for (level, (index, hashes)) in (0..).zip(&self.levels) {
            let Some(tile) = TileId::within(level, *index, size) else { continue };
            if !self.is_stored(trees, tile, hashes).await? {
                return Ok(Some(Finding::Tile { tree, tile }));
            }
        }
        Ok(None)
    }
}
