//! Trees as they grow, leaf by leaf and tile by tile.

use super::super::{EMPTY, Frontier, Hash, TileId, TileSet, Tiles, edge_tiles, grow, leaf, node};
use super::{definition, head, leaves, place, stored};

fn hex(hash: Hash) -> String {
    hex::encode(hash.as_bytes())
}

#[test]
fn hashes_are_those_that_are_published() {
    // The first two are of RFC 6962 itself, the others of the tests of transparency-dev/merkle.
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(hex(EMPTY), empty);
    assert_eq!(super::super::hash::digest(&[]), EMPTY);
    assert_eq!(hex(leaf(b"")), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    assert_eq!(
        hex(leaf(b"L123456")),
        "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    );
    let (left, right) = (leaf(&[0x10]), leaf(&[0x20, 0x21]));
    assert_eq!(
        hex(node(left, right)),
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
    );
}

#[test]
fn the_published_tree_of_eight_leaves_has_its_published_roots() {
    // transparency-dev/merkle, testonly/constants.go.
    let entries = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut frontier = Frontier::default();
    assert_eq!(frontier.root(), EMPTY);
    for (entry, root) in entries.iter().zip(roots) {
        frontier.push(leaf(&hex::decode(entry).unwrap()));
        assert_eq!(hex(frontier.root()), root);
    }
}

#[test]
fn a_frontier_has_the_root_of_the_definition_after_every_leaf() {
    let leaves = leaves(600);
    let mut frontier = Frontier::default();
    for size in 0..leaves.len() {
        assert_eq!(frontier.root(), definition::root(&leaves[..size]), "{size} leaves");
        assert_eq!(frontier.size(), size as u64);
        frontier.push(leaves[size]);
    }
}

#[test]
fn a_frontier_goes_on_from_tiles_as_if_it_had_seen_all_leaves() {
    let leaves = leaves(66_100);
    let tiles = stored(&leaves);
    let sizes = (0..1_100).chain([65_279, 65_280, 65_535, 65_536, 65_537, 65_792, 66_099]);
    let mut seen = Frontier::default();
    for size in sizes {
        while seen.size() < size {
            seen.push(leaves[place(seen.size())]);
        }
        assert_eq!(Frontier::load(size, &tiles).unwrap(), seen, "{size} leaves");
    }
}

/// Says what was read.
struct Watched<'a>(&'a TileSet, std::cell::RefCell<Vec<TileId>>);

impl Tiles for Watched<'_> {
    fn tile(&self, id: TileId) -> Option<Vec<Hash>> {
        self.1.borrow_mut().push(id);
        self.0.tile(id)
    }
}

#[test]
fn only_the_edge_is_read_to_go_on() {
    let leaves = leaves(70_100);
    let tiles = stored(&leaves);
    for size in [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 70_000] {
        let edge = edge_tiles(size);
        assert!(edge.iter().all(|id| !id.is_full()) && edge.len() <= 3, "{edge:?}");
        let watched = Watched(&tiles, Vec::new().into());
        Frontier::load(size, &watched).unwrap();
        assert_eq!(watched.1.take(), edge, "to load {size} leaves");
        let new = &leaves[place(size)..];
        grow(size, new, &watched).unwrap();
        let read = watched.1.take();
        assert!(read.iter().all(|id| edge.contains(id)), "to add to {size} leaves");
    }
    assert_eq!(
        edge_tiles(70_000).iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"],
        "the example of tlog-tiles"
    );
    assert_eq!(edge_tiles(256)[0].to_string(), "tile/1/000.p/1", "the other one");
}

#[test]
fn tiles_are_the_same_in_whatever_steps_the_tree_has_grown() {
    let leaves = leaves(66_000);
    let at_once = stored(&leaves);
    for step in [1_000, 256, 257, 65_536] {
        let (mut tiles, mut seen) = (TileSet::default(), Frontier::default());
        for (nth, new) in leaves.chunks(step).enumerate() {
            let old = nth * step;
            let grown = grow(old as u64, new, &tiles).unwrap();
            tiles.extend(grown);
            seen.extend(new.iter().copied());
            assert_eq!(Frontier::load(seen.size(), &tiles).unwrap(), seen);
        }
        assert_eq!(tiles, at_once, "in steps of {step}");
    }
}

#[test]
fn growing_leaf_by_leaf_stores_only_what_changes() {
    let leaves = leaves(600);
    let mut tiles = TileSet::default();
    for (size, leaf) in leaves.iter().enumerate() {
        let grown = grow(size as u64, &[*leaf], &tiles).unwrap();
        let full = (size + 1) % 256 == 0;
        assert_eq!(grown.len(), if full { 2 } else { 1 });
        assert_eq!(grown[0].id().width as usize, size % 256 + 1);
        tiles.extend(grown);
    }
    assert_eq!(tiles, stored(&leaves));
    assert_eq!(grow(600, &[], &tiles), Ok(Vec::new()));
}

#[test]
fn what_an_append_left_behind_that_was_given_up_does_no_harm() {
    let leaves = leaves(700);
    let mut tiles = stored(&leaves[..300]);
    let lost: Vec<_> = (0..400_u64).map(|n| leaf(&(n + 9_000).to_be_bytes())).collect();
    tiles.extend(grow(300, &lost, &tiles).unwrap());
    assert_eq!(Frontier::load(300, &tiles).unwrap().head(), head(&leaves[..300]));
    tiles.extend(grow(300, &leaves[300..], &tiles).unwrap());
    assert_eq!(tiles, stored(&leaves));
}
