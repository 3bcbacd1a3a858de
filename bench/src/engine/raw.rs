//! What Postgres itself does at most: the rows of workflows, and nothing that makes workflows of them.

use std::time::Duration;

use anyhow::Result;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::load::{Enough, Ran, drive};

/// How many workflows share a commit.
const GROUP: i64 = 100;
/// How many events one has: its start, three steps with a beginning and an end each, its end.
const EVENTS: i64 = 8;

/// Connections that write groups of workflows, each group with one statement, a column an array.
pub(crate) async fn write(url: &str, connections: u64, long: Duration) -> Result<Ran> {
    let most = u32::try_from(connections)?;
    let pool = PgPoolOptions::new()
        .max_connections(most)
        .min_connections(most)
        .test_before_acquire(false)
        .connect(url)
        .await?;
    sqlx::query(
        "CREATE TABLE IF NOT EXISTS public.floor (workflow bigint, n int, kind text NOT NULL,
             body jsonb NOT NULL, at timestamptz NOT NULL, PRIMARY KEY (workflow, n))",
    )
    .execute(&pool)
    .await?;
    let writing = pool.clone();
    let mut ran = drive(connections, Enough::Time(long), move |number| {
        let pool = writing.clone();
        async move { insert(&pool, number.cast_signed() * GROUP).await }
    })
    .await?
    .without_errors()?;
    pool.close().await;
    ran.workflows *= GROUP.cast_unsigned();
    // Those are of groups.
    ran.within = None;
    Ok(ran)
}

/// One connection that writes one row after the other, each in a transaction of its own: what anybody pays
/// who has to be sure.
pub(crate) async fn commits(url: &str, long: Duration) -> Result<Ran> {
    let pool =
        PgPoolOptions::new().max_connections(1).test_before_acquire(false).connect(url).await?;
    sqlx::query(
        "CREATE TABLE IF NOT EXISTS public.one (n bigint PRIMARY KEY, body bytea NOT NULL)",
    )
    .execute(&pool)
    .await?;
    let ran = drive(1, Enough::Time(long), move |number| {
        let pool = pool.clone();
        async move {
            let insert = sqlx::query("INSERT INTO public.one VALUES ($1, $2)");
            insert.bind(number.cast_signed()).bind(vec![7_u8; 1_000]).execute(&pool).await?;
            Ok(())
        }
    })
    .await?;
    ran.without_errors()
}

async fn insert(pool: &PgPool, from: i64) -> Result<()> {
    let rows = || (from..from + GROUP).flat_map(|workflow| (0..EVENTS).map(move |n| (workflow, n)));
    let workflows: Vec<i64> = rows().map(|(workflow, _)| workflow).collect();
    let numbers: Vec<i32> = rows().map(|(_, n)| i32::try_from(n)).collect::<Result<_, _>>()?;
    let bodies: Vec<String> =
        rows().map(|(workflow, n)| format!(r#"{{"n": {workflow}, "step": {n}}}"#)).collect();
    let same = workflows.len();
    sqlx::query(
        "INSERT INTO public.floor
         SELECT workflow, n, kind, body::jsonb, now()
         FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[]) AS rows(workflow, n, kind, body)",
    )
    .bind(workflows)
    .bind(numbers)
    .bind(vec!["step.completed"; same])
    .bind(bodies)
    .execute(pool)
    .await?;
    Ok(())
}
