//! Proofs, checked (RFC 9162 sections 2.1.3.2 and 2.1.4.2).

use super::hash::{Hash, node};
use super::proof::{ProofError, check_leaf, check_sizes};
use super::tree::TreeHead;

/// Checks that the leaf with this hash is the one at `index` (from 0 on) in the tree.
pub fn verify_inclusion(
    index: u64,
    leaf: Hash,
    head: TreeHead,
    proof: &[Hash],
) -> Result<(), ProofError> {
    check_leaf(index, head.size)?;
    let mut climb = Climb { at: index, last: head.size - 1 };
    let mut root = leaf;
    for beside in proof {
        root = match climb.step()? {
            Side::Left => node(*beside, root),
            Side::Right => node(root, *beside),
        };
    }
    climb.arrived()?;
    same(root, head.root)
}

/// Checks that the new tree begins with all leaves of the old one, in their order.
///
/// [`ProofError::NothingToProve`] from the empty tree: whoever has seen nothing yet has to trust
/// the first head.
pub fn verify_consistency(old: TreeHead, new: TreeHead, proof: &[Hash]) -> Result<(), ProofError> {
    check_sizes(old.size, new.size)?;
    if old.size == new.size {
        return if proof.is_empty() {
            same(old.root, new.root)
        } else {
            Err(ProofError::WrongLength)
        };
    }
    // An old tree that is perfect is itself a subtree of the new one, so its root is left out.
    let (first, rest) = match proof.split_first() {
        Some(_) if old.size.is_power_of_two() => (old.root, proof),
        Some((first, rest)) => (*first, rest),
        None => return Err(ProofError::WrongLength),
    };
    let mut climb = Climb { at: old.size - 1, last: new.size - 1 };
    climb.skip(climb.at.trailing_ones());
    let (mut old_root, mut new_root) = (first, first);
    for beside in rest {
        match climb.step()? {
            Side::Left => {
                old_root = node(*beside, old_root);
                new_root = node(*beside, new_root);
            }
            Side::Right => new_root = node(new_root, *beside),
        }
    }
    climb.arrived()?;
    same(old_root, old.root)?;
    same(new_root, new.root)
}

/// On which side of the way up the next hash of a proof stands.
enum Side {
    Left,
    Right,
}

/// The way from a node up to the root: which node of its row it has come to (`fn` in RFC 9162),
/// and which is the row's last (`sn`).
struct Climb {
    at: u64,
    last: u64,
}

impl Climb {
    fn skip(&mut self, rows: u32) {
        self.at >>= rows;
        self.last >>= rows;
    }

    /// Goes on to the node that is made with the next hash.
    fn step(&mut self) -> Result<Side, ProofError> {
        if self.last == 0 {
            return Err(ProofError::WrongLength);
        }
        let side = if self.at % 2 == 1 || self.at == self.last { Side::Left } else { Side::Right };
        if matches!(side, Side::Left) {
            // The last node of a row that has no sibling there is moved up as it is. (`at` is not
            // 0: it is odd, or it is `last`.)
            self.skip(self.at.trailing_zeros());
        }
        self.skip(1);
        Ok(side)
    }

    /// That the root is reached.
    fn arrived(&self) -> Result<(), ProofError> {
        if self.last == 0 { Ok(()) } else { Err(ProofError::WrongLength) }
    }
}

fn same(found: Hash, expected: Hash) -> Result<(), ProofError> {
    if found == expected { Ok(()) } else { Err(ProofError::WrongRoot) }
}
