//! Checkpoints: their text, and which are believed.

use proptest::prelude::*;

use super::super::{
    Checkpoint, CheckpointError, Cosigner, EMPTY, Note, NoteError, Signer, TreeHead, Verifier,
};
use super::{head, leaves};

const ROOT: &str = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";

fn read(text: &str) -> Result<Checkpoint, CheckpointError> {
    text.parse()
}

#[test]
fn the_example_of_the_format_is_read_and_written() {
    let text = format!("example.com/behind-the-sofa\n20852163\n{ROOT}\n");
    let checkpoint = read(&text).unwrap();
    assert_eq!(checkpoint.origin(), "example.com/behind-the-sofa");
    assert_eq!(checkpoint.head(), TreeHead { size: 20_852_163, root: ROOT.parse().unwrap() });
    assert_eq!(checkpoint.to_string(), text);
}

#[test]
fn an_empty_log_has_a_checkpoint_too() {
    let empty = Checkpoint::new("a", TreeHead { size: 0, root: EMPTY }).unwrap();
    assert_eq!(empty.to_string(), "a\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n");
    assert_eq!(read(&empty.to_string()), Ok(empty));
}

#[test]
fn other_spellings_of_a_checkpoint_are_refused() {
    let root = ROOT.trim_end_matches('=');
    let wrong = [
        String::new(),
        "\n".to_owned(),
        format!("a\n1\n{ROOT}"),
        format!("a\n1\n{ROOT}\n\n"),
        format!("a\n1\n{ROOT}\n\nb\n"),
        format!("a\n1\n{ROOT}\nb\n\n"),
        format!("\na\n1\n{ROOT}\n"),
        format!("a\n\n1\n{ROOT}\n"),
        format!("a\n1\n\n{ROOT}\n"),
        format!("a\n01\n{ROOT}\n"),
        format!("a\n00\n{ROOT}\n"),
        format!("a\n+1\n{ROOT}\n"),
        format!("a\n-1\n{ROOT}\n"),
        format!("a\n1 \n{ROOT}\n"),
        format!("a\n0x1\n{ROOT}\n"),
        format!("a\n18446744073709551616\n{ROOT}\n"),
        format!("a\n1\n{root}\n"),
        format!("a\n1\n {ROOT}\n"),
        format!("a\n1\n{ROOT}=\n"),
        format!("a\n1\n{}\n", ROOT.replace("2I=", "2J=")),
        format!("a\n1\nAAAA{ROOT}\n"),
        "a\n1\nAAAA\n".to_owned(),
        "a\n1\n\n".to_owned(),
        "a\n1\n".to_owned(),
        "a\n".to_owned(),
    ];
    for text in wrong {
        assert_eq!(read(&text), Err(CheckpointError::Format), "{text:?}");
    }
    assert_eq!(read(&format!("\n1\n{ROOT}\n")), Err(CheckpointError::Origin));
    assert!(read(&format!("a\n18446744073709551615\n{ROOT}\n")).is_ok());
}

#[test]
fn extension_lines_of_other_logs_are_ignored() {
    let plain = read(&format!("a\n1\n{ROOT}\n")).unwrap();
    assert_eq!(read(&format!("a\n1\n{ROOT}\nsomething\nmore\n")), Ok(plain));
}

#[test]
fn an_origin_is_one_line() {
    let head = head(&leaves(3));
    for origin in ["", "a\nb", "\n", "a\u{0}"] {
        assert_eq!(Checkpoint::new(origin, head), Err(CheckpointError::Origin));
    }
    assert!(Checkpoint::new("any text + ü", head).is_ok());
}

/// A signed checkpoint of the log `a`, and the keys of the log and of a witness.
fn signed() -> (Note, Cosigner, [Verifier; 2]) {
    let (log, witness) =
        (Signer::new("a", &[1; 32]).unwrap(), Cosigner::new("w", &[2; 32]).unwrap());
    let checkpoint = Checkpoint::new("a", head(&leaves(3))).unwrap();
    let keys = [log.verifier().clone(), witness.verifier().clone()];
    (checkpoint.sign(&log).unwrap(), witness, keys)
}

#[test]
fn a_checkpoint_is_believed_if_its_log_has_signed_it() {
    let (mut note, witness, known) = signed();
    let opened = Checkpoint::open(&note, "a", &known).unwrap();
    assert_eq!(opened.checkpoint.head(), head(&leaves(3)));
    assert_eq!(opened.signatures.len(), 1);
    note.cosign(&witness, 1_700_000_000).unwrap();
    let read = Note::parse(note.to_string().as_bytes()).unwrap();
    let opened = Checkpoint::open(&read, "a", &known).unwrap();
    let times: Vec<_> = opened.signatures.iter().map(|signature| signature.time).collect();
    assert_eq!(times, [None, Some(1_700_000_000)]);
}

#[test]
fn a_checkpoint_of_another_log_of_the_same_key_is_refused() {
    let (note, _, known) = signed();
    let other = Err(CheckpointError::OtherLog("a".to_owned()));
    assert_eq!(Checkpoint::open(&note, "b", &known), other);
}

#[test]
fn the_word_of_a_witness_is_not_that_of_the_log() {
    let (mut note, witness, [log, known]) = signed();
    note.cosign(&witness, 1).unwrap();
    assert_eq!(Checkpoint::open(&note, "a", &[known]), Err(CheckpointError::OnlyWitnesses));
    let (note, _, [_, known]) = signed();
    let unverified = Err(CheckpointError::Note(NoteError::Unverified));
    assert_eq!(Checkpoint::open(&note, "a", &[known]), unverified);
    assert!(Checkpoint::open(&note, "a", &[log]).is_ok());
}

#[test]
fn signed_text_that_is_no_checkpoint_is_refused() {
    let log = Signer::new("a", &[1; 32]).unwrap();
    let mut note = Note::new("a\n1\n").unwrap();
    note.sign(&log);
    let known = [log.verifier().clone()];
    assert_eq!(Checkpoint::open(&note, "a", &known), Err(CheckpointError::Format));
}

proptest! {
    #[test]
    fn every_checkpoint_is_read_as_it_was_written(
        origin in "[ -~é]{1,30}", size: u64, root: [u8; 32],
    ) {
        let head = TreeHead { size, root: root.into() };
        let checkpoint = Checkpoint::new(&origin, head).unwrap();
        prop_assert_eq!(read(&checkpoint.to_string()), Ok(checkpoint));
    }

    #[test]
    fn no_bit_of_a_signed_checkpoint_can_be_changed(at: prop::sample::Index, bit in 0_u32..8) {
        let (note, _, known) = signed();
        let mut bytes = note.to_string().into_bytes();
        bytes[at.index(note.to_string().len())] ^= 1_u8 << bit;
        let opened = Note::parse(&bytes)
            .map_err(CheckpointError::from)
            .and_then(|note| Checkpoint::open(&note, "a", &known));
        prop_assert!(opened.is_err());
    }
}
