//! `projection`: how far read models have come.

use std::io::{self, IsTerminal, Write};

use anyhow::Context as _;
use projections::Lag;
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::time::{Duration, sleep};

use super::Context;
use crate::args::Projection;
use crate::failure::Failure;
use crate::output::table;

/// How often a list that is watched is shown anew.
const EVERY: Duration = Duration::from_secs(1);

/// Commands on read models.
pub(crate) async fn projection(context: &Context, command: &Projection) -> Result<(), Failure> {
    let pool = PgPoolOptions::new().max_connections(1);
    let pool =
        pool.connect(&context.database_url()?).await.context("connecting to the database")?;
    match command {
        Projection::List { watch: false, .. } => list(context, &pool).await,
        Projection::List { watch: true, .. } => watch(context, &pool).await,
        Projection::Retry { name, .. } => retry(context, &pool, name).await,
    }
}

async fn list(context: &Context, pool: &PgPool) -> Result<(), Failure> {
    let (lags, items) = look(pool).await?;
    context.output.show(&json!({"items": items}), || in_words(&lags, &items))
}

/// Shows the list again and again until it is interrupted.
async fn watch(context: &Context, pool: &PgPool) -> Result<(), Failure> {
    loop {
        let (lags, items) = look(pool).await?;
        if context.output.is_for_people() && io::stdout().is_terminal() {
            // Clears the screen (ECMA-48: cursor home, erase in display).
            write!(io::stdout(), "\x1b[H\x1b[2J")?;
        }
        context.output.item(&json!({"items": items}), || in_words(&lags, &items))?;
        sleep(EVERY).await;
    }
}

async fn retry(context: &Context, pool: &PgPool, name: &str) -> Result<(), Failure> {
    match projections::unpark(pool, name).await {
        Err(error @ projections::Error::UnknownView(_)) => {
            return Err(Failure::NotFound(error.to_string()));
        }
        done => done.context("having it try again")?,
    }
    let done = json!({"projection": name, "state": "running"});
    context.output.show(&done, || format!("{name} tries again"))
}

/// How far all of them have come, and the same for programs, with why those are parked that are.
async fn look(pool: &PgPool) -> Result<(Vec<Lag>, Vec<Value>), Failure> {
    let lags = projections::lag(pool).await.context("reading how far projections have come")?;
    let mut parked = projections::parked(pool).await.context("reading why they are parked")?;
    let item = |lag: &Lag| {
        let mut item = json!(lag);
        item["error"] = json!(parked.remove(&lag.name));
        item
    };
    let items = lags.iter().map(item).collect();
    Ok((lags, items))
}

fn in_words(lags: &[Lag], items: &[Value]) -> String {
    let rows = lags.iter().map(|lag| {
        vec![
            lag.name.clone(),
            lag.state.clone(),
            lag.position.to_string(),
            lag.events_behind.to_string(),
            format!("{:.1} s", lag.seconds_behind),
            format!("{:.0}/s", lag.events_per_second),
            lag.seconds_left.map_or_else(|| "-".to_owned(), |left| format!("{left:.0} s")),
        ]
    });
    let headings = ["PROJECTION", "STATE", "POSITION", "BEHIND", "BY", "RATE", "LEFT"];
    let mut text = table(&headings, rows);
    for item in items {
        if let (Some(name), Some(error)) = (item["name"].as_str(), item["error"].as_str()) {
            text.extend(["\n", name, " is parked: ", error]);
        }
    }
    text
}
