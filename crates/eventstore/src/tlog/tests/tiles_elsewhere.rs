//! Trees, proofs, tiles and checkpoints, against the crate `tlog_tiles`.

use std::cell::RefCell;

use proptest::prelude::*;
use tlog_tiles::{
    Checkpoint as TheirCheckpoint, Error, Hash as TheirHash, HashReader, Tile as TheirTile,
    TileHashReader, TileReader, check_record, check_tree, prove_record, prove_tree,
    stored_hashes_for_record_hash, tree_hash,
};

use super::super::{
    Checkpoint, Frontier, Hash, TileId, TileSet, Tiles, TreeHead, grow, prove_consistency,
    prove_inclusion, verify_consistency, verify_inclusion,
};
use super::{leaves, place, stored};

/// The height of tiles of 256 hashes.
const HEIGHT: u8 = 8;

fn theirs(hash: Hash) -> TheirHash {
    TheirHash(*hash.as_bytes())
}

fn ours(hashes: &[TheirHash]) -> Vec<Hash> {
    hashes.iter().map(|hash| hash.0.into()).collect()
}

/// Their log: all hashes in their order.
#[derive(Default)]
struct Log(Vec<TheirHash>);

impl Log {
    fn of(leaves: &[Hash]) -> Self {
        let mut log = Self::default();
        for (nth, leaf) in (0..).zip(leaves) {
            let hashes = stored_hashes_for_record_hash(nth, theirs(*leaf), &log).unwrap();
            log.0.extend(hashes);
        }
        log
    }
}

impl HashReader for Log {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<TheirHash>, Error> {
        Ok(indexes.iter().map(|index| self.0[place(*index)]).collect())
    }
}

/// Our tiles, as they read them.
struct Reader(TileSet, RefCell<usize>);

impl TileReader for Reader {
    fn height(&self) -> u8 {
        HEIGHT
    }

    fn read_tiles(&self, tiles: &[TheirTile]) -> Result<Vec<Vec<u8>>, Error> {
        *self.1.borrow_mut() += tiles.len();
        let bytes = |tile: &TheirTile| {
            let width = u16::try_from(tile.width()).unwrap();
            let id = TileId { level: tile.level(), index: tile.level_index(), width };
            let hashes = self.0.tile(id).unwrap();
            hashes.iter().take(width.into()).flat_map(|hash| *hash.as_bytes()).collect()
        };
        Ok(tiles.iter().map(bytes).collect())
    }

    fn save_tiles(&self, _: &[TheirTile], _: &[Vec<u8>]) {}
}

/// Some leaves, most of them at the edges of tiles.
const PLACES: [u64; 14] = [0, 1, 2, 6, 7, 8, 254, 255, 256, 4_095, 4_096, 65_535, 65_536, 65_800];

/// Small sizes, and some around those where tiles fill up.
fn sizes() -> impl Iterator<Item = u64> {
    (1..40).chain([255, 256, 257, 511, 512, 513, 1_000, 4_095, 4_096, 4_097])
}

#[test]
fn roots_are_the_same() {
    let leaves = leaves(66_000);
    let log = Log::of(&leaves);
    let mut frontier = Frontier::default();
    for (size, leaf) in (1..).zip(&leaves) {
        frontier.push(*leaf);
        if size < 5_000 || (65_500..65_600).contains(&size) || size == 66_000 {
            let expected = tree_hash(size, &log).unwrap();
            assert!(theirs(frontier.root()) == expected, "{size} leaves");
        }
    }
}

#[test]
fn proofs_are_the_same_and_each_believes_the_other() {
    let leaves = leaves(66_000);
    let (log, tiles) = (Log::of(&leaves), stored(&leaves));
    for size in sizes().chain([65_535, 65_536, 65_537, 66_000]) {
        let root = tree_hash(size, &log).unwrap();
        let head = TreeHead { size, root: root.0.into() };
        for at in PLACES.into_iter().filter(|at| *at < size) {
            let leaf = leaves[place(at)];
            let proof = prove_inclusion(at, size, &tiles).unwrap();
            let other = prove_record(size, at, &log).unwrap();
            assert_eq!(proof, ours(&other), "leaf {at} of {size}");
            check_record(&other, size, root, at, theirs(leaf)).unwrap();
            verify_inclusion(at, leaf, head, &proof).unwrap();

            let old = TreeHead { size: at + 1, root: tree_hash(at + 1, &log).unwrap().0.into() };
            let proof = prove_consistency(old.size, size, &tiles).unwrap();
            let other = prove_tree(size, old.size, &log).unwrap();
            assert_eq!(proof, ours(&other), "{} to {size}", old.size);
            check_tree(&other, size, root, old.size, theirs(old.root)).unwrap();
            verify_consistency(old, head, &proof).unwrap();
        }
    }
}

