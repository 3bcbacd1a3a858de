//! `subject`: people whose data are in the log.

use std::time::Duration;

use anyhow::Context as _;
use eventstore::personal::{KEYS, RewriteError, rewrite};
use eventstore::{EventStore, PgEventStore};
use projections::Schema;
use serde_json::json;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use super::{Context, replay};
use crate::args::Subject;
use crate::failure::{Failure, count};

/// How long read models may take until they have forgotten everybody who is erased.
const FORGOTTEN: Duration = Duration::from_mins(1);

/// Commands on people.
pub(super) async fn subject(context: &Context, command: &Subject) -> Result<(), Failure> {
    match command {
        Subject::Erase { name } => erase(context, name).await,
        Subject::Purge { .. } => purge(context).await,
    }
}

async fn erase(context: &Context, name: &str) -> Result<(), Failure> {
    let client = context.client()?;
    let body = json!({"subject": name});
    let answer = client.post(&["subjects", "erase"], &[("wait", "60s")], &body).await?;
    let erased = answer.body["status"] == "erased";
    context.output.show(&answer.body, || {
        let id = answer.body["id"].as_str().unwrap_or_default();
        if erased {
            format!("erased; what happened is still known, of nobody: subject {id}")
        } else {
            format!("subject {id} will be erased as soon as a worker comes to it")
        }
    })
}

/// Takes off the disk what is left of everybody who is erased.
async fn purge(context: &Context) -> Result<(), Failure> {
    let pool = PgPoolOptions::new().max_connections(2);
    let pool =
        pool.connect(&context.database_url()?).await.context("connecting to the database")?;
    let views = || projections::all_views().iter().filter(|view| view.forgets());
    let names: Vec<&str> = views().map(|view| view.name()).collect();
    until_forgotten(&pool, &names).await?;
    // They are as they were when they were kept, and so are the people in them.
    projections::discard(&pool).await.map_err(replay::failure)?;
    let of_views = views().flat_map(|view| view.tables());
    let of_views = of_views.map(|table| format!("{}.{}", Schema::Live.name(), table.name));
    let tables: Vec<String> = std::iter::once(KEYS.to_owned()).chain(of_views).collect();
    let mut db = pool.acquire().await.context("connecting to the database")?;
    let is_switched = rewrite(&mut db, &tables).await.map_err(failure)?;
    let wal = if is_switched { "switched" } else { "not permitted" };
    context.output.show(&json!({"rewritten": tables, "wal": wal}), || {
        let done = format!("{} rewritten: {}", count(tables.len(), "table"), tables.join(", "));
        if is_switched {
            return done;
        }
        format!("{done}\nhave a superuser run: SELECT pg_switch_wal(); CHECKPOINT")
    })
}

async fn until_forgotten(pool: &PgPool, views: &[&str]) -> Result<(), Failure> {
    let head = PgEventStore::new(pool.clone()).head().await.context("reading the log")?;
    let are_there = projections::wait_for(pool, views, head, FORGOTTEN).await;
    if are_there.context("waiting for read models")? {
        return Ok(());
    }
    Err(Failure::Conflict(format!(
        "not all read models have come to position {head}, so they may not have forgotten everybody \
         who is erased: everstep projection list"
    )))
}

fn failure(error: RewriteError) -> Failure {
    match error {
        RewriteError::Seen(_) | RewriteError::InUse(_) => Failure::Conflict(error.to_string()),
        RewriteError::NotOwner(_) => Failure::Usage(error.to_string()),
        RewriteError::Database(_) => {
            Failure::Other(anyhow::Error::new(error).context("rewriting tables"))
        }
    }
}
