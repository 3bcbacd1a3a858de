//! `subscription`: how far those are that follow the log, and what they cannot go on with.

use std::collections::BTreeSet;

use anyhow::Context as _;
use eventstore::{PgEventStore, Position, Role};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;
use workers::subscriptions::{self, Error, Parked, Skipped, Standing};

use super::Context;
use crate::args::Subscription;
use crate::failure::{Failure, count};
use crate::output::{duration, table};

/// Commands on subscriptions.
pub(crate) async fn subscription(context: &Context, command: Subscription) -> Result<(), Failure> {
    let pool = eventstore::connect(&context.database_url()?, Role::Worker, 2).await;
    let pool = pool.context("connecting to the database")?;
    match command {
        Subscription::List { .. } => list(context, &pool).await,
        Subscription::Parked { name, skipped: false, .. } => parked(context, &pool, &name).await,
        Subscription::Parked { name, skipped: true, .. } => skipped(context, &pool, &name).await,
        Subscription::Retry { name, stream, .. } => retry(context, &pool, &name, stream).await,
        Subscription::Skip { name, position, reason, .. } => {
            skip(context, &pool, &name, position, &reason).await
        }
    }
}

async fn list(context: &Context, pool: &PgPool) -> Result<(), Failure> {
    let log = PgEventStore::new(pool.clone());
    let all = subscriptions::list(pool, &log).await.map_err(failure)?;
    context.output.show(&json!({"items": all}), || {
        let headings =
            ["NAME", "POSITION", "LAG", "AGE", "SLICES", "WORKERS", "PARKED", "SKIPPED", "STATE"];
        table(&headings, all.iter().map(row))
    })
}

fn row(one: &Standing) -> Vec<String> {
    let owned: Vec<Uuid> = one.slices.iter().filter_map(|slice| slice.owner).collect();
    let workers = owned.iter().collect::<BTreeSet<_>>().len();
    let state = match &one.error {
        Some(error) => format!("stands still: {error}"),
        None if owned.is_empty() => "nobody works on it".to_owned(),
        None if one.parked > 0 => "runs, but for what is parked".to_owned(),
        None => "runs".to_owned(),
    };
    vec![
        one.name.clone(),
        one.position.to_string(),
        one.lag_events.to_string(),
        duration(one.lag_seconds.saturating_mul(1_000)),
        format!("{}/{}", owned.len(), one.slices.len()),
        workers.to_string(),
        one.parked.to_string(),
        one.skipped.to_string(),
        state,
    ]
}

async fn parked(context: &Context, pool: &PgPool, name: &str) -> Result<(), Failure> {
    let all = subscriptions::parked(pool, name).await.map_err(failure)?;
    context.output.show(&json!({"items": all}), || {
        let row = |one: &Parked| {
            vec![
                one.position.to_string(),
                one.name.clone(),
                format!("{}/{}@{}", one.category, one.stream, one.version),
                one.since.format("%F %T").to_string(),
                one.tries.to_string(),
                one.reason.clone(),
            ]
        };
        table(&["POSITION", "EVENT", "STREAM", "SINCE", "TRIES", "REASON"], all.iter().map(row))
    })
}

async fn skipped(context: &Context, pool: &PgPool, name: &str) -> Result<(), Failure> {
    let all = subscriptions::skipped(pool, name).await.map_err(failure)?;
    context.output.show(&json!({"items": all}), || {
        let row = |one: &Skipped| {
            vec![
                one.position.to_string(),
                one.name.clone(),
                format!("{}/{}", one.category, one.stream),
                one.at.format("%F %T").to_string(),
                one.by.clone(),
                one.reason.clone(),
                one.failure.clone(),
            ]
        };
        let headings = ["POSITION", "EVENT", "STREAM", "AT", "BY", "REASON", "FAILURE"];
        table(&headings, all.iter().map(row))
    })
}

async fn retry(
    context: &Context,
    pool: &PgPool,
    name: &str,
    stream: Option<Uuid>,
) -> Result<(), Failure> {
    let asked = subscriptions::retry(pool, name, stream).await.map_err(failure)?;
    if let (0, Some(stream)) = (asked, stream) {
        return Err(Failure::NotFound(format!("`{name}` has not parked the stream {stream}")));
    }
    let streams = count(usize::try_from(asked).unwrap_or(usize::MAX), "stream");
    context.output.show(&json!({"retried": asked}), || {
        format!("{streams} will be tried again by whoever works on `{name}`, within seconds")
    })
}

async fn skip(
    context: &Context,
    pool: &PgPool,
    name: &str,
    position: Position,
    reason: &str,
) -> Result<(), Failure> {
    subscriptions::skip(pool, name, position, reason).await.map_err(failure)?;
    context.output.show(&json!({"skipped": position}), || {
        format!("the event at {position} is skipped; the rest of its stream goes on within seconds")
    })
}

fn failure(error: Error) -> Failure {
    match error {
        Error::Unknown(_) | Error::NotParked { .. } => Failure::NotFound(error.to_string()),
        Error::Log(_) | Error::Database(_) => {
            Failure::Other(anyhow::Error::new(error).context("subscriptions"))
        }
    }
}
