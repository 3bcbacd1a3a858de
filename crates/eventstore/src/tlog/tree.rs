//! The tree while it grows.

use super::hash::{Hash, node};
use super::subtree::{Span, join, roots};
use super::tile::{MissingTile, Tiles};

/// What a tree is known by: two trees with the same head have the same leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeHead {
    /// How many leaves it has.
    pub size: u64,
    /// Its root (the Merkle Tree Hash of RFC 6962 section 2.1).
    pub root: Hash,
}

/// The right edge of a tree: all that is needed to add leaves and to know the root, in memory that
/// grows with the logarithm of the size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    /// The roots of the perfect subtrees that the tree is made of, from left to right: one for
    /// each bit that is set in the size.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The right edge of the stored tree of `size` leaves, which may be smaller than all that is
    /// stored. It reads the tiles that [`super::edge_tiles`] tells.
    pub fn load(size: u64, tiles: &dyn Tiles) -> Result<Self, MissingTile> {
        let peaks = roots(&Span::tree(size).perfect(), size, tiles)?;
        Ok(Self { size, peaks })
    }

    /// Adds a leaf, by its hash.
    pub fn push(&mut self, leaf: Hash) {
        // Each bit that carries joins two perfect subtrees of the same size.
        let kept = self.peaks.len().saturating_sub(self.size.trailing_ones() as usize);
        let carried = self.peaks.drain(kept..).rev();
        let peak = carried.fold(leaf, |right, left| node(left, right));
        self.peaks.push(peak);
        self.size += 1;
    }

    /// How many leaves there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root; [`super::EMPTY`] without leaves.
    #[must_use]
    pub fn root(&self) -> Hash {
        join(self.peaks.iter().copied())
    }

    /// Size and root.
    #[must_use]
    pub fn head(&self) -> TreeHead {
        TreeHead { size: self.size, root: self.root() }
    }
}

impl Extend<Hash> for Frontier {
    /// Adds leaves, by their hashes.
    fn extend<I: IntoIterator<Item = Hash>>(&mut self, leaves: I) {
        for leaf in leaves {
            self.push(leaf);
        }
    }
}
