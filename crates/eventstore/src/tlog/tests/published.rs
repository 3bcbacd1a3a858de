//! Notes and checkpoints that others have signed, and the keys to check them.

use super::super::encoding::from_base64;
use super::super::{Checkpoint, CheckpointError, Note, NoteError, Signer, Verifier};

/// The example of the documentation of golang.org/x/mod/sumdb/note.
pub(super) const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
/// The other key of that documentation.
pub(super) const ENOCH: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
/// The key of the test log of transparency-dev/tessera.
pub(super) const TESSERA: &str =
    "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx";
/// A certificate transparency log.
pub(super) const ARCHE: &str =
    "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f";
/// A witness.
pub(super) const REMORA: &str =
    "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2";

/// The example, signed with both keys.
const BOTH: &str = "If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=
";

/// A checkpoint of the test log of tessera: testdata/log/checkpoint.13 of commit 842b908e.
const THIRTEEN: &str = "example.com/log/testdata
13
av0kLH0VkkVDrTuZzBGIx7d9z5G1l/GlKz/nAV/8woQ=

— example.com/log/testdata M9e0liO8x8xfEOGmZVYODUjQajkEpjccPQ9EkG3yEEDet4K3BWE/DFRPH6H+b6gFFFaG5KS1bBmYS/xeZJs8lj+z+wM=
";

/// A checkpoint as it was served, with cosignatures; the first line is of a type unknown here.
const WITNESSED: &str = "arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
";

fn key(vkey: &str) -> Verifier {
    vkey.parse().unwrap()
}

/// A secret key as Go's notes write it, behind `PRIVATE+KEY+name+id+`.
fn signer(name: &str, secret: &str) -> Signer {
    let secret = from_base64(secret).unwrap();
    Signer::new(name, secret[1..].try_into().unwrap()).unwrap()
}

#[test]
fn the_example_of_signed_notes_is_signed_to_the_letter() {
    let peter = signer("PeterNeumann", "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz");
    assert_eq!(*peter.verifier(), key(PETER));
    let (text, _) = BOTH.split_once("\n\n").unwrap();
    let mut note = Note::new(&format!("{text}\n")).unwrap();
    note.sign(&peter);
    let (one, _) = BOTH.split_once("— Enoch").unwrap();
    assert_eq!(note.to_string(), one);
}

#[test]
fn the_example_of_signed_notes_is_good() {
    let note = Note::parse(BOTH.as_bytes()).unwrap();
    assert_eq!(note.to_string(), BOTH);
    let names = |known: &[Verifier]| {
        let verified = note.verify(known)?;
        Ok(verified.into_iter().map(|one| one.name).collect::<Vec<_>>())
    };
    assert_eq!(names(&[key(PETER)]).unwrap(), ["PeterNeumann"]);
    assert_eq!(names(&[key(ENOCH), key(PETER)]).unwrap(), ["PeterNeumann", "EnochRoot"]);
    assert_eq!(names(&[key(TESSERA)]), Err(NoteError::Unverified));
    let changed = BOTH.replace("cryptography", "cryptographY");
    let wrong = Note::parse(changed.as_bytes()).unwrap().verify(&[key(ENOCH)]).unwrap_err();
    assert_eq!(wrong.to_string(), "the signature of key EnochRoot+af0cfe78 is wrong");
}

#[test]
fn the_note_of_the_specification_is_a_note() {
    let text = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito \
                sera.\n";
    let note = format!(
        "{text}\n— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9o\
         JKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
    );
    let read = Note::parse(note.as_bytes()).unwrap();
    assert_eq!(read.text(), text);
    assert_eq!(read.signatures().len(), 1);
    assert_eq!(read.signatures()[0].name(), "quasimodo.example/salvatore");
    assert_eq!(read.signatures()[0].key_id().to_string(), "367ba04b");
    assert_eq!(read.to_string(), note);
}

#[test]
fn a_checkpoint_of_tessera_is_opened_and_signed_to_the_letter() {
    let tessera =
        signer("example.com/log/testdata", "AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg");
    let note = Note::parse(THIRTEEN.as_bytes()).unwrap();
    let opened = Checkpoint::open(&note, "example.com/log/testdata", &[key(TESSERA)]).unwrap();
    assert_eq!(opened.checkpoint.head().size, 13);
    assert_eq!(opened.checkpoint.sign(&tessera).unwrap().to_string(), THIRTEEN);
}

#[test]
fn a_real_checkpoint_is_opened_with_the_cosignature_of_a_witness() {
    let origin = "arche2025h1.staging.ct.transparency.dev";
    let note = Note::parse(WITNESSED.as_bytes()).unwrap();
    assert_eq!(note.to_string(), WITNESSED);
    let opened = Checkpoint::open(&note, origin, &[key(REMORA), key(ARCHE)]).unwrap();
    assert_eq!(opened.checkpoint.head().size, 1_432_088_532);
    let times: Vec<_> = opened.signatures.iter().map(|one| (&*one.name, one.time)).collect();
    assert_eq!(times, [(origin, None), ("remora.n621.de", Some(1_779_573_024))]);
    assert_eq!(
        Checkpoint::open(&note, origin, &[key(REMORA)]),
        Err(CheckpointError::OnlyWitnesses)
    );
    let later = WITNESSED.replace("2net5wAAAABqEiEg", "2net5wAAAABqEiEh");
    let later = Note::parse(later.as_bytes()).unwrap().verify(&[key(REMORA)]);
    assert!(matches!(later, Err(NoteError::WrongSignature { .. })));
}
