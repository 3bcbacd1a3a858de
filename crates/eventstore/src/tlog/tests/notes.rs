//! Signed notes: what is one, and which are believed.

use proptest::prelude::*;

use super::super::encoding::{base64, from_base64};
use super::super::{Cosigner, NOTE_LIMIT, Note, NoteError, Signer, Verifier};

fn signer(name: &str) -> Signer {
    Signer::new(name, &[u8::try_from(name.len()).unwrap(); 32]).unwrap()
}

fn cosigner(name: &str) -> Cosigner {
    Cosigner::new(name, &[u8::try_from(name.len()).unwrap() + 100; 32]).unwrap()
}

/// A note of this text, signed by these.
fn signed(text: &str, signers: &[Signer]) -> Note {
    let mut note = Note::new(text).unwrap();
    for signer in signers {
        note.sign(signer);
    }
    note
}

fn names(note: &Note, known: &[Verifier]) -> Result<Vec<String>, NoteError> {
    Ok(note.verify(known)?.into_iter().map(|verified| verified.name).collect())
}

#[test]
fn texts_with_empty_lines_are_separated_at_the_last_one() {
    for text in ["a\n", "\n", "\n\n", "a\n\nb\n", "a\n\n", "\na\n\n\n", "— a AAAA\n\n— b AAAA\n"]
    {
        let note = signed(text, &[signer("a")]);
        let read = Note::parse(note.to_string().as_bytes()).unwrap();
        assert_eq!(read.text(), text);
        assert_eq!(read, note);
        assert_eq!(names(&read, &[signer("a").verifier().clone()]), Ok(vec!["a".to_owned()]));
    }
}

#[test]
fn what_is_not_a_note_is_refused() {
    let line = signed("a\n", &[signer("a")]).signatures()[0].to_string();
    let (start, _) = line.rsplit_once(' ').unwrap();
    let cases = [
        (String::new(), NoteError::Text),
        (format!("a\n\n{line}"), NoteError::Text),
        (format!("a\u{1}\n\n{line}\n"), NoteError::Text),
        (format!("a\r\n\n{line}\n"), NoteError::Text),
        (format!("a\n\n{line}\r\n"), NoteError::Text),
        (format!("a\tb\n\n{line}\n"), NoteError::Text),
        (format!("a\n{line}\n"), NoteError::Unsigned),
        ("a\n\n".to_owned(), NoteError::Unsigned),
        (format!("a\n\n{line}\n\n"), NoteError::Unsigned),
        (format!("a\n\n{line}\nb\n"), NoteError::SignatureLine),
        (format!("a\n\n-{line}\n"), NoteError::SignatureLine),
        (format!("a\n\n{line} \n"), NoteError::SignatureLine),
        (format!("a\n\n{}\n", line.replacen(' ', "  ", 1)), NoteError::SignatureLine),
        (format!("a\n\n{}\n", line.replace("— a ", "— a+b ")), NoteError::SignatureLine),
        (format!("a\n\n{}\n", line.replace("— a ", "— \u{a0} ")), NoteError::SignatureLine),
        (format!("a\n\n{start} AAAAAA==\n"), NoteError::SignatureLine),
        (format!("a\n\n{start} AAAA\n"), NoteError::SignatureLine),
        (format!("a\n\n{start} AAAAAAA\n"), NoteError::SignatureLine),
        (format!("a\n\n{start} AAAAAAB=\n"), NoteError::SignatureLine),
        (format!("a\n\n{start} \n"), NoteError::SignatureLine),
        (format!("a\n\n{start}\n"), NoteError::SignatureLine),
    ];
    for (text, error) in cases {
        assert_eq!(Note::parse(text.as_bytes()), Err(error), "{text:?}");
    }
    assert_eq!(Note::parse(b"\xff\n\n"), Err(NoteError::Text));
    assert!(Note::parse(format!("a\n\n{start} AAAAAAA=\n").as_bytes()).is_ok());
}

#[test]
fn texts_that_cannot_be_signed_are_refused() {
    for text in ["", "a", "a\0\n", "a\r\n", "\u{1f}\n"] {
        assert_eq!(Note::new(text), Err(NoteError::Text), "{text:?}");
    }
    assert!(Note::new("\u{7f}\u{85}ü\n").is_ok());
}

#[test]
fn a_note_has_no_more_than_a_mebibyte() {
    let line = format!("\n{}\n", signed("a\n", &[signer("a")]).signatures()[0]);
    let fill = |bytes: usize| format!("{}\n{line}", "a".repeat(bytes - line.len() - 1));
    assert_eq!(NOTE_LIMIT, 1_048_576);
    assert!(Note::parse(fill(NOTE_LIMIT).as_bytes()).is_ok());
    assert_eq!(Note::parse(fill(NOTE_LIMIT + 1).as_bytes()), Err(NoteError::TooLarge));
}

#[test]
fn a_hundred_signatures_are_accepted_and_no_more() {
    let signers: Vec<_> = (1..=100).map(|n| signer(&"a".repeat(n))).collect();
    let note = signed("a\n", &signers).to_string();
    let more = format!("{note}{}\n", signed("a\n", &signers[..1]).signatures()[0]);
    assert_eq!(Note::parse(more.as_bytes()), Err(NoteError::TooLarge));
    let read = Note::parse(note.as_bytes()).unwrap();
    let known: Vec<_> = signers.iter().map(|signer| signer.verifier().clone()).collect();
    assert_eq!(names(&read, &known).unwrap().len(), 100);
    assert_eq!(names(&read, &known[99..]).unwrap(), ["a".repeat(100)]);
}

