//! Keys and their text form.

use proptest::prelude::*;

use super::super::{Cosigner, KeyError, Signer, Verifier};
use super::published::{ARCHE, ENOCH, PETER, REMORA, TESSERA};

#[test]
fn published_keys_are_read_and_written_as_they_are() {
    // The last but one has a plus in its base 64, the last is a witness's.
    for vkey in [PETER, ENOCH, TESSERA, ARCHE, PLUS, REMORA] {
        let verifier: Verifier = vkey.parse().unwrap();
        assert_eq!(verifier.to_string(), vkey);
        assert_eq!(verifier.is_cosigner(), vkey == REMORA);
        assert_eq!(verifier.name(), vkey.split_once('+').unwrap().0);
        assert_eq!(verifier.id().to_string(), vkey.split('+').nth(1).unwrap());
    }
}

/// From the tests of transparency-dev/formats.
const PLUS: &str = "TEST+7997405c+AQcC+FTVKf0jlTdHDY3rbevmnKxxPjigCXlVtGe6RIr6";

#[test]
fn no_part_of_a_key_is_a_key() {
    for start in 0..PETER.len() {
        for end in start..=PETER.len() {
            let part = &PETER[start..end];
            assert!(part == PETER || part.parse::<Verifier>().is_err(), "{part}");
        }
    }
}

#[test]
fn a_key_with_any_character_changed_is_refused() {
    for at in 0..PETER.len() {
        for other in ['a', 'B', '0', '+', '/', ' ', '\n', '\u{1}', '='] {
            let mut changed = PETER.to_owned();
            changed.replace_range(at..=at, &other.to_string());
            assert!(changed == PETER || changed.parse::<Verifier>().is_err(), "{changed}");
        }
    }
}

#[test]
fn the_reason_why_a_key_is_refused_is_told() {
    let read = |vkey: &str| vkey.parse::<Verifier>().unwrap_err();
    assert_eq!(read("name+12345678"), KeyError::Format);
    assert_eq!(read("name+12345678+THIS_IS_NOT_BASE64!"), KeyError::Format);
    assert_eq!(read("name+12345678+"), KeyError::Format);
    assert_eq!(read("name+12345678+AwEB"), KeyError::Type(3));
    assert_eq!(read("name+12345678+AQEB"), KeyError::PublicKey);
    assert_eq!(read(&PETER.replace("c74f20a3", "c74f20a4")), KeyError::Id);
    assert_eq!(read(&PETER.replace("c74f20a3", "C74F20A3")), KeyError::Id);
    assert_eq!(read(&PETER.replace("Peter", "Petra")), KeyError::Id);
    assert_eq!(read(&PETER.replace("Peter", "Peter ")), KeyError::Name("Peter Neumann".to_owned()));
}

#[test]
fn names_are_not_empty_and_have_no_spaces_or_pluses() {
    for name in ["", " ", "a b", "a+b", "+", "a\n", "a\t", "a\u{a0}b", "\u{2003}", "\u{1}"] {
        assert_eq!(Signer::new(name, &[1; 32]).unwrap_err(), KeyError::Name(name.to_owned()));
        assert_eq!(Cosigner::new(name, &[1; 32]).unwrap_err(), KeyError::Name(name.to_owned()));
    }
    for name in ["a", "example.com/log", "ü-\u{2014}", "a=b"] {
        assert_eq!(Signer::new(name, &[1; 32]).unwrap().verifier().name(), name);
    }
}

#[test]
fn a_name_has_another_id_as_a_witness() {
    let signer = Signer::new("example.com", &[7; 32]).unwrap();
    let cosigner = Cosigner::new("example.com", &[7; 32]).unwrap();
    assert_ne!(signer.verifier().id(), cosigner.verifier().id());
    assert_ne!(signer.verifier(), cosigner.verifier());
}

#[test]
fn secrets_do_not_show() {
    let seed = *b"0123456789abcdefghijklmnopqrstuv";
    let texts = [
        format!("{:?}", Signer::new("a", &seed).unwrap()),
        format!("{:#?}", Cosigner::new("a", &seed).unwrap()),
    ];
    for text in texts {
        for secret in [hex::encode(seed), format!("{seed:?}"), "48, 49, 50".to_owned()] {
            assert!(!text.contains(&secret), "{text}");
        }
        assert!(text.contains("igner(a+"), "{text}");
    }
}

#[test]
fn secrets_are_overwritten_when_they_are_dropped() {
    // The feature of the crate that does it must stay on.
    fn overwritten<T: zeroize::ZeroizeOnDrop>() {}
    overwritten::<ed25519_dalek::SigningKey>();
}

proptest! {
    #[test]
    fn every_key_is_read_as_it_was_written(name in "[a-z/.é]{1,20}", seed: [u8; 32]) {
        let signer = Signer::new(&name, &seed).unwrap();
        prop_assert_eq!(&signer.verifier().to_string().parse::<Verifier>().unwrap(), signer.verifier());
        let cosigner = Cosigner::new(&name, &seed).unwrap();
        let text = cosigner.verifier().to_string();
        prop_assert_eq!(&text.parse::<Verifier>().unwrap(), cosigner.verifier());
    }
}
