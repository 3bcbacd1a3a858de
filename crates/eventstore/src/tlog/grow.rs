//! Which tiles change when leaves are added.

use super::hash::Hash;
use super::subtree::{Span, fold, tiles_of};
use super::tile::{MissingTile, TILE_HEIGHT, TILE_WIDTH, Tile, TileId, Tiles, read};

/// The partial tiles at the right edge of a tree of `size` leaves: one of each level at most. They
/// are what [`grow`] and [`super::Frontier::load`] read.
#[must_use]
pub fn edge_tiles(size: u64) -> Vec<TileId> {
    tiles_of(&Span::tree(size).perfect(), size)
}

/// The tiles to store when these leaves (their hashes) are added to a tree of `old_size` leaves:
/// full ones, and the new partial ones at the right edge, which replace the narrower ones there.
///
/// Tiles that may be wider than `old_size` says are taken as that wide: what an append that was
/// given up left behind is overwritten.
pub fn grow(old_size: u64, leaves: &[Hash], tiles: &dyn Tiles) -> Result<Vec<Tile>, MissingTile> {
    let mut grown = Vec::new();
    let mut added = leaves.to_vec();
    for level in 0_u8.. {
        if added.is_empty() {
            break;
        }
        let count = old_size.checked_shr(TILE_HEIGHT * u32::from(level)).unwrap_or(0);
        let first = count / u64::from(TILE_WIDTH);
        let edge = TileId::within(level, first, old_size);
        let mut row = edge.map_or(Ok(Vec::new()), |id| read(id, tiles))?;
        row.append(&mut added);
        for (index, hashes) in (first..).zip(row.chunks(TILE_WIDTH.into())) {
            let tile = Tile::new(level, index, hashes.to_vec());
            // Only full tiles have a hash in the level above.
            let full = tile.iter().filter(|tile| tile.id().is_full());
            added.extend(full.map(|tile| fold(tile.hashes().to_vec())));
            grown.extend(tile);
        }
    }
    Ok(grown)
}
