//! Rebuilding while others read and write, and going back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use domain::api_key::{self, Access, ApiKey};
use eventstore::PgEventStore;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::sync::oneshot;

use super::story::{Story, bytes, id, standing, wipe};
use crate::{
    Course, Error, Paging, Projector, Reader, all_views, api_keys, as_of, discard, rebuild,
    roll_back, verify, wait_for,
};

const ALL: &[&str] = &[];

fn course() -> Course<'static> {
    Course { build: "this one", rate: None, progress: &|_| {} }
}

async fn told(pool: &PgPool) -> Story {
    let story = Story::new();
    story.tell_everything().await;
    story.of(2).tell_everything().await;
    story.fold(pool).await;
    story
}

async fn issue(story: &Story, nth: u128) {
    let name = format!("key {nth}");
    let issued = api_key::Event::Created { name, digest: String::new(), access: Access::Read };
    story.tell(id::<ApiKey>(nth), [issued]).await;
}

/// Everything that the catalog says about the tables of read models.
async fn form(pool: &PgPool) -> Vec<String> {
    let sql = "
        SELECT format('%s %s %s %s %s', c.relname, c.relpersistence, c.relrowsecurity,
            c.relforcerowsecurity, c.reloptions)
        FROM pg_class c WHERE c.relnamespace = 'rm'::regnamespace AND c.relkind = 'r'
        UNION ALL
        SELECT format('%s %s %s', c.relname, acl.grantee::regrole, acl.privilege_type)
        FROM pg_class c, LATERAL aclexplode(c.relacl) AS acl
        WHERE c.relnamespace = 'rm'::regnamespace AND c.relkind = 'r'
        UNION ALL
        SELECT format('%s %s %s %s %s', a.attrelid::regclass, a.attname, a.atttypid::regtype,
            a.attnotnull, col_description(a.attrelid, a.attnum))
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE c.relnamespace = 'rm'::regnamespace AND c.relkind = 'r' AND a.attnum > 0
        UNION ALL
        SELECT indexdef FROM pg_indexes WHERE schemaname = 'rm'
        UNION ALL
        SELECT format('%s %s', conrelid::regclass, pg_get_constraintdef(oid))
        FROM pg_constraint WHERE connamespace = 'rm'::regnamespace
        UNION ALL
        SELECT format('%s %s %s %s %s %s', tablename, policyname, roles, cmd, qual, with_check)
        FROM pg_policies WHERE schemaname = 'rm'
        ORDER BY 1";
    sqlx::query_scalar(sql).fetch_all(pool).await.expect("reads")
}

