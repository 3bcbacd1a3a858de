//! Checkpoints that an auditor has kept. Whoever holds the database and the keys can make a new
//! history, which is whole in itself; but it does not continue these.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::super::keys::verifiers;
use super::super::notary::tree_of;
use super::super::trees::View;
use super::Finding;
use crate::tlog::{Checkpoint, Note, TreeHead};

/// The heads that each tree must have had, the largest first.
pub(super) fn kept(
    since: &[Note],
    view: &View,
    known: &[[u8; 32]],
) -> Result<BTreeMap<Uuid, Vec<TreeHead>>, Finding> {
    let mut heads = BTreeMap::<Uuid, Vec<TreeHead>>::new();
    for note in since {
        let (tree, head) = opened(note, view, known)?;
        heads.entry(tree).or_default().push(head);
    }
    for heads in heads.values_mut() {
        heads.sort_by_key(|head| std::cmp::Reverse(head.size));
    }
    Ok(heads)
}

/// The tree and its head in a checkpoint that was kept, if the tree is that large now.
fn opened(note: &Note, view: &View, known: &[[u8; 32]]) -> Result<(Uuid, TreeHead), Finding> {
    let unread = |reason: String| {
        let origin = note.text().lines().next().unwrap_or_default().to_owned();
        Finding::Discontinued { origin, size: 0, reason }
    };
    let checkpoint: Result<Checkpoint, _> = note.text().parse();
    let checkpoint = checkpoint.map_err(|error| unread(error.to_string()))?;
    let head = checkpoint.head();
    let broken = |reason: String| discontinued(checkpoint.origin(), head, reason);
    let tree = tree_of(&view.deployment, checkpoint.origin());
    let tree = tree.ok_or_else(|| broken(format!("this is the log of '{}'", view.deployment)))?;
    let keys = verifiers(checkpoint.origin(), known).map_err(|error| broken(error.to_string()))?;
    let opened = Checkpoint::open(note, checkpoint.origin(), &keys);
    opened.map_err(|error| broken(error.to_string()))?;
    let size = view.sizes.get(&tree).copied().unwrap_or_default();
    if !(1..=size).contains(&head.size) {
        return Err(broken(format!("its size is {size} now")));
    }
    Ok((tree, head))
}

pub(super) fn discontinued(origin: &str, head: TreeHead, reason: String) -> Finding {
    Finding::Discontinued { origin: origin.to_owned(), size: head.size, reason }
}
