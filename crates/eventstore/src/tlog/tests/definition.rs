//! RFC 6962 section 2.1 word by word, without regard to what it costs.

use super::super::{EMPTY, Hash, node};

/// MTH
pub(super) fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => EMPTY,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves));
            node(root(left), root(right))
        }
    }
}

/// PATH
pub(super) fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = split(leaves);
    let (left, right) = leaves.split_at(k);
    let (mut proof, beside) =
        if index < k { (path(index, left), right) } else { (path(index - k, right), left) };
    proof.push(root(beside));
    proof
}

/// SUBPROOF, and with `known` PROOF
pub(super) fn subproof(old: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if known { Vec::new() } else { vec![root(leaves)] };
    }
    let k = split(leaves);
    let (left, right) = leaves.split_at(k);
    let (mut proof, beside) = if old <= k {
        (subproof(old, left, known), right)
    } else {
        (subproof(old - k, right, false), left)
    };
    proof.push(root(beside));
    proof
}

/// The largest power of two below the number of leaves.
fn split(leaves: &[Hash]) -> usize {
    let mut k = 1;
    while k * 2 < leaves.len() {
        k *= 2;
    }
    k
}
