//! Checking everything: every event against its leaf, every tile against the leaves, every
//! checkpoint against the tree and the keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::keys::{followed, verifiers};
use super::line::leaf_hash;
use super::notary::origin;
use super::trees::{Sealed, Trees};
use crate::tlog::{
    Checkpoint, Frontier, Hash, Note, TILE_WIDTH, TileId, TileSet, Tiles, TreeHead, Verifier,
};
use crate::{Error, EventStore, Position, ReadAhead, Recorded, Span};

/// How many events are read at once.
const BATCH: usize = 1_000;

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Events whose leaf is in a signed tree.
    pub events: u64,
    /// Checkpoints whose signature and root are right.
    pub checkpoints: u64,
    /// Tenants whose trees were checked.
    pub tenants: usize,
    /// Events at the end that are not sealed yet.
    pub unsealed: u64,
    /// The first thing that is not as it was signed.
    pub finding: Option<Finding>,
}

/// Something that is not as it was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// An event is not the one whose leaf is in the tree.
    #[error("the event at position {position} is not what was sealed")]
    Event {
        /// Where it is.
        position: Position,
    },
    /// An event cannot even be read, or one is missing.
    #[error("the log cannot be read after position {after}: {reason}")]
    Unreadable {
        /// The last position that could be read.
        after: Position,
        /// What is wrong.
        reason: String,
    },
    /// A stored tile is not that of the leaves.
    #[error("{tile} of tenant {tenant} is not what was sealed")]
    Tile {
        /// Whose tree.
        tenant: Uuid,
        /// Which tile.
        tile: TileId,
    },
    /// A witness whose word is wanted has cosigned none of the checkpoints.
    #[error("the witness {witness} has cosigned no checkpoint of tenant {tenant}")]
    Unwitnessed {
        /// Whose tree.
        tenant: Uuid,
        /// The key of the witness.
        witness: Box<Verifier>,
    },
    /// A checkpoint is not signed by a known key, or is not that of the tree.
    #[error("the checkpoint of tenant {tenant} at size {size}: {reason}")]
    Checkpoint {
        /// Whose tree.
        tenant: Uuid,
        /// Its size.
        size: u64,
        /// What is wrong.
        reason: String,
    },
}

/// Whose word an auditor takes, beside the log's own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trust<'a> {
    /// Keys of the log that he has from elsewhere (RFC 8032); without any, those that the
    /// installation names are believed. Keys that follow a believed one by its word are believed as
    /// well.
    pub keys: &'a [[u8; 32]],
    /// Witnesses that each must have cosigned a checkpoint of each tenant.
    pub witnesses: &'a [Verifier],
}

/// A tree that is built again from the log, beside the stored one.
struct Tree<'a> {
    tenant: Uuid,
    origin: String,
    /// The keys that are believed, the oldest first.
    keys: Vec<Verifier>,
    /// The newest key that has signed the last checkpoint.
    signer: Option<Verifier>,
    /// The witnesses whose word is wanted.
    witnesses: &'a [Verifier],
    /// Those of them that have cosigned nothing so far.
    silent: Vec<Verifier>,
    frontier: Frontier,
    /// The stored tile that has the next leaf.
    tiles: TileSet,
    /// The tiles that are being built, one of each level, with their index.
    levels: Vec<(u64, Vec<Hash>)>,
    /// Checkpoints to come.
    ahead: Vec<Sealed>,
    /// The last one there is.
    last: TreeHead,
}

/// Checks the log against its trees.
pub async fn verify(
    log: Arc<dyn EventStore>,
    trees: &Trees,
    trust: Trust<'_>,
) -> Result<Verified, Error> {
    let (deployment, keys) = (trees.deployment().await?, trees.keys().await?);
    let known = match trust.keys {
        [] => keys.publics,
        pinned => followed(&deployment, pinned, &keys.words),
    };
    let mut open = BTreeMap::new();
    let mut done = Verified { events: 0, checkpoints: 0, tenants: 0, unsealed: 0, finding: None };
    for tenant in trees.tenants().await? {
        let origin = origin(&deployment, tenant);
        open.insert(tenant, Tree::begin(trees, tenant, origin, &known, trust.witnesses).await?);
    }
    done.tenants = open.len();
    let span = Span { after: 0, upto: Position::MAX, page: BATCH, rate: None };
    let mut ahead = ReadAhead::start(log, span, leaves);
    let mut after = 0;
    loop {
        let leaves = match ahead.next().await {
            Ok(Some(leaves)) => leaves,
            Ok(None) => break,
            Err(Error::Damaged(reason)) => {
                done.finding = Some(Finding::Unreadable { after, reason });
                return Ok(done);
            }
            Err(error) => return Err(error),
        };
        for (position, tenant, leaf) in leaves {
            after = position;
            let Some(tree) = open.get_mut(&tenant) else {
                done.unsealed += 1;
                continue;
            };
            done.finding = tree.take(trees, after, leaf, &mut done).await?;
            if done.finding.is_some() {
                return Ok(done);
            }
        }
    }
    for tree in open.values() {
        done.finding = tree.end(trees).await?;
        if done.finding.is_some() {
            break;
        }
    }
    Ok(done)
}

