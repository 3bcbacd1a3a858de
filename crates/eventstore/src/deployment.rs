//! What an installation is called: part of its events as others see them, and of its trees.

use std::sync::Arc;

use sqlx::PgPool;
use tokio::sync::OnceCell;

use crate::postgres::{LOG, retrying};

/// What an installation is called that nobody gave a name.
pub const DEPLOYMENT: &str = "everstep";

/// Why an installation does not get a name.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// The name could not stand in a URL.
    #[error("a name is 1 to 63 lower-case letters, digits, dots and hyphens")]
    Form,
    /// Names are hashed with each event.
    #[error("this installation has been called '{0}' since its first event, and stays so")]
    Taken(Arc<str>),
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// The name of the installation that a log belongs to, which is asked for once. To be used when there are
/// events: from then on it stays as it is.
#[derive(Debug)]
pub(crate) struct Deployment {
    pool: PgPool,
    log: i16,
    name: OnceCell<Arc<str>>,
}

impl Deployment {
    pub(crate) fn of_log(pool: PgPool, log: i16) -> Self {
        Self { pool, log, name: OnceCell::new() }
    }

    pub(crate) async fn name(&self) -> Result<Arc<str>, sqlx::Error> {
        let ask = || retrying(|| deployment(&self.pool, self.log));
        self.name.get_or_try_init(ask).await.cloned()
    }
}

/// The name of the installation that a log belongs to.
pub(crate) async fn deployment(pool: &PgPool, log: i16) -> Result<Arc<str>, sqlx::Error> {
    let name: Option<String> =
        sqlx::query_scalar("SELECT deployment FROM es.notary WHERE log_id = $1")
            .bind(log)
            .fetch_optional(pool)
            .await?;
    Ok(name.map_or_else(|| DEPLOYMENT.into(), Arc::from))
}

/// Gives the installation a name, on a pool of [`crate::Role::Worker`]. The first event settles it.
pub async fn name_deployment(pool: &PgPool, name: &str) -> Result<(), NameError> {
    let named =
        sqlx::query("UPDATE es.notary SET deployment = $2 WHERE log_id = $1 AND deployment <> $2")
            .bind(LOG)
            .bind(name)
            .execute(pool)
            .await;
    let Err(error) = named else { return Ok(()) };
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    // Insufficient privilege is what the trigger says; the other is a broken check.
    match code.as_deref() {
        Some("42501") => Err(NameError::Taken(deployment(pool, LOG).await?)),
        Some("23514") => Err(NameError::Form),
        _ => Err(error.into()),
    }
}
