//! The log against its definition, against what others have published and against other
//! implementations.

mod checkpoints;
mod definition;
mod files;
mod keys;
mod notes;
mod notes_elsewhere;
mod proofs;
mod published;
mod tampering;
mod tiles;
mod tiles_elsewhere;
mod trees;
mod vectors;

use super::{Frontier, Hash, TileSet, TreeHead, grow, leaf};

/// The hashes of the entries `0`, `1`, `2` and so on.
fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|number| leaf(&number.to_be_bytes())).collect()
}

/// All tiles of the tree with these leaves.
fn stored(leaves: &[Hash]) -> TileSet {
    grow(0, leaves, &TileSet::default()).unwrap().into_iter().collect()
}

/// The head of the tree with these leaves.
fn head(leaves: &[Hash]) -> TreeHead {
    let mut frontier = Frontier::default();
    frontier.extend(leaves.iter().copied());
    frontier.head()
}

/// A place among leaves in memory.
fn place(number: u64) -> usize {
    usize::try_from(number).unwrap()
}
