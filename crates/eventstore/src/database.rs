//! The way to the database: roles, pools, migrations, and the settings a log can be trusted to.

use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, Executor, PgConnection, PgPool};

use crate::Error;

/// All migrations of the platform.
pub static MIGRATOR: Migrator = sqlx::migrate!("../../migrations");

/// How long to wait for a connection when all are busy or the database is away.
const ACQUIRE: Duration = Duration::from_secs(4);

/// What a pool is for, and so what its connections may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Changes things: appends to the log and loads from it; never sees a read model.
    Command,
    /// Asks the read models, of one tenant at a time; never sees the log.
    Query,
    /// Works through the log: both, for all tenants.
    Worker,
}

impl Role {
    /// How its connections call themselves in `pg_stat_activity`.
    fn application(self) -> &'static str {
        match self {
            Self::Command => "everstep command",
            Self::Query => "everstep query",
            Self::Worker => "everstep worker",
        }
    }

    /// Takes the role. The isolation is what `es.append` is written for; the timeouts let go of
    /// what somebody else may be waiting for. Whoever has to do with the log seeks by keys, and never
    /// looks through a table: a plan for a partition that was empty when it was made would do so for
    /// as long as that connection lives. What cannot be sought by a key counts as very dear then, and is
    /// not worth compiling all the same.
    fn session(self) -> &'static str {
        match self {
            Self::Command => {
                "SET ROLE everstep_command;
                 SET default_transaction_isolation = 'read committed';
                 SET enable_seqscan = off;
                 SET jit = off;
                 SET lock_timeout = '5s';
                 SET statement_timeout = '10s';
                 SET idle_in_transaction_session_timeout = '30s'"
            }
            Self::Query => {
                "SET ROLE everstep_query;
                 SET default_transaction_read_only = on;
                 SET lock_timeout = '5s';
                 SET statement_timeout = '10s';
                 SET idle_in_transaction_session_timeout = '30s'"
            }
            Self::Worker => {
                "SET ROLE everstep_worker;
                 SET default_transaction_isolation = 'read committed';
                 SET enable_seqscan = off;
                 SET jit = off;
                 SET lock_timeout = '5s';
                 SET statement_timeout = '60s';
                 SET idle_in_transaction_session_timeout = '60s'"
            }
        }
    }
}

/// A pool whose connections have the rights of `role`, to a database that is migrated.
///
/// A store that is watched listens on one of them: two is the least for a store.
pub async fn connect(url: &str, role: Role, max_connections: u32) -> Result<PgPool, Error> {
    let options = PgConnectOptions::from_str(url)?.application_name(role.application());
    let pool = PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE)
        .after_connect(move |connection, _| {
            Box::pin(async move { connection.execute(role.session()).await.map(|_| ()) })
        })
        .connect_with(options)
        .await?;
    Ok(pool)
}

/// Brings the database up to this release, as its owner. Migrations of a newer release that are
/// there already stay: releases run side by side.
pub async fn migrate(url: &str) -> Result<(), Error> {
    let mut connection = PgConnection::connect(url).await?;
    let mut migrator = Migrator::with_migrations(MIGRATOR.iter().cloned().collect());
    migrator.set_ignore_missing(true);
    migrator.run(&mut connection).await.map_err(sqlx::Error::from)?;
    connection.close().await?;
    Ok(())
}

/// The login that [`make_login`] makes.
pub const LOGIN: &str = "everstep_service";

/// Makes a login that owns nothing and may take the platform's roles, on a migrated database whose
/// server trusts whoever reaches it.
pub async fn make_login(owner: &str) -> Result<(), Error> {
    let mut connection = PgConnection::connect(owner).await?;
    sqlx::raw_sql(
        "DO $$ BEGIN
             CREATE ROLE everstep_service LOGIN NOINHERIT;
         EXCEPTION WHEN duplicate_object OR unique_violation THEN
             NULL;
         END $$;
         GRANT everstep_command, everstep_query, everstep_worker TO everstep_service",
    )
    .execute(&mut connection)
    .await?;
    connection.close().await?;
    Ok(())
}

/// Whether a login may do to the log whatever it likes, because it owns it or is a superuser. Nothing
/// that runs all the time should.
pub async fn owns_log(pool: &PgPool) -> Result<bool, Error> {
    let owns = sqlx::query_scalar(
        "SELECT pg_has_role(session_user, nspowner, 'MEMBER') FROM pg_namespace
         WHERE nspname = 'es'",
    );
    Ok(owns.fetch_optional(pool).await?.unwrap_or(false))
}

/// Why a server cannot be trusted with a log.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A crash would lose or garble events that were already confirmed.
    #[error(
        "Postgres runs with {setting} = off: a crash would lose confirmed events; set it to on"
    )]
    Off {
        /// The setting.
        setting: String,
    },
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// Refuses a server that confirms what it has not made safe.
pub async fn check_settings(pool: &PgPool) -> Result<(), SettingsError> {
    let off = sqlx::query_scalar(
        "SELECT name FROM pg_settings
         WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off'
         ORDER BY name LIMIT 1",
    );
    match off.fetch_optional(pool).await? {
        Some(setting) => Err(SettingsError::Off { setting }),
        None => Ok(()),
    }
}

/// Whether a statement that failed fails in the same way each time: the fault is in the data, and
/// not in the weather.
#[must_use]
pub fn is_lasting(error: &sqlx::Error) -> bool {
    // Data exceptions, broken constraints, limits of the server (SQLSTATE classes).
    let is_data = |code: &str| ["22", "23", "54"].iter().any(|class| code.starts_with(class));
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| is_data(&code))
        || matches!(
            error,
            sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::Encode(_)
        )
}
