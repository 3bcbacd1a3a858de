//! Verifying and rebuilding.

use std::sync::Mutex;

use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};

use super::story::{Story, bytes, standing, wipe};
use crate::{Course, Error, Progress, Report, all_views, rebuild, verify};

const ALL: &[&str] = &[];

fn course() -> Course<'static> {
    Course { build: "this one", rate: None, progress: &|_| {} }
}

async fn check(pool: &PgPool, story: &Story) -> Report {
    verify(pool, story.log.clone(), ALL, &course()).await.expect("verifies")
}

async fn run(pool: &PgPool, sql: &str) {
    let done = sqlx::query(AssertSqlSafe(sql.to_owned())).execute(pool).await.expect("runs");
    assert!(done.rows_affected() > 0, "nothing was changed: {sql}");
}

/// A story of two tenants that all views have folded.
async fn told(pool: &PgPool) -> Story {
    let story = Story::new();
    story.tell_everything().await;
    story.of(2).tell_everything().await;
    story.fold(pool).await;
    story
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn live_views_are_what_the_log_says(pool: PgPool) {
    let story = told(&pool).await;
    let seen = Mutex::new(vec![]);
    let progress = |progress: Progress| seen.lock().expect("nobody panics").push(progress);
    let course = Course { progress: &progress, ..course() };
    let report = verify(&pool, story.log.clone(), ALL, &course).await.expect("verifies");
    assert!(report.is_identical(), "{report:?}");
    assert_eq!(report.views.len(), all_views().len());
    let head = story.log.head().await.expect("head");
    for view in &report.views {
        assert_eq!(view.position, head, "{}", view.name);
        assert!(view.rows > 0, "the story has something for {}", view.name);
    }
    let last = seen.lock().expect("nobody panics").last().copied();
    assert_eq!(last, Some(Progress { done: head, total: head }));
    let left: Option<String> = sqlx::query_scalar("SELECT to_regnamespace('rm_verify')::text")
        .fetch_one(&pool)
        .await
        .expect("reads");
    assert_eq!(left, None, "nothing is left behind");
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn one_changed_byte_is_found_and_its_row_named(pool: PgPool) {
    let story = told(&pool).await;
    run(
        &pool,
        "UPDATE rm.executions SET input = replace(input, '\"z\":1', '\"z\":2')
         WHERE id = '00000000-0000-0000-0000-000000000003'
             AND tenant = '00000000-0000-0000-0000-00000000abc2'",
    )
    .await;
    let report = check(&pool, &story).await;
    assert!(!report.is_identical());
    let wrong: Vec<_> = report.views.iter().filter(|view| view.difference.is_some()).collect();
    assert_eq!(wrong.len(), 1);
    let difference = wrong[0].difference.as_ref().expect("it was filtered");
    assert_eq!(wrong[0].name, "executions");
    let columns: Vec<&str> = difference.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(columns, ["input"]);
    let text = difference.to_string();
    assert!(
        text.starts_with(r#"executions [id="00000000-0000-0000-0000-000000000003" "#),
        "{text}"
    );
    assert!(text.contains(r#"\"z\":2"#) && text.contains(r#"\"z\":1"#), "{text}");
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn rows_too_many_and_rows_too_few_are_found(pool: PgPool) {
    let story = told(&pool).await;
    run(&pool, "DELETE FROM rm.work WHERE category = 'notification'").await;
    run(
        &pool,
        "INSERT INTO rm.usage_hourly
         SELECT tenant, category, hour - interval '1 day', subject, provider, model, started,
             completed, failed, cancelled, input_tokens, output_tokens, durations
         FROM rm.usage_hourly",
    )
    .await;
    let report = check(&pool, &story).await;
    let wrong = |name| {
        let view = report.views.iter().find(|view| view.name == name).expect("it is a view");
        view.difference.as_ref().map(ToString::to_string).unwrap_or_default()
    };
    assert!(wrong("work").ends_with(" is missing"), "{}", wrong("work"));
    assert!(wrong("usage").ends_with(" should not be there"), "{}", wrong("usage"));
    assert_eq!(wrong("executions"), "");
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_view_that_is_behind_is_compared_where_it_stands(pool: PgPool) {
    let story = told(&pool).await;
    let stood = story.log.head().await.expect("head");
    story.of(3).tell_everything().await;
    let report = check(&pool, &story).await;
    assert!(report.is_identical(), "{report:?}");
    assert!(report.views.iter().all(|view| view.position == stood));
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_rebuild_after_losing_everything_gives_the_same_bytes(pool: PgPool) {
    let story = told(&pool).await;
    let before = bytes(&pool).await;
    wipe(&pool).await;
    rebuild(&pool, story.log.clone(), ALL, &course()).await.expect("rebuilds");
    assert_eq!(bytes(&pool).await, before);
    let head = story.log.head().await.expect("head");
    assert!(standing(&pool).await.iter().all(|(_, at, error)| *at == head && error.is_none()));
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn one_view_can_be_rebuilt_and_runs_again(pool: PgPool) {
    let story = told(&pool).await;
    let before = bytes(&pool).await;
    run(&pool, "UPDATE rm.agents SET name = 'else'").await;
    run(&pool, "UPDATE rm.prompts SET name = 'else'").await;
    run(&pool, "UPDATE rm.projection SET state = 'parked', error = 'x' WHERE name = 'agents'")
        .await;
    rebuild(&pool, story.log.clone(), &["agents"], &course()).await.expect("rebuilds");
    let report = check(&pool, &story).await;
    let wrong: Vec<&str> = report
        .views
        .iter()
        .filter(|view| view.difference.is_some())
        .map(|view| view.name)
        .collect();
    assert_eq!(wrong, ["prompts"], "the one that was not named is left alone");
    assert!(standing(&pool).await.iter().all(|(.., error)| error.is_none()));
    rebuild(&pool, story.log.clone(), &["prompts"], &course()).await.expect("rebuilds");
    assert_eq!(bytes(&pool).await, before);
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_rebuild_that_meets_an_unreadable_event_changes_nothing(pool: PgPool) {
    let story = told(&pool).await;
    let head = story.log.head().await.expect("head");
    let before = bytes(&pool).await;
    story.tell_raw("agent", "agent.revised", 1, "{}").await;
    let stuck = rebuild(&pool, story.log.clone(), ALL, &course()).await;
    assert!(
        matches!(&stuck, Err(Error::Stuck { view: "agents", after, .. }) if *after == head),
        "{stuck:?}"
    );
    assert_eq!(bytes(&pool).await, before);
    rebuild(&pool, story.log.clone(), &["prompts"], &course())
        .await
        .expect("others can be rebuilt");
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn only_one_replay_runs_at_a_time(pool: PgPool) {
    let story = told(&pool).await;
    let options = pool.connect_options();
    let mut other = PgConnection::connect_with(&options).await.expect("connects");
    sqlx::query("SELECT pg_advisory_lock(hashtext('everstep replay'))")
        .execute(&mut other)
        .await
        .expect("locks");
    let busy = verify(&pool, story.log.clone(), ALL, &course()).await;
    assert!(matches!(busy, Err(Error::Busy)), "{busy:?}");
    other.close().await.expect("closes");
    // What a replay that was killed leaves behind is no obstacle.
    sqlx::query("CREATE SCHEMA rm_replay").execute(&pool).await.expect("creates");
    assert!(check(&pool, &story).await.is_identical());
    let unknown = verify(&pool, story.log.clone(), &["nonsense"], &course()).await;
    assert!(matches!(unknown, Err(Error::UnknownView(_))), "{unknown:?}");
}
