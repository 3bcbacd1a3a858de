//! The runner: events that cannot be taken in, several projectors at once, waiting.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::api_key::{Access, ApiKey, Event};
use domain::{Aggregate, Fact};
use eventstore::PgEventStore;
use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::story::{Story, bytes, golden, id, standing, wipe};
use crate::batch::BATCH;
use crate::runner::{Ahead, Round};
use crate::{
    Course, Error, Projection, Projector, Seen, Table, View, all_views, position_of, rebuild,
    unpark, wait_for,
};

/// A view that can be hurt: its table refuses the name `poison`, its fold the name `panic`.
#[derive(Debug)]
struct Touchy;

#[derive(Debug, Serialize, Deserialize)]
struct TouchyRow {
    name: String,
}

impl View for Touchy {
    const TABLE: Table = Table { name: "touchy", key: &["tenant", "id"] };
    const FOLDS: &'static [&'static str] = &[ApiKey::NAME];
    type Key = (Uuid, Uuid);
    type Row = TouchyRow;

    fn keys(seen: &Seen) -> Vec<Self::Key> {
        match *seen.fact {
            Fact::ApiKey(_) => vec![(seen.meta.tenant.as_uuid(), seen.stream)],
            Fact::Agent(_)
            | Fact::Execution(_)
            | Fact::Integration(_)
            | Fact::Invocation(_)
            | Fact::Notification(_)
            | Fact::Payload(_)
            | Fact::Prompt(_)
            | Fact::Subject(_)
            | Fact::Template(_)
            | Fact::Webhook(_)
            | Fact::Workflow(_) => vec![],
        }
    }

    fn evolve(_: &Self::Key, row: &mut Option<TouchyRow>, seen: &Seen) {
        let Fact::ApiKey(Event::Created { name, .. }) = &*seen.fact else { return };
        assert_ne!(name, "panic", "as it was told");
        *row = Some(TouchyRow { name: name.clone() });
    }
}

async fn with_touchy(pool: &PgPool, story: &Story) -> Projector {
    sqlx::query(
        "CREATE TABLE rm.touchy (tenant uuid, id uuid, name text CHECK (name <> 'poison'),
             PRIMARY KEY (tenant, id))",
    )
    .execute(pool)
    .await
    .expect("creates");
    let touchy: &'static dyn Projection = &Touchy;
    let views = std::iter::once(touchy).chain(all_views().iter().copied()).collect();
    Projector::of(pool.clone(), story.log.clone(), views, BATCH)
}

async fn touchy_names(pool: &PgPool) -> Vec<String> {
    let sql = "SELECT name FROM rm.touchy ORDER BY id";
    sqlx::query_scalar(sql).fetch_all(pool).await.expect("reads")
}

async fn keys(story: &Story, names: &[&str]) {
    for (nth, name) in (1..).zip(names) {
        let (name, access) = ((*name).to_owned(), Access::Read);
        let created = Event::Created { name, access, digest: String::new() };
        story.tell(id::<ApiKey>(nth), [created]).await;
    }
}

/// The views that stand still, and where.
async fn parked(pool: &PgPool) -> Vec<(String, i64)> {
    let all = standing(pool).await.into_iter();
    all.filter_map(|(name, at, error)| error.map(|_| (name, at))).collect()
}

