//! `migrate`: brings the database to this release's schema.

use anyhow::Context as _;
use serde_json::json;
use sqlx::postgres::PgPoolOptions;

use super::Context;
use crate::failure::{Failure, count};
use crate::platform::missing_migrations;

/// Applies what is missing; nothing, if nothing is.
pub(crate) async fn migrate(context: &Context) -> Result<(), Failure> {
    let url = context.database_url()?;
    let pool = PgPoolOptions::new().max_connections(1).connect(&url).await;
    let pool = pool.context("connecting to the database")?;
    let missing = missing_migrations(&pool).await?;
    pool.close().await;
    eventstore::migrate(&url).await.context("migrating the database")?;
    context.output.show(&json!({"applied": missing}), || match missing {
        0 => "the database is up to date".to_owned(),
        _ => format!("{} applied", count(missing, "migration")),
    })
}
