//! Taking off the disk what was erased: an UPDATE leaves the row as it was in its page until something
//! else needs the room.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};
use tokio::time::{Instant, sleep};

/// The table of the keys.
pub const KEYS: &str = "ops.subject_key";

/// Samples of what is in the columns of tables are in here, those of erased people too.
const STATISTICS: &str = "pg_catalog.pg_statistic";

/// How long others may hold old rows, or keep a table locked.
const PATIENCE: Duration = Duration::from_mins(1);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Why old rows are still on the disk.
#[derive(Debug, thiserror::Error)]
pub enum RewriteError {
    /// Somebody may still look at them.
    #[error("{0} still sees rows as they were; end it and try again")]
    Seen(String),
    /// Somebody has locked a table.
    #[error("{0} is in use: there was no moment to rewrite it")]
    InUse(String),
    /// The login may not.
    #[error("{0} was not rewritten: only the owner of the database can do that")]
    NotOwner(String),
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// Writes tables anew without the rows that were changed or removed, and what Postgres has noted of
/// their columns; each is locked meanwhile. Then has the server begin a new file of its write-ahead log
/// and let go of older ones; whether the login may ask for that.
pub async fn rewrite(db: &mut PgConnection, tables: &[String]) -> Result<bool, RewriteError> {
    // Whoever reads queues behind a lock that is waited for, so none is waited for long.
    sqlx::raw_sql("SET lock_timeout = '2s'").execute(&mut *db).await?;
    for table in tables {
        rewrite_one(db, table, "FULL, ANALYZE").await?;
    }
    rewrite_one(db, STATISTICS, "FULL").await?;
    match sqlx::raw_sql("SELECT pg_switch_wal(); CHECKPOINT").execute(&mut *db).await {
        Err(error) if has_code(&error, INSUFFICIENT_PRIVILEGE) => Ok(false),
        done => Ok(done.map(|_| true)?),
    }
}

async fn rewrite_one(db: &mut PgConnection, table: &str, how: &str) -> Result<(), RewriteError> {
    until_nobody_sees_old_rows(db).await?;
    let before = file(db, table).await?;
    let deadline = Instant::now() + PATIENCE;
    let vacuum = format!("VACUUM ({how}) {table}");
    loop {
        match sqlx::raw_sql(AssertSqlSafe(vacuum.clone())).execute(&mut *db).await {
            Ok(_) => break,
            Err(error) if !has_code(&error, LOCK_NOT_AVAILABLE) => return Err(error.into()),
            Err(_) if Instant::now() > deadline => {
                return Err(RewriteError::InUse(table.to_owned()));
            }
            Err(_) => {}
        }
    }
    // Who may not is told so in a warning, and nothing is done.
    if file(db, table).await? == before {
        return Err(RewriteError::NotOwner(table.to_owned()));
    }
    Ok(())
}

/// The file that a table is in now.
async fn file(db: &mut PgConnection, table: &str) -> sqlx::Result<i64> {
    let sql = "SELECT pg_relation_filenode($1::text::regclass)::bigint";
    sqlx::query_scalar(sql).bind(table).fetch_one(db).await
}

/// Waits until whatever has been changed so far is invisible to everybody: a row that somebody could
/// still see as it was would be written again as it was.
async fn until_nobody_sees_old_rows(db: &mut PgConnection) -> Result<(), RewriteError> {
    let now: String =
        sqlx::query_scalar("SELECT pg_snapshot_xmax(pg_current_snapshot())::xid::text")
            .fetch_one(&mut *db)
            .await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seeing: Option<String> =
            sqlx::query_scalar(SEEING).bind(&now).fetch_optional(&mut *db).await?;
        match seeing {
            None => return Ok(()),
            Some(who) if Instant::now() > deadline => return Err(RewriteError::Seen(who)),
            Some(_) => sleep(LOOK_AGAIN).await,
        }
    }
}

/// Somebody who began before a transaction.
const SEEING: &str = "
    SELECT who FROM (
        SELECT format('process %s of %s', pid, usename), xid
        FROM pg_stat_activity, LATERAL (VALUES (backend_xid), (backend_xmin)) AS its (xid)
        WHERE pid <> pg_backend_pid() AND (datid IS NULL OR datname = current_database())
        UNION ALL
        SELECT format('the prepared transaction %s', gid), transaction
        FROM pg_prepared_xacts WHERE database = current_database()
        UNION ALL
        SELECT format('the replication slot %s', slot_name), xid
        FROM pg_replication_slots, LATERAL (VALUES (xmin), (catalog_xmin)) AS its (xid)
    ) AS seeing (who, xid)
    WHERE age(xid) > age($1::text::xid)
    LIMIT 1";

/// SQLSTATEs.
const INSUFFICIENT_PRIVILEGE: &str = "42501";
const LOCK_NOT_AVAILABLE: &str = "55P03";

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() == Some(code)
}
