//! The installation's own tree, whose leaves are the checkpoints of tenants.
//!
//! The notary seals in rounds. Each gives one checkpoint to every tenant that has events in it; in
//! the order of tenants these are the next leaves, and one checkpoint of the installation ends them.
//! So a checkpoint that was taken away is noticed here.

use uuid::Uuid;

use super::super::trees::{Sealed, Trees};
use super::Finding;
use super::tree::{Taken, Tree};
use crate::tlog::Hash;
use crate::{Error, Position};

/// A tenant's checkpoint that was met in the log.
#[derive(Debug)]
struct Met {
    tenant: Uuid,
    position: Position,
    leaf: Hash,
}

/// The installation's tree, built again from the tenants' checkpoints.
pub(super) struct Rounds {
    tree: Tree,
    /// Checkpoints of the round that goes on. It has no more events than are sealed at once.
    open: Vec<Met>,
    /// Where the last round ended.
    ended: Position,
}

impl Rounds {
    pub(super) fn new(tree: Tree) -> Self {
        Self { tree, open: vec![], ended: 0 }
    }

    /// Takes the checkpoint of a tenant, if an event was the last of one.
    pub(super) fn add(&mut self, tenant: Uuid, sealed: Option<Sealed>) {
        let met = sealed.map(|Sealed { position, leaf, .. }| Met { tenant, position, leaf });
        self.open.extend(met);
    }

    /// Ends the rounds whose last event is the one at this position.
    pub(super) async fn upto(
        &mut self,
        trees: &Trees,
        position: Position,
    ) -> Result<Option<Finding>, Error> {
        while let Some(ends) = self.tree.next(trees).await?.filter(|next| next.position <= position)
        {
            let (position, size) = (ends.position, ends.head.size);
            let finding = self.end_round(trees, position, size).await?;
            if finding.is_some() {
                return Ok(finding);
            }
        }
        Ok(None)
    }

    /// Ends a round at a position, which makes the tree this large.
    async fn end_round(
        &mut self,
        trees: &Trees,
        position: Position,
        size: u64,
    ) -> Result<Option<Finding>, Error> {
        let mut round = std::mem::take(&mut self.open);
        round.sort_by_key(|met| met.tenant);
        let other = Ok(Some(Finding::Round { position }));
        for met in round {
            if met.position != position {
                return other;
            }
            match self.tree.take(trees, met.leaf).await? {
                Taken::Signed(_) => {}
                Taken::Other | Taken::Beyond => return other,
                Taken::Wrong(finding) => return Ok(Some(finding)),
            }
        }
        self.ended = position;
        if self.tree.size() == size { Ok(None) } else { other }
    }

    /// Checkpoints that stand alone, on either side; `noted` is how far the log is sealed.
    pub(super) async fn end(
        &mut self,
        trees: &Trees,
        noted: Position,
    ) -> Result<Option<Finding>, Error> {
        let met = self.open.first().map(|met| met.position);
        let missed = self.tree.next(trees).await?.map(|next| next.position);
        if let Some(position) = met.or(missed) {
            return Ok(Some(Finding::Round { position }));
        }
        if self.ended != noted {
            return Ok(Some(Finding::Progress { noted, last: self.ended }));
        }
        self.tree.end(trees).await
    }
}