#[test]
fn unknown_keys_are_ignored_and_wrong_signatures_are_not() {
    let (a, b) = (signer("a"), signer("bb"));
    let (known_a, known_b) = (a.verifier().clone(), b.verifier().clone());
    let note = signed("a\n", &[a, b]);
    assert_eq!(names(&note, &[]), Err(NoteError::Unverified));
    assert_eq!(names(&note, std::slice::from_ref(&known_b)).unwrap(), ["bb"]);
    // The signature of one key under the name and id of the other.
    let lines: Vec<_> = note.signatures().iter().map(ToString::to_string).collect();
    let blob = from_base64(lines[0].rsplit_once(' ').unwrap().1).unwrap();
    let forged = [known_b.id().as_bytes(), &blob[4..]].concat();
    let forged = base64(&forged);
    let forged = Note::parse(format!("a\n\n{}\n— bb {forged}\n", lines[0]).as_bytes()).unwrap();
    let wrong = Err(NoteError::WrongSignature { name: "bb".to_owned(), key_id: known_b.id() });
    assert_eq!(names(&forged, &[known_a.clone(), known_b.clone()]), wrong);
    assert_eq!(names(&forged, std::slice::from_ref(&known_b)), wrong);
    assert_eq!(names(&forged, &[known_a]).unwrap(), ["a"]);
    // A good one does not make up for it, on whichever side.
    for lines in [
        [&lines[1], &forged.signatures()[1].to_string()],
        [&forged.signatures()[1].to_string(), &lines[1]],
    ] {
        let both = format!("a\n\n{}\n{}\n", lines[0], lines[1]);
        let both = Note::parse(both.as_bytes()).unwrap();
        assert_eq!(names(&both, std::slice::from_ref(&known_b)), wrong);
    }
}

#[test]
fn the_same_name_with_another_id_is_another_key() {
    let other = Signer::new("a", &[99; 32]).unwrap();
    let note = signed("a\n", &[signer("a")]);
    assert_eq!(names(&note, &[other.verifier().clone()]), Err(NoteError::Unverified));
}

#[test]
fn a_key_counts_once_however_often_it_signs() {
    let mut note = signed("a\n", &[signer("a"), signer("a")]);
    assert_eq!(note.signatures().len(), 1);
    let witness = cosigner("w");
    note.cosign(&witness, 1).unwrap();
    let first = note.signatures()[1].to_string();
    note.cosign(&witness, 2).unwrap();
    assert_eq!(note.signatures().len(), 2);
    let twice = format!("{note}{first}\n");
    let twice = Note::parse(twice.as_bytes()).unwrap();
    let known = [witness.verifier().clone(), witness.verifier().clone()];
    let verified = twice.verify(&known).unwrap();
    assert_eq!(verified.len(), 1);
    assert_eq!(verified[0].time, Some(2));
}

#[test]
fn a_cosignature_tells_its_time_and_signs_it() {
    let witness = cosigner("w");
    let known = [witness.verifier().clone()];
    for time in [0, 1_679_315_147, i64::MAX as u64] {
        let mut note = Note::new("o\n1\nr\n").unwrap();
        note.cosign(&witness, time).unwrap();
        assert_eq!(note.verify(&known).unwrap()[0].time, Some(time));
        let text = note.to_string();
        let (start, blob) = text.trim_end().rsplit_once(' ').unwrap();
        let bytes = from_base64(blob).unwrap();
        assert_eq!(bytes.len(), 4 + 8 + 64);
        for bit in (32..bytes.len() * 8).step_by(11) {
            let mut bent = bytes.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            let bent = format!("{start} {}\n", base64(&bent));
            let bent = Note::parse(bent.as_bytes()).unwrap().verify(&known);
            assert!(matches!(bent, Err(NoteError::WrongSignature { .. })), "bit {bit}");
        }
    }
    let mut note = Note::new("a\n").unwrap();
    assert_eq!(note.cosign(&witness, 1 << 63), Err(NoteError::Time));
}

#[test]
fn a_cosignature_is_no_signature_even_with_the_same_secret() {
    let (log, witness) = (signer("a"), Cosigner::new("a", &[1; 32]).unwrap());
    let (log_key, witness_key) = (log.verifier().clone(), witness.verifier().clone());
    let mut cosigned = Note::new("o\n1\nr\n").unwrap();
    cosigned.cosign(&witness, 5).unwrap();
    let signed = signed("o\n1\nr\n", &[log]);
    assert_eq!(signed.verify(&[witness_key]), Err(NoteError::Unverified));
    assert_eq!(cosigned.verify(&[log_key]), Err(NoteError::Unverified));
}

proptest! {
    #[test]
    fn every_note_is_read_as_it_was_written(text in "[ -~é\n]{0,60}\n", seeds: [[u8; 32]; 2]) {
        let mut note = Note::new(&text).unwrap();
        note.sign(&Signer::new("a", &seeds[0]).unwrap());
        note.cosign(&Cosigner::new("a", &seeds[1]).unwrap(), 7).unwrap();
        let read = Note::parse(note.to_string().as_bytes()).unwrap();
        prop_assert_eq!(read, note);
    }

    #[test]
    fn bytes_that_are_read_as_a_note_are_the_note(at in 0_usize..120, byte: u8) {
        let note = signed("some text\nof two lines\n", &[signer("a")]);
        let mut bytes = note.to_string().into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(read) = Note::parse(&bytes) {
            let known = [signer("a").verifier().clone()];
            prop_assert_eq!(read.to_string().into_bytes(), bytes);
            prop_assert_eq!(read.verify(&known).is_ok(), read == note);
        }
    }
}
