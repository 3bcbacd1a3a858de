//! Proof files.

use proptest::prelude::*;

use super::super::{
    Checkpoint, CheckpointError, NoteError, ProofError, ProofFile, ProofFileError, Signer,
    Verifier, leaf, prove_inclusion,
};
use super::{head, leaves, stored};

fn log() -> Signer {
    Signer::new("example.com/log", &[1; 32]).unwrap()
}

fn known() -> [Verifier; 1] {
    [log().verifier().clone()]
}

/// The proof of leaf `index` of `size`.
fn file(index: u64, size: u64) -> ProofFile {
    let leaves = leaves(size);
    let checkpoint = Checkpoint::new("example.com/log", head(&leaves)).unwrap();
    ProofFile {
        extra: None,
        index,
        proof: prove_inclusion(index, size, &stored(&leaves)).unwrap(),
        checkpoint: checkpoint.sign(&log()).unwrap(),
    }
}

#[test]
fn a_proof_file_proves_its_entry_offline() {
    let text = file(300, 700).to_string();
    let read = ProofFile::parse(text.as_bytes()).unwrap();
    let opened = read.verify(leaf(&300_u64.to_be_bytes()), "example.com/log", &known()).unwrap();
    assert_eq!(opened.checkpoint.head(), head(&leaves(700)));
}

#[test]
fn a_proof_file_is_lines_as_in_the_format() {
    let file = ProofFile { extra: Some(b"more".to_vec()), ..file(1, 3) };
    let [sibling, beside] = file.proof[..] else { panic!("{:?}", file.proof) };
    let note = &file.checkpoint;
    assert_eq!(
        file.to_string(),
        format!("c2sp.org/tlog-proof@v1\nextra bW9yZQ==\nindex 1\n{sibling}\n{beside}\n\n{note}")
    );
}

#[test]
fn a_log_of_one_entry_needs_no_hashes() {
    let file = file(0, 1);
    let text = file.to_string();
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nindex 0\n\nexample.com/log\n1\n"), "{text}");
    assert_eq!(ProofFile::parse(text.as_bytes()), Ok(file));
}

#[test]
fn what_proves_something_else_is_refused() {
    let file = file(3, 7);
    let right = leaf(&3_u64.to_be_bytes());
    let verify = |file: &ProofFile, leaf, origin| file.verify(leaf, origin, &known());
    assert!(verify(&file, right, "example.com/log").is_ok());
    let wrong_root = Err(ProofFileError::Proof(ProofError::WrongRoot));
    assert_eq!(verify(&file, leaf(b"other"), "example.com/log"), wrong_root);
    let moved = ProofFile { index: 2, ..file.clone() };
    assert_eq!(verify(&moved, right, "example.com/log"), wrong_root);
    let outside = ProofFile { index: 7, ..file.clone() };
    assert!(matches!(
        verify(&outside, right, "example.com/log"),
        Err(ProofFileError::Proof(ProofError::NoLeaf { .. }))
    ));
    assert!(matches!(
        verify(&file, right, "example.com/other"),
        Err(ProofFileError::Checkpoint(CheckpointError::OtherLog(_)))
    ));
    assert_eq!(
        file.verify(right, "example.com/log", &[]),
        Err(CheckpointError::Note(NoteError::Unverified).into())
    );
}

#[test]
fn other_spellings_of_a_proof_file_are_refused() {
    let text = file(3, 7).to_string();
    let changed = [
        text.replace("@v1", "@v2"),
        text.replace("@v1\n", "@v1\r\n"),
        text.replace("c2sp", " c2sp"),
        text.replace("index 3", "index 03"),
        text.replace("index 3", "index +3"),
        text.replace("index 3", "index  3"),
        text.replace("index 3", "index 3 "),
        text.replace("index 3\n", ""),
        text.replace("index 3\n", "index 3\nindex 3\n"),
        text.replace("index 3\n", "index 3\nextra AAAA\n"),
        text.replace("index 3\n", "extra AAAA\nextra AAAA\nindex 3\n"),
        text.replace("index 3\n", "extra AAA\nindex 3\n"),
        text.replace("index 3\n", "extra\nindex 3\n"),
        text.replace("index 3\n", "index 3\nAAAA\n"),
        text.replace("index 3\n", "index 3\n\n"),
        text.replace("\n\nexample", "\nexample"),
        text.replace("\n\nexample", "\n\n\nexample"),
        text.replace("\n— ", "— "),
        text.trim_end().to_owned(),
        String::new(),
        "c2sp.org/tlog-proof@v1\n".to_owned(),
    ];
    let right = leaf(&3_u64.to_be_bytes());
    for text in changed {
        let read = ProofFile::parse(text.as_bytes());
        let read = read.and_then(|file| file.verify(right, "example.com/log", &known()));
        assert!(read.is_err(), "{text}");
    }
    assert!(ProofFile::parse(&vec![b'a'; 3 << 20]).is_err());
}

proptest! {
    #[test]
    fn every_proof_file_is_read_as_it_was_written(
        (size, index) in (1_u64..300).prop_flat_map(|size| (Just(size), 0..size)),
        extra: Option<Vec<u8>>,
    ) {
        let file = ProofFile { extra, ..file(index, size) };
        prop_assert_eq!(ProofFile::parse(file.to_string().as_bytes()), Ok(file));
    }

    #[test]
    fn no_bit_of_a_proof_file_can_be_changed(at: prop::sample::Index, bit in 0_u32..8) {
        let text = file(3, 7).to_string();
        let mut bytes = text.clone().into_bytes();
        bytes[at.index(text.len())] ^= 1_u8 << bit;
        let right = leaf(&3_u64.to_be_bytes());
        let read = ProofFile::parse(&bytes);
        let read = read.and_then(|file| file.verify(right, "example.com/log", &known()));
        prop_assert!(read.is_err());
    }
}
