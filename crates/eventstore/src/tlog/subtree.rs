//! Subtrees: which tiles their roots come from, and the roots.

use std::collections::{BTreeMap, BTreeSet};

use super::hash::{EMPTY, Hash, node};
use super::tile::{MissingTile, TILE_HEIGHT, TILE_WIDTH, TileId, Tiles, read};

/// A subtree by its leaves: from `start` up to, but without, `end`.
///
/// It is one that the tree is split into (RFC 6962 section 2.1): `start` is a multiple of some
/// power of two that is at least the number of its leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Span {
    /// A whole tree of this many leaves.
    pub(super) fn tree(size: u64) -> Self {
        Self { start: 0, end: size }
    }

    /// Where the right half begins: after the largest power of two of leaves that leaves some
    /// over. Nothing for less than two leaves.
    pub(super) fn split(self) -> Option<u64> {
        let height = (self.end - self.start).checked_sub(1)?.checked_ilog2()?;
        Some(self.start + (1 << height))
    }

    /// The perfect subtrees it is made of, from the largest, at its left, to the smallest.
    pub(super) fn perfect(self) -> Vec<Self> {
        let mut spans = Vec::new();
        let mut start = self.start;
        while let Some(height) = (self.end - start).checked_ilog2() {
            let end = start + (1 << height);
            spans.push(Self { start, end });
            start = end;
        }
        spans
    }

    /// Of a perfect subtree: the tile that has it in a tree of `size` leaves, and which of the
    /// tile's hashes it is made of: the first, and how many.
    fn location(self, size: u64) -> Option<(TileId, usize, usize)> {
        let height = (self.end - self.start).checked_ilog2()?;
        let level = height / TILE_HEIGHT;
        let place = self.start >> (level * TILE_HEIGHT);
        let width = u64::from(TILE_WIDTH);
        let id = TileId::within(u8::try_from(level).ok()?, place / width, size)?;
        let first = usize::try_from(place % width).ok()?;
        Some((id, first, 1 << (height % TILE_HEIGHT)))
    }
}

/// The tiles that the roots of these subtrees of a tree of `size` leaves come from, each once.
pub(super) fn tiles_of(spans: &[Span], size: u64) -> Vec<TileId> {
    let perfect = spans.iter().flat_map(|span| span.perfect());
    let ids: BTreeSet<_> =
        perfect.filter_map(|span| span.location(size)).map(|(id, ..)| id).collect();
    ids.into_iter().collect()
}

/// The roots of these subtrees of a tree of `size` leaves. No tile is read twice.
pub(super) fn roots(
    spans: &[Span],
    size: u64,
    tiles: &dyn Tiles,
) -> Result<Vec<Hash>, MissingTile> {
    let ids = tiles_of(spans, size).into_iter();
    let read: BTreeMap<_, _> =
        ids.map(|id| Ok((id, read(id, tiles)?))).collect::<Result<_, MissingTile>>()?;
    let perfect_root = |span: Span| {
        let (id, first, count) = span.location(size)?;
        Some(fold(read.get(&id)?.get(first..first + count)?.to_vec()))
    };
    let root = |span: &Span| join(span.perfect().into_iter().filter_map(perfect_root));
    Ok(spans.iter().map(root).collect())
}

/// The root of a perfect tree, from its lowest row.
pub(super) fn fold(mut row: Vec<Hash>) -> Hash {
    while row.len() > 1 {
        row = row.chunks_exact(2).map(|pair| node(pair[0], pair[1])).collect();
    }
    row.pop().unwrap_or(EMPTY)
}

/// The root of a tree, from the roots of its perfect subtrees from left to right.
pub(super) fn join(perfect: impl DoubleEndedIterator<Item = Hash>) -> Hash {
    perfect.rev().reduce(|right, left| node(left, right)).unwrap_or(EMPTY)
}
