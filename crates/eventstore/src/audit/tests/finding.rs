//! Finding events by their ids.

use super::*;

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_sealed_event_is_found_by_its_id_and_by_its_tenant_alone(pool: PgPool) {
    let (store, _, trees) = sealed(&pool).await;
    for event in store.read(0, 1_000).await.expect("reads") {
        if event.position % 97 != 1 {
            continue;
        }
        let tenant = event.meta.tenant.as_uuid();
        let found = trees.position_of(tenant, event.id).await.expect("asks");
        assert_eq!(found, Some(event.position));
        let other = Uuid::from_u128(143 - tenant.as_u128());
        assert_eq!(trees.position_of(other, event.id).await.expect("asks"), None);
    }
    let tenant = Uuid::from_u128(71);
    assert_eq!(trees.position_of(tenant, Uuid::from_u128(9)).await.expect("asks"), None);
    append(&store, 71, 9, 0, 1).await;
    let unsealed = store.read(891, 1).await.expect("reads").remove(0).id;
    assert_eq!(trees.position_of(tenant, unsealed).await.expect("asks"), None, "not sealed yet");
}

/// Tiles that a release has begun, or gone on with, that noted no ids.
#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn events_of_tiles_without_ids_are_found_too(pool: PgPool) {
    let (store, notary, trees) = sealed(&pool).await;
    let forget = "UPDATE es.tile SET ids = NULL WHERE nth = 0;
         UPDATE es.tile SET ids = substr(ids, 1, octet_length(ids) - 4) WHERE nth > 0";
    tamper(&pool, forget).await;
    for position in [1, 300, 800, 884] {
        let event = store.read(position - 1, 1).await.expect("reads").remove(0);
        let found = trees.position_of(event.meta.tenant.as_uuid(), event.id).await.expect("asks");
        assert_eq!(found, Some(position));
    }
    append(&store, 71, 9, 0, 300).await;
    notary.seal(NOON).await.expect("goes on");
    for position in [1, 300, 800, 892, 1_191] {
        let event = store.read(position - 1, 1).await.expect("reads").remove(0);
        let tenant = event.meta.tenant.as_uuid();
        let found = trees.position_of(tenant, event.id).await.expect("asks");
        assert_eq!(found, Some(position));
    }
}
