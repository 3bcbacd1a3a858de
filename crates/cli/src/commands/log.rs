//! `log`: which positions are where, and making files of old ones.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use eventstore::{ArchiveError, Archived, Partition, Position};
use serde_json::json;
use sqlx::{Connection, PgConnection};

use super::Context;
use crate::args::Log;
use crate::failure::{Failure, count};
use crate::output::table;

/// Commands on the log's tables and files, for its owner.
pub(crate) async fn log(context: &Context, command: Log) -> Result<(), Failure> {
    let db = PgConnection::connect(&context.database_url()?).await;
    let mut db = db.context("connecting to the database")?;
    match command {
        Log::List { .. } => list(context, &mut db).await,
        Log::Archive { before, to, .. } => archive(context, &mut db, before, &to).await,
    }
}

async fn list(context: &Context, db: &mut PgConnection) -> Result<(), Failure> {
    let all = eventstore::partitions(db).await.context("asking for partitions")?;
    context.output.show(&json!({"items": all}), || {
        let row = |Partition { table, path, first, last, bytes }: &Partition| {
            let place = table.as_ref().or(path.as_ref()).cloned();
            let mib = format!("{} MiB", bytes.cast_unsigned().div_ceil(1 << 20));
            vec![first.to_string(), last.to_string(), mib, place.unwrap_or_default()]
        };
        table(&["FIRST", "LAST", "SIZE", "TABLE OR FILE"], all.iter().map(row))
    })
}

async fn archive(
    context: &Context,
    db: &mut PgConnection,
    before: Position,
    dir: &Path,
) -> Result<(), Failure> {
    let making = || format!("making {}", dir.display());
    fs::create_dir_all(dir).with_context(making)?;
    let dir = dir.canonicalize().with_context(making)?;
    let done = eventstore::archive(db, before, &dir).await.map_err(failure)?;
    context.output.show(&json!({"items": done}), || {
        if done.is_empty() {
            return format!("no partition ends before {before}");
        }
        let row = |Archived { table, paths, events }: &Archived| {
            let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            vec![table.clone(), events.to_string(), paths.join(" ")]
        };
        let partitions = count(done.len(), "partition");
        format!(
            "{partitions} archived\n{}",
            table(&["TABLE", "EVENTS", "FILE"], done.iter().map(row))
        )
    })
}

fn failure(error: ArchiveError) -> Failure {
    match error {
        ArchiveError::InUse { .. } | ArchiveError::Unsealed { .. } | ArchiveError::Busy => {
            Failure::Conflict(error.to_string())
        }
        ArchiveError::Differs { .. } => Failure::Verification(error.to_string()),
        ArchiveError::File { .. } | ArchiveError::Database(_) => {
            Failure::Other(anyhow::Error::new(error).context("archiving"))
        }
    }
}
