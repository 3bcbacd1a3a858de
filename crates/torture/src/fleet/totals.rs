//! What must hold in the end and is asked of the database: the epochs of what was written, and that
//! everybody counts alike.

use std::collections::BTreeMap;

use anyhow::Result;
use sqlx::PgConnection;
use testkit::api::Client;

use super::log::Micros;
use crate::check::{Invariant, Violation};
use crate::history::now;

/// What the database's clock said when the clock of moments stood at zero.
pub(super) async fn zero(db: &mut PgConnection) -> Result<Micros> {
    let time = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let time: Micros = sqlx::query_scalar(time).fetch_one(db).await?;
    Ok(time - i64::try_from(now() / 1_000)?)
}

/// I17: no event was written under an epoch when its slice had a later one.
pub(super) async fn written_late(db: &mut PgConnection) -> Result<Vec<Violation>> {
    let late: Vec<(i64, i64, i64)> = sqlx::query_as(
        "SELECT e.position, mine.epoch, max(later.epoch) FROM es.event e
         JOIN es.fenced mine ON mine.log_id = e.log_id AND mine.epoch = e.epoch
         JOIN es.fenced later ON later.log_id = e.log_id AND later.name = mine.name
             AND later.slice = mine.slice AND later.epoch > mine.epoch
         WHERE later.position < e.position GROUP BY e.position, mine.epoch",
    )
    .fetch_all(db)
    .await?;
    let what = |(position, epoch, later)| {
        format!("event {position} was written under epoch {epoch} when its slice had {later}")
    };
    let found = late.into_iter().map(what);
    Ok(found.map(|what| Violation { invariant: Invariant::I17, what }).collect())
}

/// How many slices changed hands, and how many late appends were refused.
pub(super) async fn moved(db: &mut PgConnection) -> Result<(i64, i64)> {
    Ok(sqlx::query_as(
        "SELECT (SELECT count(*) FROM es.fenced),
                (SELECT coalesce(sum(refused), 0)::bigint FROM ops.slice)",
    )
    .fetch_one(db)
    .await?)
}

/// I21: the log, the table of executions and the analytics have the same numbers, and what was started
/// has ended or runs.
pub(super) async fn check(db: &mut PgConnection, client: &Client) -> Result<Vec<Violation>> {
    let counts = |rows: Vec<(String, i64)>| rows.into_iter().collect::<BTreeMap<_, _>>();
    let log = sqlx::query_as(
        "SELECT split_part(name, '.', 2), count(*) FROM es.event
         WHERE category = 'execution' AND name <> 'execution.turn_taken' GROUP BY name",
    );
    let mut log = counts(log.fetch_all(&mut *db).await?);
    let table = sqlx::query_as("SELECT status, count(*) FROM rm.executions GROUP BY status");
    let table = counts(table.fetch_all(&mut *db).await?);
    let started = log.remove("started").unwrap_or_default();
    let ended: i64 = log.values().sum();
    let mut found = vec![];
    if table.values().sum::<i64>() != started || ended != started || log != table {
        found.push(format!("{started} were started: {log:?} in the log, {table:?} in the table"));
    }
    let told = client.get("/analytics/dashboard").await?.expect(200)?.body;
    let told = &told["executions"];
    let is_told = |name: &str, count: i64| told[name].as_i64() == Some(count);
    let are_told = ["completed", "faulted", "cancelled"]
        .iter()
        .all(|name| is_told(name, log.get(*name).copied().unwrap_or_default()));
    if !is_told("started", started) || !is_told("running", 0) || !are_told {
        found.push(format!("{started} were started: {log:?} in the log, {told} by analytics"));
    }
    Ok(found.into_iter().map(|what| Violation { invariant: Invariant::I21, what }).collect())
}
