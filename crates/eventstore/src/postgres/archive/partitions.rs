//! Partitions of the log, and making files of old ones. For the owner of the log, who alone may take
//! events out of the table.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;
use serde::Serialize;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::file::{Reader, Writer};
use crate::Position;
use crate::postgres::table;

/// How many rows are read from the table at once.
const PAGE: Position = 5_000;

/// What positions of all logs are kept together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Partition {
    /// The table; none if it is a file.
    pub table: Option<String>,
    /// The file; none if it is a table.
    pub path: Option<String>,
    /// The first position that it is for.
    pub first: Position,
    /// The last position that it is for.
    pub last: Position,
    /// The size of the file, or of the table with its indexes.
    pub bytes: i64,
}

/// A partition that became a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Archived {
    /// The table that it was.
    pub table: String,
    /// The files, one a log.
    pub paths: Vec<PathBuf>,
    /// How many events they have.
    pub events: u64,
}

/// Why a partition stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Events may still come into it.
    #[error("the log stands at {head}, within {table}, which ends at {last}")]
    InUse {
        /// The partition.
        table: String,
        /// Its last position.
        last: Position,
        /// How far the log has come.
        head: Position,
    },
    /// The audit trail does not cover it yet.
    #[error("{table} ends at {last}, and only what comes up to {sealed} is sealed")]
    Unsealed {
        /// The partition.
        table: String,
        /// Its last position.
        last: Position,
        /// How far the log is sealed.
        sealed: Position,
    },
    /// The file does not say what the table says.
    #[error("{path} is not what the table is, at position {position}; nothing was removed")]
    Differs {
        /// The file.
        path: PathBuf,
        /// Where.
        position: Position,
    },
    /// Somebody else is at it.
    #[error("another process archives partitions")]
    Busy,
    /// The file cannot be written or read.
    #[error("{path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ParquetError,
    },
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// All partitions in the order of their positions: files first.
pub async fn partitions(db: &mut PgConnection) -> sqlx::Result<Vec<Partition>> {
    sqlx::query_as(
        r#"SELECT NULL AS "table", path, first_position AS first, last_position AS last, bytes
           FROM es.archive
           UNION ALL
           SELECT name, NULL, ends[1]::bigint, ends[2]::bigint - 1, bytes FROM (
               SELECT c.relname::text AS name, pg_total_relation_size(c.oid) AS bytes,
                   regexp_match(pg_get_expr(c.relpartbound, c.oid),
                       'FROM \(''(\d+)''\) TO \(''(\d+)''\)') AS ends
               FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
               WHERE i.inhparent = 'es.event'::regclass) AS attached
           ORDER BY first, path"#,
    )
    .fetch_all(db)
    .await
}

/// Makes files of all partitions that end before a position, the oldest first, and takes them out
/// of the table. What was begun by a process that died is ended.
///
/// A file is read back and compared row by row, and on the disk, before anything leaves the table;
/// and readers are told where it is before that.
pub async fn archive(
    db: &mut PgConnection,
    before: Position,
    dir: &Path,
) -> Result<Vec<Archived>, ArchiveError> {
    let lock = "SELECT pg_try_advisory_lock(hashtext('es.archive'))";
    if !sqlx::query_scalar::<_, bool>(lock).fetch_one(&mut *db).await? {
        return Err(ArchiveError::Busy);
    }
    let done = archive_all(db, before, dir).await;
    sqlx::query("SELECT pg_advisory_unlock(hashtext('es.archive'))").execute(db).await?;
    done
}

async fn archive_all(
    db: &mut PgConnection,
    before: Position,
    dir: &Path,
) -> Result<Vec<Archived>, ArchiveError> {
    drop_detached(db).await?;
    let mut done = vec![];
    for Partition { table, first, last, .. } in partitions(db).await? {
        let Some(table) = table.filter(|_| last < before) else { continue };
        let logs = logs(db, &table, (first, last)).await?;
        let mut archived = Archived { table, paths: vec![], events: 0 };
        for (log, begin) in logs {
            let path = dir.join(format!("log-{log}-{begin:012}-{last:012}.parquet"));
            let failed = |source| ArchiveError::File { path: path.clone(), source };
            // One that is there is of a run that died, or somebody else's: it is compared and never
            // written over.
            if !path.exists() {
                write(db, &path, log, (begin, last)).await?.map_err(failed)?;
            }
            compare(db, &path, log, (begin, last)).await?;
            let bytes = fs::metadata(&path).map_err(ParquetError::from).map_err(failed)?.len();
            tell(db, log, (begin, last), &path, bytes).await?;
            archived.events += (last - begin + 1).unsigned_abs();
            archived.paths.push(path);
        }
        remove(db, &archived.table).await?;
        done.push(archived);
    }
    Ok(done)
}