async fn schemas(pool: &PgPool) -> Vec<String> {
    let sql = "SELECT nspname::text FROM pg_namespace
               WHERE nspname LIKE 'rm%' OR nspname = 'as_of' ORDER BY 1";
    sqlx::query_scalar(sql).fetch_all(pool).await.expect("reads")
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn tables_are_of_the_same_form_after_a_rebuild_and_after_going_back(pool: PgPool) {
    let story = told(&pool).await;
    let (form_before, before) = (form(&pool).await, bytes(&pool).await);
    assert!(form_before.len() > 300, "{}", form_before.len());
    for _ in 0..2 {
        rebuild(&pool, story.log.clone(), ALL, &course()).await.expect("rebuilds");
        assert_eq!(form(&pool).await, form_before);
    }
    roll_back(&pool, story.log.clone(), ALL, &course()).await.expect("goes back");
    assert_eq!(form(&pool).await, form_before);
    assert_eq!(bytes(&pool).await, before);
    assert_eq!(schemas(&pool).await, ["rm", "rm_old"]);
    discard(&pool).await.expect("discards");
    assert_eq!(schemas(&pool).await, ["rm"]);
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn going_back_brings_the_old_tables_up_to_now(pool: PgPool) {
    let story = told(&pool).await;
    let none = roll_back(&pool, story.log.clone(), ALL, &course()).await;
    assert!(matches!(none, Err(Error::NothingKept)), "{none:?}");
    // What only the old tables have tells them from the new ones.
    let spoil = "UPDATE rm.agents SET name = 'as it was'";
    sqlx::query(spoil).execute(&pool).await.expect("updates");
    rebuild(&pool, story.log.clone(), &["agents", "api_keys"], &course()).await.expect("rebuilds");
    issue(&story, 500).await;
    story.fold(&pool).await;
    let now = bytes(&pool).await;

    let position = roll_back(&pool, story.log.clone(), ALL, &course()).await.expect("goes back");
    assert_eq!(position, story.log.head().await.expect("head"));
    assert!(standing(&pool).await.iter().all(|(_, at, error)| *at == position && error.is_none()));
    let report = verify(&pool, story.log.clone(), ALL, &course()).await.expect("verifies");
    let wrong: Vec<&str> = report
        .views
        .iter()
        .filter(|view| view.difference.is_some())
        .map(|view| view.name)
        .collect();
    assert_eq!(wrong, ["agents"], "the old ones, with what has happened since");

    roll_back(&pool, story.log.clone(), &["agents"], &course()).await.expect("and back again");
    assert_eq!(bytes(&pool).await, now);
    let never = roll_back(&pool, story.log.clone(), &["prompts"], &course()).await;
    assert!(matches!(never, Err(Error::NothingKept)), "{never:?}");
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_rebuild_that_was_interrupted_is_gone_on_with_by_the_same_build(pool: PgPool) {
    let story = told(&pool).await;
    let before = bytes(&pool).await;
    wipe(&pool).await;
    let head = story.log.head().await.expect("head");
    // The connection is lost when everything is folded and not yet exchanged.
    let stop = "CREATE FUNCTION public.stop() RETURNS event_trigger LANGUAGE plpgsql AS
                    $$ BEGIN RAISE 'no more'; END $$;
                CREATE EVENT TRIGGER stop ON ddl_command_start WHEN TAG IN ('CREATE INDEX')
                    EXECUTE FUNCTION public.stop()";
    sqlx::raw_sql(stop).execute(&pool).await.expect("creates");
    let failed = rebuild(&pool, story.log.clone(), ALL, &course()).await;
    assert!(matches!(failed, Err(Error::Database(_))), "{failed:?}");
    let stood: Vec<i64> = sqlx::query_scalar("SELECT DISTINCT position FROM rm_replay.standing")
        .fetch_all(&pool)
        .await
        .expect("reads");
    assert_eq!(stood, [head]);
    sqlx::query("DROP EVENT TRIGGER stop").execute(&pool).await.expect("drops");
    issue(&story, 500).await;

    let folded = AtomicU32::new(0);
    let progress = |_| {
        folded.fetch_add(1, Ordering::Relaxed);
    };
    let again = Course { progress: &progress, ..course() };
    let position = rebuild(&pool, story.log.clone(), ALL, &again).await.expect("rebuilds");
    assert_eq!(position, head + 1);
    assert_eq!(folded.into_inner(), 1, "only what was new is folded");
    let report = verify(&pool, story.log.clone(), ALL, &course()).await.expect("verifies");
    assert!(report.is_identical(), "{report:?}");
    assert_ne!(bytes(&pool).await, before, "one key more");
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn what_another_build_began_is_not_gone_on_with(pool: PgPool) {
    let story = told(&pool).await;
    let before = bytes(&pool).await;
    let other = Course { build: "another", ..course() };
    as_of(&pool, story.log.clone(), ALL, 10, &other).await.expect("folds");
    // As a fold that this build does not have would leave it.
    sqlx::raw_sql(
        "ALTER SCHEMA as_of RENAME TO rm_replay;
         UPDATE rm_replay.agents SET name = 'else';
         UPDATE rm_replay.plan SET plan = replace(plan, 'until 10', 'until head')",
    )
    .execute(&pool)
    .await
    .expect("renames");
    rebuild(&pool, story.log.clone(), ALL, &course()).await.expect("rebuilds");
    assert_eq!(bytes(&pool).await, before);
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn read_models_are_shown_as_they_were(pool: PgPool) {
    let story = told(&pool).await;
    let (then, before) = (story.log.head().await.expect("head"), bytes(&pool).await);
    story.of(3).tell_everything().await;
    story.fold(&pool).await;
    let now = bytes(&pool).await;
    as_of(&pool, story.log.clone(), ALL, then, &course()).await.expect("folds");
    assert_eq!(bytes(&pool).await, now, "what serves is left alone");
    let swap = "ALTER SCHEMA rm RENAME TO now; ALTER SCHEMA as_of RENAME TO rm";
    sqlx::raw_sql(AssertSqlSafe(swap)).execute(&pool).await.expect("renames");
    assert_eq!(bytes(&pool).await, before);
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn tables_are_not_exchanged_under_a_reader(pool: PgPool) {
    let story = told(&pool).await;
    let mut reader = story.reader(&pool).await;
    let (to_pool, log) = (pool.clone(), story.log.clone());
    let rebuilding = tokio::spawn(async move { rebuild(&to_pool, log, ALL, &course()).await });
    // It has come to the exchange when it waits for a lock.
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'
                     AND relation = 'rm.projection'::regclass";
    while sqlx::query_scalar::<_, i64>(waits).fetch_one(&pool).await.expect("reads") == 0 {
        tokio::task::yield_now().await;
    }
    let page = api_keys::list(&mut reader, Paging::new(50, None)).await.expect("reads");
    assert!(!page.items.is_empty(), "the look sees what it saw from the beginning");
    assert!(!rebuilding.is_finished());
    drop(reader);
    rebuilding.await.expect("ends").expect("rebuilds");
}

/// Writers, projectors and readers go on while all read models are rebuilt again and again: what a
/// reader has seen once, and what it waited for, is never missing.
#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn no_answer_is_ever_missing_while_read_models_are_rebuilt(pool: PgPool) {
    let story = Story::on(Arc::new(PgEventStore::new(pool.clone())));
    story.tell_everything().await;
    let (over, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let projector = Projector::new(pool.clone(), story.log.clone());
    let (stop, stopped) = oneshot::channel::<()>();
    let projecting =
        tokio::spawn(async move { projector.run(async { drop(stopped.await) }).await });
    let reading = tokio::spawn({
        let (pool, story, over, answers) =
            (pool.clone(), story.clone(), over.clone(), answers.clone());
        async move {
            let mut nth = 1_000;
            while !over.load(Ordering::Relaxed) {
                nth += 1;
                issue(&story, nth).await;
                let head = story.log.head().await.expect("head");
                let limit = Duration::from_secs(30);
                let is_there = wait_for(&pool, &["api_keys"], head, limit).await.expect("waits");
                assert!(is_there, "{head} is not taken in: {:?}", standing(&pool).await);
                let mut reader = Reader::begin(&pool, story.tenant).await.expect("begins");
                let page = api_keys::list(&mut reader, Paging::new(200, None)).await;
                let names = page.expect("reads").items.into_iter().map(|key| key.name);
                let names: Vec<String> = names.collect();
                for known in (1_001..=nth).rev().take(190) {
                    let name = format!("key {known}");
                    assert!(names.contains(&name), "{name} is missing after {nth}");
                }
                answers.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let mut seen = 0;
    for _ in 0..6 {
        rebuild(&pool, story.log.clone(), ALL, &course()).await.expect("rebuilds");
        // So that something is read between two of them.
        while answers.load(Ordering::Relaxed) < seen + 3 && !reading.is_finished() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        seen = answers.load(Ordering::Relaxed);
    }
    over.store(true, Ordering::Relaxed);
    reading.await.expect("nothing was missing");
    stop.send(()).expect("it listens");
    projecting.await.expect("it stops");
    let report = verify(&pool, story.log.clone(), ALL, &course()).await.expect("verifies");
    assert!(report.is_identical(), "{report:?}");
    assert_eq!(report.views.len(), all_views().len());
}
