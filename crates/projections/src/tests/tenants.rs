//! Tenants are apart, whatever a query asks for.

use eventstore::{Role, connect};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, PgPool};

use super::story::{Story, tenant};
use crate::{Course, Paging, Projector, Reader, agents, all_views, executions, verify};

async fn as_role(role: Role, options: &PgConnectOptions) -> PgPool {
    connect(options.to_url_lossy().as_str(), role, 3).await.expect("connects")
}

/// How many rows a connection sees in a table.
async fn count(db: &mut sqlx::PgConnection, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM rm.{table}");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(db).await.expect("counts")
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_reader_sees_its_tenants_rows_and_nobody_elses(
    pool_options: PgPoolOptions,
    options: PgConnectOptions,
) {
    let owner = pool_options.connect_with(options.clone()).await.expect("connects");
    let story = Story::new();
    story.tell_everything().await;
    story.of(2).tell_everything().await;
    let worker = as_role(Role::Worker, &options).await;
    Projector::new(worker.clone(), story.log.clone()).catch_up().await.expect("folds");

    let query = as_role(Role::Query, &options).await;
    for table in all_views().iter().flat_map(|view| view.tables()) {
        let all = count(&mut owner.acquire().await.expect("connects"), table.name).await;
        assert!(all > 1, "both tenants have rows in {}", table.name);
        let mut reader = Reader::begin(&query, story.tenant).await.expect("begins");
        assert_eq!(count(reader.parts().0, table.name).await * 2, all, "{}", table.name);
        let mut foreign = Reader::begin(&query, tenant(9)).await.expect("begins");
        assert_eq!(count(foreign.parts().0, table.name).await, 0, "{}", table.name);
        drop((reader, foreign));
        let mut nobody = query.acquire().await.expect("connects");
        assert_eq!(count(&mut nobody, table.name).await, 0, "no tenant is set: {}", table.name);
    }
    for pool in [owner, worker, query] {
        pool.close().await;
    }
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_worker_that_is_several_batches_behind_catches_up_with_the_rights_it_has(
    pool_options: PgPoolOptions,
    options: PgConnectOptions,
) {
    let owner = pool_options.connect_with(options.clone()).await.expect("connects");
    let story = Story::new();
    for nth in 1..=600 {
        story.tell_execution(nth).await;
    }
    assert!(story.log.head().await.expect("ends") > 2 * 1_000, "more than two batches");
    let worker = as_role(Role::Worker, &options).await;
    Projector::new(worker.clone(), story.log.clone()).catch_up().await.expect("folds");
    let course = Course { build: "this one", rate: None, progress: &|_| {} };
    let report = verify(&owner, story.log.clone(), &[""; 0], &course).await.expect("verifies");
    assert!(report.is_identical(), "{report:?}");
    for pool in [owner, worker] {
        pool.close().await;
    }
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_foreign_id_answers_like_an_unknown_one(
    pool_options: PgPoolOptions,
    options: PgConnectOptions,
) {
    let owner = pool_options.connect_with(options.clone()).await.expect("connects");
    let story = Story::new();
    story.tell_everything().await;
    story.fold(&owner).await;
    let query = as_role(Role::Query, &options).await;
    let mut own = Reader::begin(&query, story.tenant).await.expect("begins");
    let every = executions::Filter::default();
    let page = executions::list(&mut own, &every, Paging::new(1, None)).await;
    let first = page.expect("lists").items.remove(0);
    assert!(executions::get(&mut own, first.id).await.expect("reads").is_some());
    drop(own);
    let mut foreign = Reader::begin(&query, tenant(2)).await.expect("begins");
    assert_eq!(executions::get(&mut foreign, first.id).await.expect("reads"), None);
    let page = agents::list(&mut foreign, Paging::new(200, None)).await.expect("lists");
    assert_eq!(page.items, []);
    drop(foreign);
    for pool in [owner, query] {
        pool.close().await;
    }
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_reader_changes_nothing(pool_options: PgPoolOptions, options: PgConnectOptions) {
    let query = as_role(Role::Query, &options).await;
    for table in all_views().iter().flat_map(|view| view.tables()) {
        let mut tx = query.begin_with("BEGIN READ WRITE").await.expect("begins");
        let sql = format!("DELETE FROM rm.{}", table.name);
        let refused = sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await;
        tx.rollback().await.expect("rolls back");
        let refused = refused.expect_err("it is refused").to_string();
        assert!(refused.contains("permission denied"), "{refused}");
    }
    query.close().await;
    drop(pool_options);
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn every_table_with_a_tenant_is_protected(pool: PgPool) {
    let open: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c
         WHERE c.relnamespace = 'rm'::regnamespace AND c.relkind = 'r' AND c.relname <> 'projection'
             AND NOT (c.relrowsecurity AND c.relforcerowsecurity
                 AND (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid) = 2)",
    )
    .fetch_all(&pool)
    .await
    .expect("reads");
    assert_eq!(open, [""; 0]);
    let known: i64 =
        all_views().iter().map(|view| i64::try_from(view.tables().len()).expect("few")).sum();
    let there: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_class
         WHERE relnamespace = 'rm'::regnamespace AND relkind = 'r' AND relname <> 'projection'",
    )
    .fetch_one(&pool)
    .await
    .expect("reads");
    assert_eq!(there, known, "every table belongs to a view");
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn an_owner_who_is_no_superuser_can_replay(
    pool_options: PgPoolOptions,
    options: PgConnectOptions,
) {
    let superuser = pool_options.connect_with(options.clone()).await.expect("connects");
    let story = Story::new();
    story.tell_everything().await;
    story.fold(&superuser).await;
    let name: String = sqlx::query_scalar("SELECT current_database()::text")
        .fetch_one(&superuser)
        .await
        .expect("reads");
    let role = format!("owner_of_{}", name.rsplit('_').next().unwrap_or_default());
    let give = format!(
        "DROP ROLE IF EXISTS {role}; -- of a test run that was killed
         CREATE ROLE {role};
         GRANT everstep_command, everstep_query, everstep_worker TO {role};
         GRANT CREATE ON DATABASE \"{name}\" TO {role};
         DO $$ DECLARE t text; BEGIN
             ALTER SCHEMA rm OWNER TO {role};
             ALTER FUNCTION rm.protect OWNER TO {role};
             FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'rm' LOOP
                 EXECUTE format('ALTER TABLE rm.%I OWNER TO {role}', t);
             END LOOP;
         END $$"
    );
    sqlx::raw_sql(AssertSqlSafe(give)).execute(&superuser).await.expect("gives");
    let become_owner = format!("SET ROLE {role}");
    let owner = PgPoolOptions::new()
        .max_connections(2)
        .after_connect(move |db, _| {
            let sql = AssertSqlSafe(become_owner.clone());
            Box::pin(async move { sqlx::raw_sql(sql).execute(db).await.map(drop) })
        })
        .connect_with(options)
        .await
        .expect("connects");
    let course = Course { build: "this one", rate: None, progress: &|_| {} };
    let report = verify(&owner, story.log.clone(), &[""; 0], &course).await.expect("verifies");
    assert!(report.is_identical(), "{report:?}");
    assert!(report.views.iter().all(|view| view.rows > 0), "{report:?}");
    crate::rebuild(&owner, story.log.clone(), &[""; 0], &course).await.expect("rebuilds");
    owner.close().await;
    let take = format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}");
    sqlx::raw_sql(AssertSqlSafe(take)).execute(&superuser).await.expect("takes");
    superuser.close().await;
}
