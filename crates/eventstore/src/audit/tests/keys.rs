//! Keys that follow one another, and the name of the installation.

use super::super::{followed, hand_over};
use super::*;
use crate::{NameError, name_deployment};

const NEXT: [u8; 32] = [10; 32];

fn word() -> String {
    hand_over("everstep", &Zeroizing::new(SEED), &Zeroizing::new(NEXT)).expect("is written")
}

/// A log whose key was replaced, and which has grown since.
async fn rotated(pool: &PgPool) -> (Arc<PgEventStore>, Trees) {
    let (store, old, trees) = sealed(pool).await;
    tell(pool, &NEXT, Some(&word())).await;
    let new = Notary::new(pool.clone(), store.clone(), Zeroizing::new(NEXT));
    let new = new.after(vec![Zeroizing::new(SEED)]);
    for stream in [11, 12, 13] {
        append(&store, 71, stream, 0, 5).await;
        let refused = old.seal(NOON).await;
        assert!(matches!(refused, Err(SealError::Replaced)), "{refused:?}");
        assert_eq!(new.seal(NOON).await.expect("seals"), 5);
    }
    (store, trees)
}

fn signers(note: &str) -> [bool; 2] {
    let note = Note::parse(note.as_bytes()).expect("parses");
    let origin = origin("everstep", Uuid::from_u128(71));
    [SEED, NEXT].map(|seed| note.is_signed_by(Signer::new(&origin, &seed).unwrap().verifier()))
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn where_a_key_was_replaced_both_have_signed(pool: PgPool) {
    let (store, trees) = rotated(&pool).await;
    let notes = trees.checkpoints(Uuid::from_u128(71), 0, 100).await.expect("reads");
    let signed: Vec<_> = notes.iter().map(|sealed| signers(&sealed.note)).collect();
    let (old, both, new) = ([true, false], [true, true], [false, true]);
    assert_eq!(signed, [old, old, old, old, both, new, new]);
    for keys in [&[][..], &[public(&SEED)]] {
        let checked = verify(store.clone(), &trees, pinned(keys)).await.expect("checks");
        assert_eq!((checked.finding, checked.unsealed), (None, 0));
    }
    let other =
        verify(store.clone(), &trees, pinned(&[public(&[3; 32])])).await.expect("checks").finding;
    assert!(matches!(other, Some(Finding::Checkpoint { .. })), "{other:?}");
}

/// However long a tree did not grow, the key that signed it last signs once more.
#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn without_the_former_key_nothing_is_signed(pool: PgPool) {
    let (store, _) = rotated(&pool).await;
    append(&store, 72, 14, 0, 1).await;
    let alone = Notary::new(pool.clone(), store.clone(), Zeroizing::new(NEXT));
    let refused = alone.seal(NOON).await;
    assert!(matches!(refused, Err(SealError::Log(crate::Error::Damaged(_)))), "{refused:?}");
}

/// Whoever has stolen a key that was replaced cannot sign with it alone any more.
#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_key_that_was_replaced_does_not_come_back(pool: PgPool) {
    let (store, trees) = rotated(&pool).await;
    let tenant = Uuid::from_u128(71);
    let sealed = trees.latest(tenant).await.expect("reads").expect("is there");
    let mut forged = Note::new(Note::parse(sealed.note.as_bytes()).unwrap().text()).unwrap();
    forged.sign(&Signer::new(&origin("everstep", tenant), &SEED).unwrap());
    let forge =
        format!("UPDATE es.checkpoint SET note = '{forged}' WHERE note = '{}'", sealed.note);
    let found = after(&pool, &store, &trees, &forge).await;
    let Some(Finding::Checkpoint { reason, .. }) = found else { panic!("{found:?}") };
    assert!(reason.contains("the key of the checkpoint before it"), "{reason}");
}

#[test]
fn a_key_follows_only_by_the_word_of_one_that_is_believed() {
    let (old, new) = (public(&SEED), public(&NEXT));
    assert_eq!(followed("everstep", &[old], &[word()]), [old, new]);
    assert_eq!(followed("everstep", &[new], &[word()]), [new], "nothing leads back");
    assert_eq!(followed("elsewhere", &[old], &[word()]), [old], "of another installation");
    let third = Zeroizing::new([11; 32]);
    let more = hand_over("everstep", &Zeroizing::new(NEXT), &third).expect("is written");
    let chain = [word(), more.clone()];
    assert_eq!(followed("everstep", &[old], &chain), [old, new, public(&third)]);
    assert_eq!(followed("everstep", &[old], &[more]), [old], "a link is missing");
}

#[test]
fn a_thief_cannot_name_himself() {
    let old = public(&SEED);
    let thief = Signer::new("everstep", &[3; 32]).unwrap();
    let lines: Vec<String> = word().lines().map(str::to_owned).collect();
    let mut own =
        Note::new(&format!("{}\n{}\n{}\n", lines[0], lines[1], thief.verifier())).unwrap();
    own.sign(&thief);
    assert_eq!(followed("everstep", &[old], &[own.to_string()]), [old], "signed by himself");
    let changed = word().replace(&lines[2], &thief.verifier().to_string());
    assert_eq!(followed("everstep", &[old], &[changed, String::new()]), [old], "a changed note");
    let mut other = Note::new(&format!("thanks\nto\n{}\n", thief.verifier())).unwrap();
    other.sign(&Signer::new("everstep", &SEED).unwrap());
    assert_eq!(followed("everstep", &[old], &[other.to_string()]), [old], "said of something else");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn an_installation_keeps_its_name_from_its_first_event_on(pool: PgPool) {
    for bad in ["", "Acme", "a b", "-a", "a/b", "a+b"] {
        let refused = name_deployment(&pool, bad).await;
        assert!(matches!(refused, Err(NameError::Form)), "{bad}: {refused:?}");
    }
    name_deployment(&pool, "acme.example").await.expect("is free");
    name_deployment(&pool, "acme-2.example").await.expect("is free still");
    let (store, _, trees) = sealed(&pool).await;
    let event = store.read(0, 1).await.expect("reads").remove(0);
    assert!(entry(&event).contains(r#""source":"/acme-2.example/"#), "{}", entry(&event));
    let note = trees.latest(Uuid::from_u128(71)).await.expect("reads").expect("is sealed").note;
    assert!(note.starts_with("acme-2.example/00000000"), "{note}");
    name_deployment(&pool, "acme-2.example").await.expect("is called so");
    let refused = name_deployment(&pool, "other").await.expect_err("is settled");
    assert!(matches!(&refused, NameError::Taken(name) if &**name == "acme-2.example"), "{refused}");
    assert_eq!(
        verify(store.clone(), &trees, Trust::default()).await.expect("checks").finding,
        None
    );
}
