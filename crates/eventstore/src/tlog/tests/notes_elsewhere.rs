//! Notes, against the crate `signed_note`.

use proptest::prelude::*;
use signed_note::{
    Note as TheirNote, StandardSigner, StandardVerifier, Verifier as _, VerifierList,
};

use super::super::encoding::base64;
use super::super::{Note, Signer, Verifier};

/// A secret key of that name and seed, as they read it.
fn theirs(ours: &Signer, seed: &[u8; 32]) -> StandardSigner {
    let (name, id) = (ours.verifier().name(), ours.verifier().id());
    let key = base64(&[[1].as_slice(), seed].concat());
    StandardSigner::new(&format!("PRIVATE+KEY+{name}+{id}+{key}")).unwrap()
}

fn known(vkey: &str) -> VerifierList {
    VerifierList::new(vec![Box::new(StandardVerifier::new(vkey).unwrap())])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_sign_to_the_letter_alike_and_believe_each_other(
        text in "[ -~é\n]{0,60}\n", name in "[a-z/.]{1,20}", seed: [u8; 32],
    ) {
        let signer = Signer::new(&name, &seed).unwrap();
        let mut ours = Note::new(&text).unwrap();
        ours.sign(&signer);
        let mut other = TheirNote::new(text.as_bytes(), &[]).unwrap();
        other.add_sigs(&[&theirs(&signer, &seed)]).unwrap();
        prop_assert_eq!(other.to_bytes(), ours.to_string().into_bytes());

        let vkey = signer.verifier().to_string();
        let read = TheirNote::from_bytes(ours.to_string().as_bytes()).unwrap();
        prop_assert!(read.verify(&known(&vkey)).is_ok());
        let read = Note::parse(&other.to_bytes()).unwrap();
        prop_assert!(read.verify(&[vkey.parse().unwrap()]).is_ok());
    }

    #[test]
    fn both_take_the_same_bytes_for_a_note(at: prop::sample::Index, with in "[ -~\n—+]{0,3}") {
        let signer = Signer::new("a", &[7; 32]).unwrap();
        let mut note = Note::new("some\n\ntext\n").unwrap();
        note.sign(&signer);
        let chars: Vec<_> = note.to_string().chars().collect();
        let at = at.index(chars.len());
        let changed: String = chars[..at].iter().collect::<String>()
            + &with
            + &chars[at + 1..].iter().collect::<String>();
        let vkey = signer.verifier().to_string();
        let theirs = TheirNote::from_bytes(changed.as_bytes())
            .is_ok_and(|note| note.verify(&known(&vkey)).is_ok());
        let ours = Note::parse(changed.as_bytes())
            .is_ok_and(|note| note.verify(&[vkey.parse().unwrap()]).is_ok());
        prop_assert_eq!(ours, theirs, "{}", changed);
    }

    #[test]
    fn both_read_the_same_keys(at: prop::sample::Index, with in "[ -~]{0,3}") {
        let vkey = Signer::new("a.b/c", &[9; 32]).unwrap().verifier().to_string();
        let at = at.index(vkey.len());
        let changed = format!("{}{with}{}", &vkey[..at], &vkey[at + 1..]);
        let ours = changed.parse::<Verifier>();
        let theirs = StandardVerifier::new(&changed);
        // They also take the id in capitals.
        if let Ok(ours) = &ours {
            prop_assert_eq!(ours.name(), theirs.as_ref().unwrap().name());
        } else if theirs.is_ok() {
            prop_assert!(changed.bytes().any(|byte| byte.is_ascii_uppercase()));
        }
    }
}
