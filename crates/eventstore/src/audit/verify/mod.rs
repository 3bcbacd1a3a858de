//! Checking everything: every event against its leaf, every tile against the leaves, every
//! checkpoint against the tree and the keys, and the checkpoints of tenants against the
//! installation's own tree.

mod kept;
mod rounds;
mod tree;

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use self::kept::kept;
use self::rounds::Rounds;
use self::tree::{Taken, Tree};
use super::keys::followed;
use super::line::leaf_hash;
use super::trees::{Trees, View};
use crate::tlog::{Hash, Note, TileId, TreeHead, Verifier};
use crate::{Error, EventStore, Position, ReadAhead, Recorded, Span};

/// How many events are read at once.
const BATCH: usize = 1_000;

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Events whose leaf is in a signed tree.
    pub events: u64,
    /// Checkpoints of tenants whose signature and root are right.
    pub checkpoints: u64,
    /// Tenants whose trees were checked.
    pub tenants: usize,
    /// Events at the end that are not sealed yet.
    pub unsealed: u64,
    /// The first thing that is not as it was signed.
    pub finding: Option<Finding>,
}

/// Something that is not as it was signed. A tree is named by its tenant, or by the installation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// An event is not the one whose leaf is in the tree.
    #[error("the event at position {position} is not what was sealed")]
    Event {
        /// Where it is.
        position: Position,
    },
    /// No checkpoint has an event any more.
    #[error(
        "the event at position {position} is in no checkpoint, and the log is sealed further than that"
    )]
    Uncovered {
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
    #[error("{tile} of tree {tree} is not what was sealed")]
    Tile {
        /// Which tree.
        tree: Uuid,
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
    #[error("the checkpoint of tree {tree} at size {size}: {reason}")]
    Checkpoint {
        /// Which tree.
        tree: Uuid,
        /// Its size.
        size: u64,
        /// What is wrong.
        reason: String,
    },
    /// The tenants' checkpoints of one go are not the leaves of the installation's tree.
    #[error(
        "the checkpoints that were signed at position {position} are not those that the installation's own tree has"
    )]
    Round {
        /// The last position that they have.
        position: Position,
    },
    /// The log is said to be sealed up to somewhere else than its last checkpoint.
    #[error(
        "the log is said to be sealed up to position {noted}, and its last checkpoint is of {last}"
    )]
    Progress {
        /// What it is said to be.
        noted: Position,
        /// Of the last checkpoint.
        last: Position,
    },
    /// What is stored of the trees cannot be read.
    #[error("{reason}")]
    Garbled {
        /// What is wrong.
        reason: String,
    },
    /// The log has another history than the one that an auditor was shown.
    #[error("the log is not a continuation of '{origin}' at size {size}: {reason}")]
    Discontinued {
        /// Which tree he has a checkpoint of.
        origin: String,
        /// The size of that.
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
    /// Checkpoints that he was given before, which the trees must continue.
    pub since: &'a [Note],
}

/// Checks the log against its trees, as far as it is sealed when that begins; the notary may go on.
pub async fn verify(
    log: Arc<dyn EventStore>,
    trees: &Trees,
    trust: Trust<'_>,
) -> Result<Verified, Error> {
    let mut done = Verified { events: 0, checkpoints: 0, tenants: 0, unsealed: 0, finding: None };
    done.finding = match check(log, trees, trust, &mut done).await {
        Err(Error::Damaged(reason)) => Some(Finding::Garbled { reason }),
        checked => checked?,
    };
    Ok(done)
}

/// The first thing that is not as it was signed.
async fn check(
    log: Arc<dyn EventStore>,
    trees: &Trees,
    trust: Trust<'_>,
    done: &mut Verified,
) -> Result<Option<Finding>, Error> {
    // Keys come after the view: one that signed something in it may be as new.
    let (view, keys) = (trees.view().await?, trees.keys().await?);
    let known = match trust.keys {
        [] => keys.publics,
        pinned => followed(&view.deployment, pinned, &keys.words),
    };
    let kept = match kept(trust.since, &view, &known) {
        Ok(kept) => kept,
        Err(finding) => return Ok(Some(finding)),
    };
    let mut all = All::begin(trees, view, &known, trust.witnesses, kept)?;
    done.tenants = all.open.len();
    let span = Span { after: 0, upto: Position::MAX, page: BATCH, rate: None };
    let mut ahead = ReadAhead::start(log, span, leaves);
    let mut after = 0;
    loop {
        let leaves = match ahead.next().await {
            Ok(Some(leaves)) => leaves,
            Ok(None) => return all.end().await,
            Err(Error::Damaged(reason)) => return Ok(Some(Finding::Unreadable { after, reason })),
            Err(error) => return Err(error),
        };
        for leaf in leaves {
            after = leaf.0;
            let finding = all.take(leaf, done).await?;
            if finding.is_some() {
                return Ok(finding);
            }
        }
    }
}

/// What is known of an event in the trees: where it is, whose, and its leaf.
type Leaf = (Position, Uuid, Hash);

fn leaves(events: Vec<Recorded>) -> Vec<Leaf> {
    let leaf = |event: Recorded| (event.position, event.meta.tenant.as_uuid(), leaf_hash(&event));
    events.into_iter().map(leaf).collect()
}

/// All trees, built again from the log.
struct All<'a> {
    trees: &'a Trees,
    view: View,
    /// Those of tenants.
    open: BTreeMap<Uuid, Tree>,
    /// The installation's own.
    rounds: Rounds,
}

impl<'a> All<'a> {
    fn begin(
        trees: &'a Trees,
        view: View,
        known: &[[u8; 32]],
        witnesses: &[Verifier],
        mut kept: BTreeMap<Uuid, Vec<TreeHead>>,
    ) -> Result<Self, Error> {
        let mut begin = |tree: Uuid, witnesses: &[Verifier]| {
            let kept = kept.remove(&tree).unwrap_or_default();
            Tree::begin(&view, tree, known, witnesses, kept)
        };
        let tenants = view.sizes.keys().filter(|tree| **tree != view.installation);
        let open = tenants.map(|tenant| begin(*tenant, witnesses).map(|tree| (*tenant, tree)));
        let open = open.collect::<Result<_, Error>>()?;
        let rounds = Rounds::new(begin(view.installation, &[])?);
        Ok(Self { trees, view, open, rounds })
    }

    /// Takes the next event of the log.
    async fn take(
        &mut self,
        (position, tenant, leaf): Leaf,
        done: &mut Verified,
    ) -> Result<Option<Finding>, Error> {
        let taken = match self.open.get_mut(&tenant) {
            Some(tree) => tree.take(self.trees, leaf).await?,
            None => Taken::Beyond,
        };
        match taken {
            Taken::Signed(ended) => {
                done.events += 1;
                done.checkpoints += u64::from(ended.is_some());
                self.rounds.add(tenant, ended);
            }
            Taken::Other => return Ok(Some(Finding::Event { position })),
            Taken::Beyond if position > self.view.position => done.unsealed += 1,
            Taken::Beyond => return Ok(Some(Finding::Uncovered { position })),
            Taken::Wrong(finding) => return Ok(Some(finding)),
        }
        self.rounds.upto(self.trees, position).await
    }

    /// What was sealed and is not in the log.
    async fn end(&mut self) -> Result<Option<Finding>, Error> {
        for tree in self.open.values() {
            let finding = tree.end(self.trees).await?;
            if finding.is_some() {
                return Ok(finding);
            }
        }
        self.rounds.end(self.trees, self.view.position).await
    }
}
