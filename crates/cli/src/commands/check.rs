//! `check`: what is in force, with secrets masked, and whether the database can be trusted.

use anyhow::Context as _;
use eventstore::SettingsError;
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;

use super::Context;
use crate::failure::Failure;

/// Prints the settings, then judges the database's.
pub(crate) async fn check(context: &Context) -> Result<(), Failure> {
    let judged = match context.database_url() {
        Ok(url) => Some(judge(&url).await),
        // Settings are worth seeing before there is a database, too.
        Err(Failure::Usage(_)) => None,
        Err(failure) => return Err(failure),
    };
    let database = match &judged {
        Some(Ok(server)) => server.clone(),
        Some(Err(failure)) => json!({"refused": failure.to_string()}),
        None => json!({"absent": "`everstep dev` starts a private one"}),
    };
    let report = json!({"settings": context.settings, "server": database});
    context.output.show(&report, || serde_yaml_ng::to_string(&report).unwrap_or_default())?;
    judged.map_or(Ok(()), |judged| judged.map(|_| ()))
}

/// What the database server is, if a log can be trusted to it.
async fn judge(url: &str) -> Result<Value, Failure> {
    let pool = PgPoolOptions::new().max_connections(1).connect(url).await;
    let pool = pool.context("connecting to the database")?;
    let version: String = sqlx::query_scalar("SHOW server_version")
        .fetch_one(&pool)
        .await
        .context("asking the database for its version")?;
    match eventstore::check_settings(&pool).await {
        Ok(()) => {
            let owns =
                eventstore::owns_log(&pool).await.context("asking the database who owns it")?;
            Ok(json!({"version": version, "durable": true, "login_owns_log": owns}))
        }
        Err(refusal @ SettingsError::Off { .. }) => Err(Failure::Verification(refusal.to_string())),
        Err(SettingsError::Database(error)) => {
            Err(anyhow::Error::new(error).context("asking the database for its settings").into())
        }
    }
}