#[test]
fn tiles_have_the_same_hashes_and_the_same_ones_are_stored() {
    let leaves = leaves(66_000);
    let log = Log::of(&leaves);
    let mut tiles = TileSet::default();
    let mut old = 0;
    for new in [1, 2, 255, 256, 257, 300, 512, 1_000, 1_000, 4_096, 65_535, 65_536, 65_537, 66_000]
    {
        let added = &leaves[place(old)..place(new)];
        let grown = grow(old, added, &tiles).unwrap();
        let expected = TheirTile::new_tiles(HEIGHT, old, new);
        assert_eq!(grown.len(), expected.len(), "{old} to {new}");
        for (tile, expected) in grown.iter().zip(expected) {
            assert_eq!(format!("tile/8/{}", &tile.id().path()[5..]), expected.path());
            assert_eq!(tile.to_bytes(), expected.read_data(&log).unwrap(), "{}", tile.id());
        }
        tiles.extend(grown);
        old = new;
    }
}

#[test]
fn they_prove_and_authenticate_from_our_tiles() {
    let leaves = leaves(66_000);
    let log = Log::of(&leaves);
    for size in sizes().skip(1).chain([65_535, 65_536, 65_537, 66_000]) {
        let tiles = stored(&leaves[..place(size)]);
        let root = tree_hash(size, &log).unwrap();
        let reader = Reader(tiles, RefCell::default());
        let hashes = TileHashReader::new(size, root, &reader);
        for at in [0, size / 2, size - 1] {
            let other = prove_record(size, at, &hashes).unwrap();
            assert_eq!(prove_inclusion(at, size, &reader.0).unwrap(), ours(&other));
        }
        assert!(*reader.1.borrow() > 0);
    }
}

proptest! {
    #[test]
    fn paths_are_the_same(level in 0_u8..64, index: u64, width in 1_u16..=256) {
        let id = TileId { level, index, width };
        let other = TheirTile::new(HEIGHT, level, index, width.into(), false);
        // Theirs name the height of tiles, which is always the same in tlog-tiles.
        prop_assert_eq!(format!("tile/8/{}", &id.path()[5..]), other.path());
    }

    // Without a width of 0, at which theirs panics.
    #[test]
    fn both_read_the_same_paths(path in "[0-3]{1,2}/(x00[0-2]/|x[0-9]{3}/){0,2}[0-9]{2,4}(\\.p/[1-9][0-9]?)?") {
        let id = format!("tile/{path}").parse::<TileId>();
        let other = TheirTile::from_path(&format!("tile/8/{path}"));
        prop_assert_eq!(id.is_ok(), other.is_ok(), "{}", path);
    }

    #[test]
    fn both_read_and_write_the_same_checkpoints(
        origin in "[!-~]{1,20}", size: u64, root: [u8; 32], at: prop::sample::Index,
        with in "[ -~\n]{0,2}",
    ) {
        let checkpoint = Checkpoint::new(&origin, TreeHead { size, root: root.into() }).unwrap();
        let other = TheirCheckpoint::new(&origin, size, TheirHash(root), "").unwrap();
        let text = checkpoint.to_string();
        prop_assert_eq!(text.as_bytes(), other.to_bytes());

        let at = at.index(text.len());
        let changed = format!("{}{with}{}", &text[..at], &text[at + 1..]);
        let ours = changed.parse::<Checkpoint>().is_ok();
        let theirs = TheirCheckpoint::from_bytes(changed.as_bytes()).is_ok();
        prop_assert_eq!(ours, theirs, "{:?}", changed);
    }
}
