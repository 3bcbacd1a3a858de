//! Whatever is changed in what is checked, the check fails.

use proptest::prelude::*;

use super::super::{
    Hash, ProofError, TreeHead, prove_consistency, prove_inclusion, verify_consistency,
    verify_inclusion,
};
use super::{head, leaves, place, stored};

/// The hash with one bit turned.
fn turned(hash: Hash, bit: usize) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes.into()
}

/// The proof with one bit turned, anywhere.
fn bent(proof: &[Hash], bit: usize) -> Vec<Hash> {
    let mut bent = proof.to_vec();
    let nth = bit / 256 % proof.len();
    bent[nth] = turned(proof[nth], bit % 256);
    bent
}

/// Proofs that are shorter or longer by one hash, at either end.
fn stretched(proof: &[Hash], with: Hash) -> Vec<Vec<Hash>> {
    let mut all = vec![[&[with], proof].concat(), [proof, &[with]].concat()];
    if let Some(rest) = proof.get(1..) {
        all.extend([rest.to_vec(), proof[..proof.len() - 1].to_vec()]);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn no_bit_of_an_inclusion_can_be_changed(
        (size, index) in (1_u64..300).prop_flat_map(|size| (Just(size), 0..size)),
        bit in 0_usize..256 * 12,
        index_bit in 0_u32..64,
    ) {
        let leaves = leaves(size);
        let (head, leaf) = (head(&leaves), leaves[place(index)]);
        let proof = prove_inclusion(index, size, &stored(&leaves)).unwrap();
        prop_assert_eq!(verify_inclusion(index, leaf, head, &proof), Ok(()));
        if !proof.is_empty() {
            let bent = bent(&proof, bit);
            prop_assert_eq!(
                verify_inclusion(index, leaf, head, &bent),
                Err(ProofError::WrongRoot)
            );
        }
        let other = turned(leaf, bit % 256);
        prop_assert!(verify_inclusion(index, other, head, &proof).is_err());
        let other = TreeHead { root: turned(head.root, bit % 256), ..head };
        prop_assert!(verify_inclusion(index, leaf, other, &proof).is_err());
        prop_assert!(verify_inclusion(index ^ (1 << index_bit), leaf, head, &proof).is_err());
        for stretched in stretched(&proof, head.root) {
            prop_assert_eq!(verify_inclusion(index, leaf, head, &stretched), Err(ProofError::WrongLength));
        }
    }

    #[test]
    fn no_bit_of_a_consistency_can_be_changed(
        (new, old) in (1_u64..300).prop_flat_map(|new| (Just(new), 1..=new)),
        bit in 0_usize..256 * 12,
    ) {
        let leaves = leaves(new);
        let (before, after) = (head(&leaves[..place(old)]), head(&leaves));
        let proof = prove_consistency(old, new, &stored(&leaves)).unwrap();
        prop_assert_eq!(verify_consistency(before, after, &proof), Ok(()));
        if !proof.is_empty() {
            let bent = bent(&proof, bit);
            prop_assert_eq!(verify_consistency(before, after, &bent), Err(ProofError::WrongRoot));
        }
        let other = TreeHead { root: turned(before.root, bit % 256), ..before };
        prop_assert!(verify_consistency(other, after, &proof).is_err());
        let other = TreeHead { root: turned(after.root, bit % 256), ..after };
        prop_assert!(verify_consistency(before, other, &proof).is_err());
        for stretched in stretched(&proof, before.root) {
            prop_assert_eq!(verify_consistency(before, after, &stretched), Err(ProofError::WrongLength));
        }
    }

    #[test]
    fn no_proof_is_good_for_another_old_size(
        (new, old, claimed) in
            (2_u64..300).prop_flat_map(|new| (Just(new), 1..=new, 1..=new)),
    ) {
        prop_assume!(old != claimed);
        let leaves = leaves(new);
        let after = head(&leaves);
        let before = TreeHead { size: claimed, ..head(&leaves[..place(old)]) };
        let proof = prove_consistency(old, new, &stored(&leaves)).unwrap();
        prop_assert!(verify_consistency(before, after, &proof).is_err());
        let proof = prove_consistency(claimed, new, &stored(&leaves)).unwrap();
        prop_assert!(verify_consistency(before, after, &proof).is_err());
    }
}
