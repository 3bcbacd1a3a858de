//! What an auditor kept, against the log as it is now.

use super::*;

impl Audit {
    fn since(&self, kept: &[&Path]) -> Ended {
        let since = kept.iter().flat_map(|path| ["--since", text(path)]);
        let args = ["audit", "verify", "--live", "--database-url", &self.url, "--key", &self.key];
        run(&args.into_iter().chain(since).collect::<Vec<_>>())
    }
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_history_that_was_made_anew_is_found_by_what_was_kept(pool: PgPool) {
    let audit = sealed(&pool).await;
    let tenant = TENANT.to_string();
    let printed =
        run(&["audit", "checkpoint", "--tenant", &tenant, "--database-url", &audit.url]).expect(0);
    let kept = audit.files.path().join("kept");
    fs::write(&kept, &printed.out).unwrap();
    let archive = audit.archive("kept.tar.zst");
    let told = audit.since(&[&kept, &archive, &audit.bundle]).expect(0).out;
    assert!(told.contains("it continues 3 kept checkpoints"), "{told}");
    audit.since(&[Path::new("/nowhere")]).expect(1);
    run(&["audit", "verify", text(&audit.bundle), "--since", text(&kept)]).expect(2);

    let mut db = pool.acquire().await.unwrap();
    for statement in [
        "SET session_replication_role = replica",
        "DELETE FROM es.tile",
        "DELETE FROM es.checkpoint",
        "UPDATE es.notary SET position = 0",
        "UPDATE es.event SET id = gen_random_uuid() WHERE position = 417",
        "RESET session_replication_role",
    ] {
        sqlx::query(statement).execute(&mut *db).await.unwrap();
    }
    let log = Arc::new(PgEventStore::new(pool.clone()));
    let now = DateTime::from_timestamp(1_700_000_001, 0).unwrap();
    Notary::new(pool.clone(), log, Zeroizing::new(SEED)).seal(now).await.unwrap();
    audit.since(&[]).expect(0);
    for kept in [&kept, &archive, &audit.bundle] {
        let ended = audit.since(&[kept]).expect(8);
        assert!(ended.err.contains("is not a continuation of"), "{ended:?}");
        assert!(ended.err.contains(&tenant) && ended.err.contains("at size 600"), "{ended:?}");
    }
}
