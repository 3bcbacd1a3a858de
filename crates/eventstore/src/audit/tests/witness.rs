//! Witnesses: what they cosign, what they refuse, and what their word is worth.

use super::super::{CosignatureError, Witness, WitnessError, keep_cosignature};
use super::*;
use crate::tlog::{Cosigner, Hash, TreeHead, Verifier, WitnessRequest, WitnessRequestError};

const TENANT: Uuid = Uuid::from_u128(71);

fn name() -> String {
    origin("everstep", TENANT)
}

fn log_key() -> Verifier {
    Signer::new(&name(), &SEED).unwrap().verifier().clone()
}

/// A witness that keeps what it knows in the same database, as any installation could.
fn witness(pool: &PgPool, seed: u8) -> Witness {
    Witness::new(pool.clone(), Cosigner::new("other.example/witness", &[seed; 32]).unwrap())
}

async fn asked(trees: &Trees, old: u64) -> WitnessRequest {
    let request = trees.request(TENANT, old).await.expect("reads").expect("is sealed");
    // As it comes in: text.
    WitnessRequest::parse(request.to_string().as_bytes()).expect("parses")
}

async fn known(witness: &Witness) -> Option<u64> {
    witness.logs().await.expect("reads").first().map(|log| log.size)
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_witness_cosigns_what_follows_from_what_it_knows(pool: PgPool) {
    let (store, notary, trees) = sealed(&pool).await;
    let witness = witness(&pool, 20);
    let first = asked(&trees, 0).await;
    let refused = witness.cosign(&first, &[], NOON).await;
    assert!(matches!(refused, Err(WitnessError::UnknownLog(_))), "{refused:?}");
    assert_eq!(known(&witness).await, None);
    let note = witness.cosign(&first, &[log_key()], NOON).await.expect("cosigns");
    let both = [log_key(), witness.key().clone()];
    let opened = Checkpoint::open(&note, &name(), &both).expect("is signed");
    let times: Vec<_> = opened.signatures.iter().map(|signature| signature.time).collect();
    assert_eq!(times, [None, u64::try_from(NOON.timestamp()).ok()]);

    append(&store, 71, 9, 0, 5).await;
    notary.seal(NOON).await.expect("seals");
    for _ in 0..2 {
        // Asked again, it says the same: the answer may have been lost.
        let old = known(&witness).await.expect("is known");
        witness.cosign(&asked(&trees, old).await, &[], NOON).await.expect("cosigns");
        assert_eq!(known(&witness).await, Some(868));
    }
    let behind = witness.cosign(&asked(&trees, 863).await, &[], NOON).await;
    assert!(matches!(behind, Err(WitnessError::Elsewhere { known: 868, .. })), "{behind:?}");
    assert_eq!(trees.request(TENANT, 869).await.expect("reads"), None);
}

/// Another history, signed by the log's own key: what witnesses are there for.
#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_fork_is_refused_however_it_is_shown(pool: PgPool) {
    let (store, notary, trees) = sealed(&pool).await;
    let witness = witness(&pool, 20);
    witness.cosign(&asked(&trees, 0).await, &[log_key()], NOON).await.expect("cosigns");
    // The same length, another root; longer, with the proof of the true one, of the forged one, and
    // none; and shorter.
    append(&store, 71, 9, 0, 5).await;
    notary.seal(NOON).await.expect("seals");
    let honest = asked(&trees, 863).await;
    let signer = Signer::new(&name(), &SEED).unwrap();
    let forged = |size: u64, proof: Vec<Hash>| {
        let head = TreeHead { size, root: leaf(b"another history") };
        let checkpoint = Checkpoint::new(&name(), head).unwrap().sign(&signer).unwrap();
        WitnessRequest { old: 863, proof, checkpoint }
    };
    let cut = WitnessRequest { proof: vec![], ..honest.clone() };
    let forks = [
        forged(863, vec![]),
        forged(868, honest.proof.clone()),
        forged(868, vec![]),
        forged(862, vec![]),
        cut,
    ];
    for fork in forks {
        let refused = witness.cosign(&fork, &[], NOON).await;
        assert!(matches!(refused, Err(WitnessError::Forked { .. })), "{refused:?}");
        assert_eq!(known(&witness).await, Some(863), "nothing was remembered");
    }
    let restart = WitnessRequest { old: 0, ..forged(900, vec![]) };
    let refused = witness.cosign(&restart, &[], NOON).await;
    assert!(matches!(refused, Err(WitnessError::Elsewhere { known: 863, .. })), "{refused:?}");
    witness.cosign(&honest, &[], NOON).await.expect("the true one goes on");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_witness_believes_only_the_keys_it_was_told(pool: PgPool) {
    let (_, _, trees) = sealed(&pool).await;
    let witness = witness(&pool, 20);
    let request = asked(&trees, 0).await;
    let key = |name: &str, seed: u8| Signer::new(name, &[seed; 32]).unwrap().verifier().clone();
    let other = witness.cosign(&request, &[key("elsewhere/log", 9)], NOON).await;
    assert!(matches!(other, Err(WitnessError::OtherKey { .. })), "{other:?}");
    let wrong = witness.cosign(&request, &[key(&name(), 3)], NOON).await;
    assert!(matches!(wrong, Err(WitnessError::Checkpoint(_))), "{wrong:?}");
    assert_eq!(known(&witness).await, None);
    let cosigner = witness.key().clone();
    let own = witness.cosign(&request, &[cosigner], NOON).await;
    assert!(matches!(own, Err(WitnessError::OtherKey { .. })), "{own:?}");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn not_even_the_owner_can_make_a_witness_forget(pool: PgPool) {
    let (_, _, trees) = sealed(&pool).await;
    let witness = witness(&pool, 20);
    let note = witness.cosign(&asked(&trees, 0).await, &[log_key()], NOON).await.expect("cosigns");
    keep_cosignature(&pool, &note, witness.key()).await.expect("keeps");
    for change in [
        "UPDATE es.witnessed SET size = size - 1",
        "UPDATE es.witnessed SET root = decode(repeat('01', 32), 'hex')",
        "UPDATE es.witnessed SET origin = 'x', size = size + 1",
        "DELETE FROM es.witnessed",
        "TRUNCATE es.witnessed",
        "UPDATE es.cosignature SET line = ''",
        "DELETE FROM es.cosignature",
        "TRUNCATE es.cosignature",
        "UPDATE es.tile SET ids = substr(ids, 2) WHERE level = 0",
    ] {
        let error = sqlx::query(change).execute(&pool).await.expect_err(change);
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        assert_eq!(code.as_deref(), Some("42501"), "{change}: {error}");
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_cosignature_is_kept_if_it_is_good_and_of_this_log(pool: PgPool) {
    let (_, _, trees) = sealed(&pool).await;
    let (one, two) = (witness(&pool, 20), witness(&pool, 21));
    let note = one.cosign(&asked(&trees, 0).await, &[log_key()], NOON).await.expect("cosigns");
    let unsigned = keep_cosignature(&pool, &note, two.key()).await;
    assert!(matches!(unsigned, Err(CosignatureError::Unsigned(_))), "{unsigned:?}");
    let no_witness = keep_cosignature(&pool, &note, &log_key()).await;
    assert!(matches!(no_witness, Err(CosignatureError::NoWitness(_))), "{no_witness:?}");
    let cosigner = Cosigner::new("other.example/witness", &[20; 32]).unwrap();
    for (origin, root) in [(name(), leaf(b"x")), ("everstep/x".to_owned(), leaf(b"x"))] {
        let head = TreeHead { size: 863, root };
        let checkpoint = Checkpoint::new(&origin, head).unwrap();
        let mut other = Note::new(&checkpoint.to_string()).unwrap();
        other.cosign(&cosigner, 1).unwrap();
        let refused = keep_cosignature(&pool, &other, one.key()).await;
        assert!(matches!(refused, Err(CosignatureError::OtherLog { .. })), "{refused:?}");
    }
    for _ in 0..2 {
        assert_eq!(keep_cosignature(&pool, &note, one.key()).await.expect("keeps"), 863);
    }
    let shown = trees.latest(TENANT).await.expect("reads").expect("is there").note;
    assert_eq!(shown, note.to_string(), "the checkpoint is shown with it");
    assert_eq!(trees.cosigned(TENANT, one.key()).await.expect("reads").expect("is").note, shown);
    assert_eq!(trees.cosigned(TENANT, two.key()).await.expect("reads"), None);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_check_can_ask_for_the_word_of_a_witness(pool: PgPool) {
    let (store, _, trees) = sealed(&pool).await;
    let (one, two) = (witness(&pool, 20), witness(&pool, 21));
    let check = async |witnesses: &[&Witness]| {
        let keys: Vec<_> = witnesses.iter().map(|witness| witness.key().clone()).collect();
        let trust = Trust { witnesses: &keys, ..Trust::default() };
        verify(store.clone(), &trees, trust).await.expect("checks").finding
    };
    assert_eq!(check(&[]).await, None);
    assert!(matches!(check(&[&one]).await, Some(Finding::Unwitnessed { .. })));
    for tenant in [71, 72].map(Uuid::from_u128) {
        let request = trees.request(tenant, 0).await.expect("reads").expect("is sealed");
        let key = Signer::new(&origin("everstep", tenant), &SEED).unwrap().verifier().clone();
        let note = one.cosign(&request, &[key], NOON).await.expect("cosigns");
        assert!(check(&[&one]).await.is_some(), "not all tenants' are cosigned");
        keep_cosignature(&pool, &note, one.key()).await.expect("keeps");
    }
    assert_eq!(check(&[&one]).await, None);
    assert!(matches!(check(&[&one, &two]).await, Some(Finding::Unwitnessed { .. })));
    let other = "UPDATE es.cosignature SET line =
         (SELECT line FROM es.cosignature WHERE tree::text LIKE '%48')";
    tamper(&pool, other).await;
    let forged = check(&[&one]).await;
    assert!(matches!(forged, Some(Finding::Checkpoint { .. })), "another's word: {forged:?}");
}

#[test]
fn a_request_is_read_as_it_is_written_and_nothing_else_is() {
    let head = TreeHead { size: 7, root: leaf(b"a") };
    let signer = Signer::new("log", &SEED).unwrap();
    let checkpoint = Checkpoint::new("log", head).unwrap().sign(&signer).unwrap();
    let request = WitnessRequest { old: 3, proof: vec![leaf(b"b"), leaf(b"c")], checkpoint };
    let text = request.to_string();
    assert_eq!(WitnessRequest::parse(text.as_bytes()).as_ref(), Ok(&request));
    assert!(text.starts_with("old 3\n"), "{text}");
    let many = format!("{}\n", leaf(b"b")).repeat(63);
    let bad = [
        text.replace("old 3", "old 03"),
        text.replace("old 3", "new 3"),
        text.replace("old 3\n", "old 3\nx\n"),
        text.replacen("old 3\n", &format!("old 3\n{many}"), 1),
        String::new(),
        "old 3\n\n".to_owned(),
    ];
    for bad in bad {
        WitnessRequest::parse(bad.as_bytes()).expect_err(&bad);
    }
    let huge = WitnessRequest::parse(&vec![b'x'; 3 << 20]);
    assert_eq!(huge, Err(WitnessRequestError::Format));
}
