//! What an auditor kept, against a history that was signed anew.

use super::*;
use crate::tlog::TreeHead;

const TENANT: Uuid = Uuid::from_u128(71);

async fn found(store: &Arc<PgEventStore>, trees: &Trees, since: &[Note]) -> Option<Finding> {
    let keys = [public(&SEED)];
    let trust = Trust { keys: &keys, since, ..Trust::default() };
    verify(store.clone(), trees, trust).await.expect("checks").finding
}

async fn notes(trees: &Trees, tree: Uuid) -> Vec<Note> {
    let kept = trees.checkpoints(tree, 0, 100).await.expect("reads");
    kept.iter().map(|sealed| Note::parse(sealed.note.as_bytes()).expect("parses")).collect()
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_log_that_only_grew_continues_all_that_was_kept(pool: PgPool) {
    let (store, notary, trees) = sealed(&pool).await;
    let own: Uuid =
        sqlx::query_scalar("SELECT installation FROM es.notary").fetch_one(&pool).await.unwrap();
    let kept = [notes(&trees, TENANT).await, notes(&trees, own).await].concat();
    assert_eq!(found(&store, &trees, &kept).await, None, "of the same size");
    append(&store, 71, 9, 0, 300).await;
    notary.seal(NOON).await.expect("seals");
    assert_eq!(found(&store, &trees, &kept).await, None, "of a smaller size");
}

/// Nothing in the database tells: whoever did it had the database and the key.
#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_history_that_was_signed_anew_does_not_continue_what_was_kept(pool: PgPool) {
    let (store, notary, trees) = sealed(&pool).await;
    let kept = notes(&trees, TENANT).await;
    let anew = "DELETE FROM es.tile; DELETE FROM es.checkpoint; UPDATE es.notary SET position = 0;
         UPDATE es.event SET body = '{\"nth\":1}' WHERE position = 300";
    tamper(&pool, anew).await;
    let shrunk = found(&store, &trees, &kept).await;
    assert!(matches!(shrunk, Some(Finding::Discontinued { size: 3, .. })), "{shrunk:?}");
    assert_eq!(notary.seal(NOON).await.expect("signs all again"), 891);
    assert_eq!(found(&store, &trees, &[]).await, None, "it is whole in itself");
    assert_eq!(found(&store, &trees, &kept[..1]).await, None, "so far nothing was changed");
    let forked = found(&store, &trees, &kept).await;
    let Some(Finding::Discontinued { origin, size, .. }) = forked else { panic!("{forked:?}") };
    assert_eq!((origin, size), (super::origin("everstep", TENANT), 863));
    append(&store, 71, 9, 0, 5).await;
    notary.seal(NOON).await.expect("seals");
    let forked = found(&store, &trees, &kept[3..]).await;
    assert!(matches!(forked, Some(Finding::Discontinued { size: 863, .. })), "{forked:?}");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn only_checkpoints_that_this_log_signed_can_be_continued(pool: PgPool) {
    let (store, _, trees) = sealed(&pool).await;
    let head = trees.latest(TENANT).await.expect("reads").expect("is there").head;
    let signed = |origin: &str, size: u64, seed: &[u8; 32]| {
        let checkpoint = Checkpoint::new(origin, TreeHead { size, ..head }).unwrap();
        checkpoint.sign(&Signer::new(origin, seed).unwrap()).unwrap()
    };
    let own = origin("everstep", TENANT);
    assert_eq!(found(&store, &trees, &[signed(&own, 863, &SEED)]).await, None);
    let mut text = Note::new("no checkpoint\n").unwrap();
    text.sign(&Signer::new(&own, &SEED).unwrap());
    for other in [
        signed(&own, 864, &SEED),
        signed(&own, 0, &SEED),
        signed(&own, 863, &[3; 32]),
        signed(&origin("elsewhere", TENANT), 863, &SEED),
        signed(&origin("everstep", Uuid::from_u128(73)), 863, &SEED),
        text,
    ] {
        let found = found(&store, &trees, &[other]).await;
        assert!(matches!(found, Some(Finding::Discontinued { .. })), "{found:?}");
    }
}
