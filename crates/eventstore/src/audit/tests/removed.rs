//! What was signed and taken away, and what the notary was told to pass over.

use super::*;

/// The tree of the tenant that has most events.
const TREE: &str = "tree = '00000000-0000-0000-0000-000000000047'";
/// The installation's own.
const OWN: &str = "tree = (SELECT installation FROM es.notary)";
/// A change of an event that only the newest checkpoint of its tenant has.
const CHANGE: &str = "UPDATE es.event SET body = '{\"nth\":1}' WHERE position = 700;";

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn an_event_behind_a_checkpoint_that_was_deleted_is_found(pool: PgPool) {
    let (store, _, trees) = sealed(&pool).await;
    let newest = format!("{CHANGE} DELETE FROM es.checkpoint WHERE {TREE} AND size = 863");
    let found = after(&pool, &store, &trees, &newest).await;
    assert_eq!(found, Some(Finding::Uncovered { position: 285 }), "the first that none has");
    let newer = format!("{CHANGE} DELETE FROM es.checkpoint WHERE {TREE} AND size > 3");
    let found = after(&pool, &store, &trees, &newer).await;
    assert_eq!(found, Some(Finding::Uncovered { position: 11 }));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_tenant_whose_tree_is_gone_is_noticed(pool: PgPool) {
    let (store, _, trees) = sealed(&pool).await;
    let checkpoints = format!("{CHANGE} DELETE FROM es.checkpoint WHERE {TREE};");
    let tiles = format!("{checkpoints} DELETE FROM es.tile WHERE {TREE}");
    for gone in [checkpoints, tiles] {
        let found = after(&pool, &store, &trees, &gone).await;
        assert_eq!(found, Some(Finding::Uncovered { position: 1 }));
    }
    // Nor is there any event of it.
    let unsealed = "DELETE FROM es.checkpoint WHERE tree::text LIKE '%48';
         UPDATE es.event SET stream = id, tenant = '00000000-0000-0000-0000-000000000047'
         WHERE tenant::text LIKE '%48'";
    assert!(after(&pool, &store, &trees, unsealed).await.is_some());
    let all = format!("{CHANGE} DELETE FROM es.checkpoint; DELETE FROM es.tile");
    let found = after(&pool, &store, &trees, &all).await;
    assert_eq!(found, Some(Finding::Uncovered { position: 1 }));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn the_installations_own_tree_is_checked_like_any_other(pool: PgPool) {
    let (store, _, trees) = sealed(&pool).await;
    let flipped = format!(
        "UPDATE es.tile SET hashes = set_byte(hashes, 70, 255 - get_byte(hashes, 70)) WHERE {OWN}"
    );
    let found = after(&pool, &store, &trees, &flipped).await;
    assert_eq!(found, Some(Finding::Round { position: 267 }), "the third leaf");
    for garble in ["''", "note || note", "replace(note, E'\\n4\\n', E'\\n5\\n')"] {
        let garble = format!("UPDATE es.checkpoint SET note = {garble} WHERE {OWN}");
        let found = after(&pool, &store, &trees, &garble).await;
        assert!(matches!(found, Some(Finding::Garbled { .. })), "{garble}: {found:?}");
    }
    let other = format!(
        "UPDATE es.checkpoint SET note = replace(note, 'everstep', 'elsewhere')
         WHERE {OWN} AND size = 4"
    );
    let found = after(&pool, &store, &trees, &other).await;
    assert!(matches!(found, Some(Finding::Checkpoint { size: 4, .. })), "{found:?}");
    let gone = format!("DELETE FROM es.tile WHERE {OWN}; DELETE FROM es.checkpoint WHERE {OWN}");
    let found = after(&pool, &store, &trees, &gone).await;
    assert_eq!(found, Some(Finding::Round { position: 10 }));
    for (size, position) in [(2, 267), (4, 284), (8, 891)] {
        let gone = format!("DELETE FROM es.checkpoint WHERE {OWN} AND size = {size}");
        let found = after(&pool, &store, &trees, &gone).await;
        assert_eq!(found, Some(Finding::Round { position }), "without that of size {size}");
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_checkpoint_that_is_taken_out_of_the_middle_is_noticed(pool: PgPool) {
    let (store, _, trees) = sealed(&pool).await;
    for (size, position) in [(3, 10), (253, 267), (263, 284)] {
        let gone = format!("DELETE FROM es.checkpoint WHERE {TREE} AND size = {size}");
        let found = after(&pool, &store, &trees, &gone).await;
        assert_eq!(found, Some(Finding::Round { position }), "without that of size {size}");
    }
    // One that stands in the place of another would have hidden all that come after it.
    let doubled = format!(
        "UPDATE es.checkpoint SET note = (SELECT note FROM es.checkpoint WHERE {TREE} AND size = 3)
         WHERE {TREE} AND size = 253"
    );
    let found = after(&pool, &store, &trees, &doubled).await;
    assert!(matches!(found, Some(Finding::Garbled { .. })), "{found:?}");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn events_that_the_notary_was_told_to_pass_over_are_found(pool: PgPool) {
    let (store, notary, trees) = sealed(&pool).await;
    for (change, noted) in [("position + 1000", 1_891), ("position - 1", 890), ("0", 0)] {
        let set = format!("UPDATE es.notary SET position = {change}");
        let found = after(&pool, &store, &trees, &set).await;
        assert_eq!(found, Some(Finding::Progress { noted, last: 891 }), "{change}");
    }
    tamper(&pool, "UPDATE es.notary SET position = position + 3").await;
    append(&store, 71, 9, 0, 10).await;
    assert_eq!(notary.seal(NOON).await.expect("passes over three"), 7);
    let found = verify(store.clone(), &trees, Trust::default()).await.expect("checks").finding;
    assert_eq!(found, Some(Finding::Event { position: 892 }));
    let other = after(
        &pool,
        &store,
        &trees,
        "UPDATE es.event SET tenant = gen_random_uuid()
         WHERE position = 892",
    )
    .await;
    assert_eq!(other, Some(Finding::Uncovered { position: 892 }));
}

/// Neither by the role that seals nor by the owner.
#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_is_sealed_is_never_set_back_nor_past_the_log(pool: PgPool) {
    let (store, notary, _) = sealed(&pool).await;
    append(&store, 71, 9, 0, 2).await;
    for role in ["everstep_worker", "postgres"] {
        let mut db = pool.acquire().await.expect("connects");
        sqlx::raw_sql(AssertSqlSafe(format!("SET ROLE {role}"))).execute(&mut *db).await.unwrap();
        for change in [
            "UPDATE es.notary SET position = position + 1000",
            "UPDATE es.notary SET position = 894",
            "UPDATE es.notary SET position = position - 1",
            "UPDATE es.notary SET position = 0",
            "UPDATE es.notary SET installation = gen_random_uuid()",
            "DELETE FROM es.notary",
            "TRUNCATE es.notary",
        ] {
            let error = sqlx::query(change).execute(&mut *db).await.expect_err(change);
            let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
            assert_eq!(code.as_deref(), Some("42501"), "{role}: {change}: {error}");
        }
        sqlx::raw_sql("RESET ROLE").execute(&mut *db).await.unwrap();
    }
    assert_eq!(notary.seal(NOON).await.expect("goes on"), 2);
}

/// The notary adds to every tree while the trees are read.
#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_log_that_is_sealed_further_meanwhile_is_found_whole(pool: PgPool) {
    let (store, notary, trees) = sealed(&pool).await;
    let busy = async {
        for stream in 100..140 {
            append(&store, 71 + stream % 3, stream, 0, 40).await;
            notary.seal(NOON).await.expect("seals");
        }
    };
    let mut busy = std::pin::pin!(busy);
    let mut ended = false;
    while !ended {
        let checking = verify(store.clone(), &trees, Trust::default());
        let mut checking = std::pin::pin!(checking);
        let checked = loop {
            tokio::select! {
                checked = &mut checking => break checked.expect("checks"),
                () = &mut busy, if !ended => ended = true,
            }
        };
        assert_eq!(checked.finding, None);
        assert!(checked.events >= 891, "{checked:?}");
    }
}