/// What follows a full batch is read while that is written. Where it ends, the log ended then: whoever took
/// that for its end now would wait for news that it was told before.
#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn what_was_read_ahead_does_not_say_where_the_log_ends(pool: PgPool) {
    let story = Story::new();
    keys(&story, &["a", "b", "c"]).await;
    let projector = Projector::of(pool.clone(), story.log.clone(), all_views().to_vec(), 2);
    let mut ahead = Ahead::new();
    let mut rounds = vec![];
    for _ in 0..3 {
        rounds.push(projector.step(&mut ahead).await.expect("takes in what there is"));
    }
    assert_eq!(rounds, [Round::Part, Round::Part, Round::Nothing]);
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn an_event_that_a_table_refuses_parks_one_view_right_before_it(pool: PgPool) {
    let story = Story::new();
    keys(&story, &["a", "b", "poison", "c"]).await;
    let projector = with_touchy(&pool, &story).await;
    projector.catch_up().await.expect("the others go on");

    assert_eq!(parked(&pool).await, [("touchy".to_owned(), 2)]);
    assert_eq!(touchy_names(&pool).await, ["a", "b"], "rows and checkpoint go together");
    let all = standing(&pool).await;
    let (.., error) = all.iter().find(|(name, ..)| name == "touchy").expect("it has a checkpoint");
    let error = error.as_deref().unwrap_or_default();
    assert!(error.starts_with("event 3 (") && error.contains("touchy_name_check"), "{error}");
    for (name, at, _) in all.iter().filter(|(name, ..)| name != "touchy") {
        assert_eq!(*at, 4, "{name} goes on");
    }

    sqlx::query("ALTER TABLE rm.touchy DROP CONSTRAINT touchy_name_check")
        .execute(&pool)
        .await
        .expect("alters");
    projector.catch_up().await.expect("nothing to do");
    assert_eq!(touchy_names(&pool).await.len(), 2, "it stays parked until somebody lets it go");
    unpark(&pool, "touchy").await.expect("unparks");
    projector.catch_up().await.expect("goes on");
    assert_eq!(touchy_names(&pool).await, ["a", "b", "poison", "c"]);
    assert_eq!(parked(&pool).await, []);
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_fold_that_panics_parks_one_view(pool: PgPool) {
    let story = Story::new();
    keys(&story, &["a", "panic"]).await;
    with_touchy(&pool, &story).await.catch_up().await.expect("the others go on");
    assert_eq!(parked(&pool).await, [("touchy".to_owned(), 1)]);
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn an_unreadable_event_parks_the_views_of_its_category(pool: PgPool) {
    let story = Story::new();
    keys(&story, &["a"]).await;
    story.tell_raw("agent", "agent.revised", 1, r#"{"nonsense":true}"#).await;
    keys(&story.of(2), &["b"]).await;
    story.fold(&pool).await;
    assert_eq!(parked(&pool).await, [("agents".to_owned(), 1)]);
    assert_eq!(position_of(&pool, "api_keys").await.expect("reads"), 3);
    let all = standing(&pool).await;
    let error = all.iter().find_map(|(.., error)| error.clone()).expect("a reason");
    assert!(error.contains("event 2") && error.contains("agent.revised v1"), "{error}");
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn an_event_of_a_newer_release_parks_the_views_of_its_category(pool: PgPool) {
    let story = Story::new();
    story.tell_raw("prompt", "prompt.translated", 1, "{}").await;
    story.tell_raw("workflow", "workflow.deleted", 9, "{}").await;
    story.fold(&pool).await;
    let expected =
        [("prompt_versions", 0), ("prompts", 0), ("workflow_versions", 1), ("workflows", 1)];
    assert_eq!(parked(&pool).await, expected.map(|(name, at)| (name.to_owned(), at)));
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_category_of_a_newer_release_parks_every_view(pool: PgPool) {
    let story = Story::new();
    story.tell_raw("billing", "billing.charged", 1, "{}").await;
    story.fold(&pool).await;
    assert_eq!(parked(&pool).await.len(), all_views().len());
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn every_body_that_was_ever_stored_is_taken_in(pool: PgPool) {
    let story = Story::new();
    for body in golden() {
        story.tell_body(Uuid::from_u128(1), &body).await;
    }
    story.fold(&pool).await;
    assert_eq!(parked(&pool).await, []);
}

/// Any events in any order, whether or not they make sense: folds are total, and where batches cut
/// the log does not matter.
#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn any_history_is_folded_to_the_same_bytes_in_batches_of_any_size(pool: PgPool) {
    let bodies = golden();
    let one = (0..bodies.len(), 1..=3_u128, 1..=2_u128);
    let histories = (vec(one, 1..80), 1..30_usize);
    let mut runner = TestRunner::deterministic();
    for _ in 0..8 {
        let (history, batch) = histories.new_tree(&mut runner).expect("generates").current();
        let story = Story::new();
        for (body, stream, tenant) in &history {
            let stream = Uuid::from_u128(*stream);
            story.of(*tenant).tell_body(stream, &bodies[*body]).await;
        }
        wipe(&pool).await;
        story.fold(&pool).await;
        assert_eq!(parked(&pool).await, [], "{history:?}");
        let once = bytes(&pool).await;
        wipe(&pool).await;
        story.fold_in(&pool, batch).await;
        assert_eq!(bytes(&pool).await, once, "in batches of {batch}: {history:?}");
        let course = Course { build: "this one", rate: None, progress: &|_| {} };
        rebuild(&pool, story.log.clone(), &[""; 0], &course).await.expect("rebuilds");
        assert_eq!(bytes(&pool).await, once, "rebuilt: {history:?}");
    }
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn batches_of_any_size_and_several_projectors_give_the_same_bytes(pool: PgPool) {
    let story = Story::new();
    story.tell_everything().await;
    story.of(2).tell_everything().await;
    story.fold(&pool).await;
    let once = bytes(&pool).await;
    for batch in [1, 2, 3, 7, 19] {
        wipe(&pool).await;
        story.fold_in(&pool, batch).await;
        assert_eq!(bytes(&pool).await, once, "in batches of {batch}");
    }
    wipe(&pool).await;
    let fold = |batch| story.fold_in(&pool, batch);
    tokio::join!(fold(3), fold(5), fold(2));
    story.fold(&pool).await;
    assert_eq!(bytes(&pool).await, once, "by three projectors");
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_projector_follows_the_log_until_it_is_stopped(pool: PgPool) {
    let log = std::sync::Arc::new(PgEventStore::new(pool.clone()));
    let story = Story::on(log);
    let (stop, stopped) = oneshot::channel::<()>();
    let projector = Projector::new(pool.clone(), story.log.clone());
    let running = tokio::spawn(async move {
        projector.run(async { drop(stopped.await) }).await;
    });
    for tenant in 1..4 {
        story.of(tenant).tell_everything().await;
        let head = story.log.head().await.expect("head");
        let there = wait_for(&pool, &[], head, Duration::from_secs(20)).await.expect("waits");
        assert!(there, "what is told is folded");
    }
    stop.send(()).expect("it listens");
    running.await.expect("it stops");
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn whoever_stands_by_takes_over_from_those_who_stop(pool: PgPool) {
    let log = std::sync::Arc::new(PgEventStore::new(pool.clone()));
    let story = Story::on(log);
    let mut crew: Vec<_> = (0..3)
        .map(|_| {
            let (stop, stopped) = oneshot::channel::<()>();
            let projector = Projector::new(pool.clone(), story.log.clone());
            let run = async move { projector.run(async { drop(stopped.await) }).await };
            (stop, tokio::spawn(run))
        })
        .collect();
    let mut tenant = 0;
    while let Some((stop, running)) = crew.pop() {
        // All of them are woken by each event, and most find that somebody was faster.
        for _ in 0..5 {
            tenant += 1;
            story.of(tenant).tell_everything().await;
        }
        let head = story.log.head().await.expect("head");
        let there = wait_for(&pool, &[], head, Duration::from_secs(20)).await.expect("waits");
        assert!(there, "what is told is folded, by {} of them", crew.len() + 1);
        stop.send(()).expect("it listens");
        running.await.expect("it stops");
    }
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn waiting_ends_when_the_view_is_there_or_will_never_be(pool: PgPool) {
    let story = Story::new();
    keys(&story, &["a"]).await;
    let wait = |views: &'static [&'static str], position, timeout| {
        let pool = &pool;
        async move { wait_for(pool, views, position, timeout).await }
    };
    let no_time = Duration::ZERO;
    assert!(!wait(&["agents"], 1, no_time).await.expect("reads"), "it never ran");
    story.fold(&pool).await;
    assert!(wait(&["agents", "api_keys"], 1, no_time).await.expect("reads"));
    assert!(wait(&[], 1, no_time).await.expect("reads"), "all of them");
    assert!(!wait(&["agents"], 2, no_time).await.expect("reads"));
    let unknown = wait(&["nonsense"], 1, no_time).await;
    assert!(matches!(unknown, Err(Error::UnknownView(name)) if name == "nonsense"));

    story.tell_raw("agent", "agent.revised", 1, "{}").await;
    story.fold(&pool).await;
    let for_ever = Duration::from_hours(1);
    assert!(!wait(&["agents"], 2, for_ever).await.expect("reads"), "it is parked");
    assert!(wait(&["api_keys"], 2, for_ever).await.expect("reads"));
}

/// An unreadable event stops the views of its category: those must be all that it could concern.
#[tokio::test]
async fn every_view_names_the_categories_that_concern_it() {
    let story = Story::new();
    for body in golden() {
        story.tell_body(Uuid::from_u128(1), &body).await;
    }
    for row in story.log.read(0, BATCH).await.expect("reads") {
        let seen = Seen::of(&row).expect("it can be read");
        for view in all_views().iter().filter(|view| view.concerns(&seen)) {
            let category = row.category.as_str();
            assert!(view.folds().contains(&category), "{} folds {category}", view.name());
        }
    }
}

#[test]
fn views_have_names_of_their_own_and_keys_that_begin_with_the_tenant() {
    let names: BTreeSet<_> = all_views().iter().map(|view| view.name()).collect();
    assert_eq!(names.len(), all_views().len());
    let mut tables = all_views().iter().flat_map(|view| view.tables());
    assert!(tables.all(|table| table.key.first() == Some(&"tenant")));
}
