//! The test cases of transparency-dev/merkle: all of them, good and bad.

use serde_json::Value;

use super::super::{Hash, ProofError, TreeHead, leaf, verify_consistency, verify_inclusion};

/// Name, two numbers, two hashes, proof and whether it is good.
type Row = (String, u64, u64, usize, usize, Vec<usize>, bool);

/// The cases, and the bytes they refer to by place.
fn cases(sort: &str) -> (Vec<Row>, Vec<Vec<u8>>) {
    let file: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let rows = serde_json::from_value(file[sort].clone()).unwrap();
    let values: Vec<String> = serde_json::from_value(file["values"].clone()).unwrap();
    let bytes = |text: &String| super::super::encoding::from_base64(text).unwrap();
    (rows, values.iter().map(bytes).collect())
}

/// The bytes as a hash. Bytes of another length are no hash, which is reason enough to refuse the
/// case; but some cases have short stand-ins for roots, of which only matters which are equal.
fn hash(bytes: &[u8]) -> Option<Hash> {
    if bytes.starts_with(b"don't care") { Some(leaf(bytes)) } else { bytes.try_into().ok() }
}

/// Runs a check on all cases, which also tells how many there are and how many are good.
fn run(
    sort: &str,
    check: impl Fn([u64; 2], [Hash; 2], &[Hash]) -> Result<(), ProofError>,
) -> [usize; 2] {
    let (rows, values) = cases(sort);
    for (name, one, two, first, second, proof, good) in &rows {
        let hash = |place: &usize| hash(&values[*place]);
        let proof: Option<Vec<_>> = proof.iter().map(hash).collect();
        let checked = match (hash(first), hash(second), proof) {
            (Some(first), Some(second), Some(proof)) => {
                check([*one, *two], [first, second], &proof).is_ok()
            }
            _ => false,
        };
        assert_eq!(checked, *good, "{sort}/{name}");
    }
    [rows.len(), rows.iter().filter(|row| row.6).count()]
}

#[test]
fn every_published_inclusion_proof_is_judged_as_published() {
    let check = |[index, size]: [u64; 2], [root, leaf]: [Hash; 2], proof: &[Hash]| {
        verify_inclusion(index, leaf, TreeHead { size, root }, proof)
    };
    assert_eq!(run("inclusion", check), [98, 6]);
}

#[test]
fn every_published_consistency_proof_is_judged_as_published() {
    let check = |[old, new]: [u64; 2], [before, after]: [Hash; 2], proof: &[Hash]| {
        let head = |size, root| TreeHead { size, root };
        verify_consistency(head(old, before), head(new, after), proof)
    };
    assert_eq!(run("consistency", check), [98, 6]);
}