/// The logs with events in a partition that are in no file yet, and the first position of each;
/// all of them are past it and sealed.
async fn logs(
    db: &mut PgConnection,
    table: &str,
    (first, last): (Position, Position),
) -> Result<Vec<(i16, Position)>, ArchiveError> {
    let logs: Vec<(i16, Position, Position, Position)> = sqlx::query_as(
        "SELECT l.log_id, l.position, l.floor, coalesce(n.position, 0)
         FROM es.log l LEFT JOIN es.notary n ON n.log_id = l.log_id ORDER BY l.log_id",
    )
    .fetch_all(db)
    .await?;
    let mut found = vec![];
    for (log, head, floor, sealed) in logs {
        let table = || table.to_owned();
        if head < last {
            return Err(ArchiveError::InUse { table: table(), last, head });
        }
        if sealed < last {
            return Err(ArchiveError::Unsealed { table: table(), last, sealed });
        }
        if floor < last {
            found.push((log, first));
        }
    }
    Ok(found)
}

/// Writes a file: under another name until it is whole and on the disk.
async fn write(
    db: &mut PgConnection,
    path: &Path,
    log: i16,
    (first, last): (Position, Position),
) -> sqlx::Result<Result<(), ParquetError>> {
    let half = path.with_extension("half");
    // For the account that archives and its group, as which Everstep runs.
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o640);
    let opened = options.open(&half).map_err(ParquetError::from).and_then(Writer::new);
    let mut out = match opened {
        Ok(out) => out,
        Err(error) => return Ok(Err(error)),
    };
    let mut at = first - 1;
    while at < last {
        let rows = table(&mut *db, log, at, last.min(at + PAGE)).await?;
        // A hole is found when it is compared.
        at += PAGE;
        if let Err(error) = out.write(rows) {
            return Ok(Err(error));
        }
    }
    Ok(out.finish().and_then(|()| {
        fs::rename(&half, path)?;
        let dir = path.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
        Ok(fs::File::open(dir)?.sync_all()?)
    }))
}

/// Compares a file with the table, row by row.
async fn compare(
    db: &mut PgConnection,
    path: &Path,
    log: i16,
    (first, last): (Position, Position),
) -> Result<(), ArchiveError> {
    let failed = |source| ArchiveError::File { path: path.to_owned(), source };
    let file = Reader::open(path, first).map_err(failed)?;
    let mut at = first - 1;
    while at < last {
        let upto = last.min(at + PAGE);
        let (is, should) =
            (file.read(at, upto).map_err(failed)?, table(&mut *db, log, at, upto).await?);
        let whole = should.len() == usize::try_from(upto - at).unwrap_or_default();
        if is != should || !whole {
            let same = is.iter().zip(&should).take_while(|(is, should)| is == should).count();
            let position = at + 1 + Position::try_from(same).unwrap_or_default();
            return Err(ArchiveError::Differs { path: path.to_owned(), position });
        }
        at = upto;
    }
    Ok(())
}

/// Tells readers where a stretch of a log is from now on.
async fn tell(
    db: &mut PgConnection,
    log: i16,
    (first, last): (Position, Position),
    path: &Path,
    bytes: u64,
) -> Result<(), ArchiveError> {
    let mut tx = db.begin().await?;
    sqlx::query(
        "INSERT INTO es.archive (log_id, first_position, last_position, path, bytes)
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(log)
    .bind(first)
    .bind(last)
    .bind(path.to_string_lossy())
    .bind(bytes.cast_signed())
    .execute(&mut *tx)
    .await?;
    sqlx::query("UPDATE es.log SET floor = $2 WHERE log_id = $1")
        .bind(log)
        .bind(last)
        .execute(&mut *tx)
        .await?;
    Ok(tx.commit().await?)
}

/// Takes a partition out of the table, without making readers and writers wait, and drops it.
async fn remove(db: &mut PgConnection, table: &str) -> sqlx::Result<()> {
    let is_begun = "SELECT inhdetachpending FROM pg_inherits
                    WHERE inhrelid = to_regclass(format('es.%I', $1))";
    let is_begun: Option<bool> =
        sqlx::query_scalar(is_begun).bind(table).fetch_optional(&mut *db).await?;
    let how = if is_begun == Some(true) { "FINALIZE" } else { "CONCURRENTLY" };
    let detach = format!("ALTER TABLE es.event DETACH PARTITION es.\"{table}\" {how}");
    // Not prepared: it may not run within a transaction, and waits for those that began before it.
    sqlx::raw_sql(AssertSqlSafe(detach)).execute(&mut *db).await?;
    drop_detached(db).await
}

/// Drops partitions that are part of the table no more, and of which nothing is missing in files.
async fn drop_detached(db: &mut PgConnection) -> sqlx::Result<()> {
    let tables: Vec<String> = sqlx::query_scalar(
        r"SELECT relname::text FROM pg_class
          WHERE relnamespace = 'es'::regnamespace AND relkind = 'r' AND NOT relispartition
              AND relname ~ '^event_\d+$'",
    )
    .fetch_all(&mut *db)
    .await?;
    for table in tables {
        let has_more = format!(
            "SELECT EXISTS (SELECT FROM es.\"{table}\" e JOIN es.log l ON l.log_id = e.log_id
             WHERE e.position > l.floor)"
        );
        if !sqlx::query_scalar::<_, bool>(AssertSqlSafe(has_more)).fetch_one(&mut *db).await? {
            let drop = format!("DROP TABLE es.\"{table}\"");
            sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut *db).await?;
        }
    }
    Ok(())
}