/// What is known of events in the trees: where they are, whose, and their leaves.
fn leaves(events: Vec<Recorded>) -> Vec<(Position, Uuid, Hash)> {
    let leaf = |event: Recorded| (event.position, event.meta.tenant.as_uuid(), leaf_hash(&event));
    events.into_iter().map(leaf).collect()
}

impl<'a> Tree<'a> {
    async fn begin(
        trees: &Trees,
        tenant: Uuid,
        origin: String,
        known: &[[u8; 32]],
        witnesses: &'a [Verifier],
    ) -> Result<Self, Error> {
        let keys = verifiers(&origin, known);
        let keys = keys.map_err(|error| Error::Damaged(format!("a key of the log: {error}")))?;
        let last = trees.latest(tenant).await?.map_or(super::trees::NOTHING, |last| last.head);
        Ok(Self {
            tenant,
            origin,
            keys,
            signer: None,
            witnesses,
            silent: witnesses.to_vec(),
            frontier: Frontier::default(),
            tiles: TileSet::default(),
            levels: vec![],
            ahead: vec![],
            last,
        })
    }

    /// Takes the next event of the tenant.
    async fn take(
        &mut self,
        trees: &Trees,
        position: Position,
        leaf: Hash,
        done: &mut Verified,
    ) -> Result<Option<Finding>, Error> {
        let index = self.frontier.size();
        if index >= self.last.size {
            done.unsealed += 1;
            return Ok(None);
        }
        if index.is_multiple_of(TILE_WIDTH.into()) {
            self.load(trees, index / u64::from(TILE_WIDTH)).await?;
        }
        if self.sealed(index) != Some(leaf) {
            return Ok(Some(Finding::Event { position }));
        }
        self.frontier.push(leaf);
        done.events += 1;
        if let Some(tile) = self.build(trees, leaf).await? {
            return Ok(Some(Finding::Tile { tenant: self.tenant, tile }));
        }
        self.check(trees, done).await
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
        let stored = trees.tiles(self.tenant, &[id]).await?.tile(id);
        Ok(stored.is_some_and(|stored| stored.starts_with(hashes)))
    }

    /// Reads the tile of level 0 whose leaves come next.
    async fn load(&mut self, trees: &Trees, nth: u64) -> Result<(), Error> {
        let wanted = TileId::within(0, nth, self.last.size);
        self.tiles = match wanted {
            Some(id) => trees.tiles(self.tenant, &[id]).await?,
            None => TileSet::default(),
        };
        Ok(())
    }

    fn sealed(&self, index: u64) -> Option<Hash> {
        let width = u64::from(TILE_WIDTH);
        let id = TileId { level: 0, index: index / width, width: TILE_WIDTH };
        let place = usize::try_from(index % width).ok()?;
        self.tiles.tile(id)?.get(place).copied()
    }

    /// Checks the checkpoint of the tree as it is now, if there is one.
    async fn check(
        &mut self,
        trees: &Trees,
        done: &mut Verified,
    ) -> Result<Option<Finding>, Error> {
        let size = self.frontier.size();
        if self.ahead.is_empty() {
            self.ahead = trees.checkpoints(self.tenant, size - 1, 1_000).await?;
            self.ahead.reverse();
        }
        let Some(sealed) = self.ahead.pop_if(|sealed| sealed.head.size == size) else {
            return Ok(None);
        };
        let (tenant, head) = (self.tenant, self.frontier.head());
        let wrong = |reason: String| Finding::Checkpoint { tenant, size, reason };
        Ok(match self.opened(&sealed.note) {
            Err(reason) => Some(wrong(reason)),
            Ok(checkpoint) if checkpoint.head() != head => {
                Some(wrong("its root is not that of the events".to_owned()))
            }
            Ok(_) => {
                done.checkpoints += 1;
                None
            }
        })
    }

    /// The checkpoint in a note, if it is signed as it must be: by a key that is believed, and by
    /// the key of the checkpoint before it. When that was replaced, both sign the first checkpoint
    /// of the new key, and so a key that was replaced cannot come back.
    fn opened(&mut self, note: &str) -> Result<Checkpoint, String> {
        let note = Note::parse(note.as_bytes()).map_err(|error| error.to_string())?;
        // A wrong signature of somebody who is known is never let pass, the witnesses' included.
        let known = [self.keys.as_slice(), self.witnesses].concat();
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
    async fn end(&self, trees: &Trees) -> Result<Option<Finding>, Error> {
        let (size, sealed, tenant) = (self.frontier.size(), self.last.size, self.tenant);
        if size < sealed {
            let reason = format!("{} of its events are not in the log", sealed - size);
            return Ok(Some(Finding::Checkpoint { tenant, size: sealed, reason }));
        }
        if let Some(witness) = self.silent.first() {
            let witness = Box::new(witness.clone());
            return Ok(Some(Finding::Unwitnessed { tenant, witness }));
        }
        for (level, (index, hashes)) in (0..).zip(&self.levels) {
            let Some(tile) = TileId::within(level, *index, size) else { continue };
            if !self.is_stored(trees, tile, hashes).await? {
                return Ok(Some(Finding::Tile { tenant, tile }));
            }
        }
        Ok(None)
    }
}
