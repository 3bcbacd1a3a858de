//! Rows that a projector remembers: never older than those in the table.

use domain::agent::Agent;
use domain::api_key::{Access, ApiKey, Event};
use domain::{Aggregate, Fact};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use super::story::{Story, id};
use crate::batch::BATCH;
use crate::{Projection, Projector, Seen, Table, View, unpark};

/// A view that counts what happens to an API key.
#[derive(Debug)]
struct Counted;

#[derive(Debug, Serialize, Deserialize)]
struct Row {
    count: i64,
}

impl View for Counted {
    const TABLE: Table = Table { name: "counted", key: &["tenant", "id"] };
    const FOLDS: &'static [&'static str] = &[ApiKey::NAME];
    type Key = (Uuid, Uuid);
    type Row = Row;

    fn keys(seen: &Seen) -> Vec<Self::Key> {
        seen.key_if(matches!(*seen.fact, Fact::ApiKey(_)))
    }

    fn evolve(_: &Self::Key, row: &mut Option<Row>, _: &Seen) {
        row.get_or_insert(Row { count: 0 }).count += 1;
    }
}

async fn run(pool: &PgPool, sql: impl Into<String>) {
    sqlx::query(AssertSqlSafe(sql.into())).execute(pool).await.expect("runs");
}

async fn count(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT count FROM rm.counted").fetch_one(pool).await.expect("one row")
}

/// Once more something happens to the only key.
async fn again(story: &Story) {
    let (name, access) = ("ci".to_owned(), Access::Read);
    let event = Event::Created { name, access, digest: String::new() };
    story.tell(id::<ApiKey>(1), [event]).await;
}

/// A projector of the counting view, and a story of which it has taken in one event.
async fn begun(pool: &PgPool) -> (Story, Projector) {
    let primary = "PRIMARY KEY (tenant, id)";
    run(pool, format!("CREATE TABLE rm.counted (tenant uuid, id uuid, count bigint, {primary})"))
        .await;
    let story = Story::new();
    let projector = another(pool, &story);
    again(&story).await;
    projector.catch_up().await.expect("counts");
    assert_eq!(count(pool).await, 1);
    (story, projector)
}

fn another(pool: &PgPool, story: &Story) -> Projector {
    let counted: &'static dyn Projection = &Counted;
    Projector::of(pool.clone(), story.log.clone(), vec![counted], BATCH)
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_row_is_not_fetched_again_while_nobody_else_writes(pool: PgPool) {
    let (story, projector) = begun(&pool).await;
    run(&pool, "UPDATE rm.counted SET count = 100").await;
    // Something that does not concern it.
    story.tell_raw(Agent::NAME, "agent.deleted", 1, "{}").await;
    projector.catch_up().await.expect("passes it");
    again(&story).await;
    projector.catch_up().await.expect("counts");
    assert_eq!(count(&pool).await, 2, "the table was not asked");
}

/// A rebuild puts other tables in place and writes the checkpoint, maybe with the same position.
#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn what_is_put_in_place_with_a_checkpoint_is_what_counts(pool: PgPool) {
    let (story, projector) = begun(&pool).await;
    run(&pool, "UPDATE rm.counted SET count = 100").await;
    run(&pool, "UPDATE rm.projection SET position = position WHERE name = 'counted'").await;
    again(&story).await;
    projector.catch_up().await.expect("counts");
    assert_eq!(count(&pool).await, 101);
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn what_another_projector_wrote_is_what_counts(pool: PgPool) {
    let (story, projector) = begun(&pool).await;
    let other = another(&pool, &story);
    for (nth, projector) in (2..).zip([&other, &projector, &other, &other, &projector]) {
        again(&story).await;
        projector.catch_up().await.expect("counts");
        assert_eq!(count(&pool).await, nth);
    }
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn what_was_not_committed_was_not_written(pool: PgPool) {
    let (story, projector) = begun(&pool).await;
    run(&pool, "ALTER TABLE rm.counted ADD CONSTRAINT refuses CHECK (count < 2)").await;
    again(&story).await;
    projector.catch_up().await.expect("parks");
    assert_eq!(count(&pool).await, 1);
    run(&pool, "ALTER TABLE rm.counted DROP CONSTRAINT refuses").await;
    unpark(&pool, "counted").await.expect("it tries again");
    again(&story).await;
    projector.catch_up().await.expect("counts");
    assert_eq!(count(&pool).await, 3);
}
