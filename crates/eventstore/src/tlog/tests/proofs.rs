//! Proofs against their definition.

use super::super::{
    Hash, ProofError, TileId, TileSet, Tiles, TreeHead, consistency_tiles, inclusion_tiles,
    prove_consistency, prove_inclusion, verify_consistency, verify_inclusion,
};
use super::{definition, head, leaves, place, stored};

/// Some sizes around those where tiles fill up, with places and older sizes in them.
const EDGES: [u64; 9] = [255, 256, 257, 511, 513, 65_535, 65_536, 65_537, 66_000];

#[test]
fn inclusion_proofs_are_those_of_the_definition() {
    let leaves = leaves(70);
    for size in 1..70 {
        let leaves = &leaves[..size];
        // Stored tiles may be wider than the tree that is asked about.
        let tiles = stored(&super::leaves(70));
        let head = head(leaves);
        for (index, leaf) in leaves.iter().enumerate() {
            let proof = prove_inclusion(index as u64, size as u64, &tiles).unwrap();
            assert_eq!(proof, definition::path(index, leaves), "{index} of {size}");
            assert_eq!(verify_inclusion(index as u64, *leaf, head, &proof), Ok(()));
        }
    }
}

#[test]
fn consistency_proofs_are_those_of_the_definition() {
    let leaves = leaves(70);
    let tiles = stored(&leaves);
    for new in 1..70 {
        for old in 1..=new {
            let proof = prove_consistency(old as u64, new as u64, &tiles).unwrap();
            let expected = definition::subproof(old, &leaves[..new], true);
            assert_eq!(proof, expected, "{old} to {new}");
            let (old, new) = (head(&leaves[..old]), head(&leaves[..new]));
            assert_eq!(verify_consistency(old, new, &proof), Ok(()));
        }
    }
}

#[test]
fn proofs_hold_where_tiles_fill_up() {
    let leaves = leaves(66_000);
    let tiles = stored(&leaves);
    let heads = EDGES.map(|size| head(&leaves[..place(size)]));
    for new in heads {
        for index in EDGES.into_iter().chain([0, 1]).filter(|index| *index < new.size) {
            let proof = prove_inclusion(index, new.size, &tiles).unwrap();
            verify_inclusion(index, leaves[place(index)], new, &proof).unwrap();
        }
        for old in heads.into_iter().filter(|old| old.size <= new.size) {
            let proof = prove_consistency(old.size, new.size, &tiles).unwrap();
            verify_consistency(old, new, &proof).unwrap();
        }
    }
}

/// Whether only tiles are read that were told beforehand, and all of those.
struct Only<'a>(&'a TileSet, Vec<TileId>, std::cell::RefCell<Vec<TileId>>);

impl Tiles for Only<'_> {
    fn tile(&self, id: TileId) -> Option<Vec<Hash>> {
        self.2.borrow_mut().push(id);
        self.0.tile(id).filter(|_| self.1.contains(&id))
    }
}

#[test]
fn a_proof_reads_each_tile_it_has_told_once_and_they_are_few() {
    let tiles = stored(&leaves(66_000));
    for size in EDGES {
        let index = size / 2;
        let only = Only(&tiles, inclusion_tiles(index, size).unwrap(), Vec::new().into());
        prove_inclusion(index, size, &only).unwrap();
        assert_eq!(only.2.take(), only.1);
        assert!(only.1.len() <= 5, "{:?}", only.1);
        let only = Only(&tiles, consistency_tiles(index, size).unwrap(), Vec::new().into());
        prove_consistency(index, size, &only).unwrap();
        assert_eq!(only.2.take(), only.1);
        assert!(only.1.len() <= 5, "{:?}", only.1);
    }
}

#[test]
fn proofs_that_cannot_be_are_refused() {
    let tiles = stored(&leaves(5));
    let no_leaf = Err(ProofError::NoLeaf { index: 5, size: 5 });
    assert_eq!(prove_inclusion(5, 5, &tiles), no_leaf);
    assert_eq!(prove_inclusion(0, 0, &tiles), Err(ProofError::NoLeaf { index: 0, size: 0 }));
    assert_eq!(prove_consistency(0, 5, &tiles), Err(ProofError::NothingToProve));
    assert_eq!(prove_consistency(0, 0, &tiles), Err(ProofError::NothingToProve));
    assert_eq!(prove_consistency(5, 4, &tiles), Err(ProofError::Shrunk { old: 5, new: 4 }));
    let missing = prove_inclusion(0, 6, &tiles).unwrap_err();
    assert_eq!(missing.to_string(), "tile/0/000.p/6 is missing");
}

#[test]
fn checks_refuse_what_cannot_be() {
    let leaves = leaves(8);
    let whole = head(&leaves);
    let none = TreeHead { size: 0, root: super::super::EMPTY };
    assert_eq!(verify_consistency(none, whole, &[]), Err(ProofError::NothingToProve));
    assert_eq!(verify_consistency(none, none, &[]), Err(ProofError::NothingToProve));
    assert!(matches!(
        verify_consistency(whole, head(&leaves[..7]), &[]),
        Err(ProofError::Shrunk { .. })
    ));
    assert!(matches!(
        verify_inclusion(8, leaves[7], whole, &definition::path(7, &leaves)),
        Err(ProofError::NoLeaf { .. })
    ));
    assert!(matches!(verify_inclusion(0, leaves[0], none, &[]), Err(ProofError::NoLeaf { .. })));
}

#[test]
fn surplus_hashes_are_refused_even_if_they_lead_to_the_root() {
    let leaves = leaves(2);
    let lying = TreeHead { size: 1, ..head(&leaves) };
    let wrong_length = Err(ProofError::WrongLength);
    assert_eq!(verify_inclusion(0, leaves[1], lying, &leaves[..1]), wrong_length);
    assert_eq!(verify_inclusion(0, leaves[0], lying, &leaves[1..]), wrong_length);
}

#[test]
fn the_largest_sizes_do_not_overflow() {
    let max = TreeHead { size: u64::MAX, root: leaves(1)[0] };
    let (leaf, proof) = (leaves(1)[0], leaves(64));
    for length in 0..=64 {
        for index in [0, 1, u64::MAX / 2, u64::MAX - 1] {
            assert!(verify_inclusion(index, leaf, max, &proof[..length]).is_err());
        }
        for size in [1, 2, 1 << 63, u64::MAX - 1] {
            let old = TreeHead { size, root: leaf };
            assert!(verify_consistency(old, max, &proof[..length]).is_err());
        }
    }
    assert!(inclusion_tiles(u64::MAX - 1, u64::MAX).unwrap().len() <= 17);
    assert!(consistency_tiles(1 << 63, u64::MAX).unwrap().len() <= 17);
}
