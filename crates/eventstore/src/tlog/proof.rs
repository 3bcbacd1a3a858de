//! Proofs, made from tiles (RFC 6962 sections 2.1.1 and 2.1.2).

use super::hash::Hash;
use super::subtree::{Span, roots, tiles_of};
use super::tile::{MissingTile, TileId, Tiles};

/// Why a proof cannot be made or proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// There is no such leaf.
    #[error("a tree of {size} leaves has no leaf {index}")]
    NoLeaf {
        /// The leaf's place, from 0 on.
        index: u64,
        /// How many leaves the tree has.
        size: u64,
    },
    /// Every tree is consistent with the empty one, whatever it holds.
    #[error("nothing can be proved from the empty tree")]
    NothingToProve,
    /// The new tree is smaller than the old one.
    #[error("a tree cannot shrink from {old} to {new} leaves")]
    Shrunk {
        /// The size of the old tree in leaves.
        old: u64,
        /// The size of the new tree in leaves.
        new: u64,
    },
    /// Not all tiles are there that the proof is made of.
    #[error(transparent)]
    MissingTile(#[from] MissingTile),
    /// The proof has fewer or more hashes than one of this place and size has.
    #[error("the proof has the wrong length")]
    WrongLength,
    /// The proof leads to another root.
    #[error("the proof leads to another root")]
    WrongRoot,
}

/// The tiles that [`prove_inclusion`] reads.
pub fn inclusion_tiles(index: u64, size: u64) -> Result<Vec<TileId>, ProofError> {
    Ok(tiles_of(&path(index, size)?, size))
}

/// The inclusion proof of leaf `index` (from 0 on) in the tree of `size` leaves, the leaf's sibling
/// first.
pub fn prove_inclusion(index: u64, size: u64, tiles: &dyn Tiles) -> Result<Vec<Hash>, ProofError> {
    Ok(roots(&path(index, size)?, size, tiles)?)
}

/// The tiles that [`prove_consistency`] reads.
pub fn consistency_tiles(old_size: u64, new_size: u64) -> Result<Vec<TileId>, ProofError> {
    Ok(tiles_of(&subproof(old_size, new_size)?, new_size))
}

/// The proof that the tree of `new_size` leaves begins with all of the tree of `old_size` leaves.
/// It is empty if they are the same size.
pub fn prove_consistency(
    old_size: u64,
    new_size: u64,
    tiles: &dyn Tiles,
) -> Result<Vec<Hash>, ProofError> {
    Ok(roots(&subproof(old_size, new_size)?, new_size, tiles)?)
}

/// That a tree of this size has this leaf.
pub(super) fn check_leaf(index: u64, size: u64) -> Result<(), ProofError> {
    if index < size { Ok(()) } else { Err(ProofError::NoLeaf { index, size }) }
}

/// That a tree of the new size may have grown from one of the old size.
pub(super) fn check_sizes(old: u64, new: u64) -> Result<(), ProofError> {
    match old {
        0 => Err(ProofError::NothingToProve),
        _ if old > new => Err(ProofError::Shrunk { old, new }),
        _ => Ok(()),
    }
}

/// PATH of RFC 6962: the subtrees beside the way from the leaf to the root.
fn path(index: u64, size: u64) -> Result<Vec<Span>, ProofError> {
    check_leaf(index, size)?;
    let mut spans = Vec::new();
    let mut within = Span::tree(size);
    while let Some(split) = within.split() {
        let (left, right) = halves(within, split);
        let (inside, beside) = if index < split { (left, right) } else { (right, left) };
        spans.push(beside);
        within = inside;
    }
    spans.reverse();
    Ok(spans)
}

/// PROOF of RFC 6962: the subtrees that the old tree's last subtree needs to become both trees.
fn subproof(old: u64, new: u64) -> Result<Vec<Span>, ProofError> {
    check_sizes(old, new)?;
    let mut spans = Vec::new();
    let mut within = Span::tree(new);
    while let Some(split) = within.split().filter(|_| within.end != old) {
        let (left, right) = halves(within, split);
        let (inside, beside) = if old <= split { (left, right) } else { (right, left) };
        spans.push(beside);
        within = inside;
    }
    if within.start > 0 {
        // Else it is the whole old tree, whose root is known.
        spans.push(within);
    }
    spans.reverse();
    Ok(spans)
}

fn halves(Span { start, end }: Span, split: u64) -> (Span, Span) {
    (Span { start, end: split }, Span { start: split, end })
}
