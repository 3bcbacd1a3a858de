//! What has left the table of events: partitions that became files, and how they are read.

mod file;
mod partitions;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use parquet::errors::ParquetError;
use sqlx::PgPool;
use uuid::Uuid;

use self::file::Reader;
pub use self::partitions::{ArchiveError, Archived, Partition, archive, partitions};
use super::retry::retrying;
use super::row::{Row, contiguous};
use super::{Ends, PgEventStore, ends};
use crate::{Error, Filter, Position, StreamId, Stretch, Version};

/// A stretch of a log that is a file.
#[derive(Debug, Clone, sqlx::FromRow)]
struct Piece {
    first_position: Position,
    last_position: Position,
    path: String,
}

/// So many streams are kept, of at most so many rows: what is used again and again is short.
const STREAMS: usize = 1_000;
const SHORT: usize = 100;

/// The files of a log. They never change, so those that were opened stay so, and what was found in
/// them stays right.
#[derive(Clone, Default)]
pub(crate) struct Files {
    opened: Arc<Mutex<BTreeMap<String, Arc<Reader>>>>,
    streams: Arc<Mutex<BTreeMap<StreamId, Arc<Vec<Row>>>>>,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").finish_non_exhaustive()
    }
}

impl Files {
    /// The rows after a position, up to another, all of which were archived.
    async fn read(
        &self,
        (pool, log): (&PgPool, i16),
        after: Position,
        upto: Position,
    ) -> Result<Vec<Row>, Error> {
        let mut rows = vec![];
        for piece in pieces(pool, log, after, upto).await? {
            rows.extend(self.ask(piece, move |file| file.read(after, upto)).await?);
        }
        Ok(rows)
    }

    /// Where the archived event of a tenant is, among positions at which it may be.
    pub(crate) async fn find(
        &self,
        (pool, log): (&PgPool, i16),
        candidates: &[Position],
        tenant: Uuid,
        event: Uuid,
    ) -> Result<Option<Position>, Error> {
        let (Some(first), Some(last)) = (candidates.iter().min(), candidates.iter().max()) else {
            return Ok(None);
        };
        for piece in pieces(pool, log, first - 1, *last).await? {
            let range = piece.first_position..=piece.last_position;
            let here: Vec<Position> =
                candidates.iter().copied().filter(|at| range.contains(at)).collect();
            let look = move |file: &Reader| {
                for at in here {
                    let rows = file.read(at - 1, at)?;
                    if rows.iter().any(|row| row.id == event && row.tenant == tenant) {
                        return Ok(Some(at));
                    }
                }
                Ok(None)
            };
            if let Some(found) = self.ask(piece, look).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The archived rows of a stream whose first is at `first`, after a version and up to another.
    pub(super) async fn load(
        &self,
        (pool, log): (&PgPool, i16),
        stream: StreamId,
        first: Position,
        (after, upto): (Version, Version),
    ) -> Result<Vec<Row>, Error> {
        let kept = locked(&self.streams).get(&stream).cloned();
        if let Some(rows) = kept.filter(|rows| rows.last().is_some_and(|row| row.version >= upto)) {
            let wanted = rows.iter().filter(|row| row.version > after && row.version <= upto);
            return Ok(wanted.cloned().collect());
        }
        let mut rows: Vec<Row> = vec![];
        for piece in pieces(pool, log, first - 1, Position::MAX).await? {
            let after = rows.last().map_or(after, |row| row.version);
            if after >= upto {
                break;
            }
            let load = move |file: &Reader| file.load(stream, (after, upto), first);
            rows.extend(self.ask(piece, load).await?);
        }
        if after == 0 && rows.len() <= SHORT {
            let mut streams = locked(&self.streams);
            if streams.len() >= STREAMS {
                streams.clear();
            }
            streams.insert(stream, Arc::new(rows.clone()));
        }
        Ok(rows)
    }

    /// Asks a file, on a thread that may wait for the disk.
    async fn ask<T: Send + 'static>(
        &self,
        piece: Piece,
        question: impl FnOnce(&Reader) -> Result<T, ParquetError> + Send + 'static,
    ) -> Result<T, Error> {
        let (files, path) = (self.clone(), PathBuf::from(&piece.path));
        let asked = tokio::task::spawn_blocking(move || question(&*files.open(&piece)?)).await;
        let answer = match asked {
            Ok(answer) => answer,
            Err(error) => Err(ParquetError::External(Box::new(error))),
        };
        answer.map_err(|error| Error::Unreadable { path, source: Arc::new(error) })
    }

    fn open(&self, piece: &Piece) -> Result<Arc<Reader>, ParquetError> {
        if let Some(file) = locked(&self.opened).get(&piece.path) {
            return Ok(file.clone());
        }
        let file = Reader::open(piece.path.as_ref(), piece.first_position)?;
        if file.last() != piece.last_position {
            let (is, should) = (file.last(), piece.last_position);
            return Err(ParquetError::General(format!("it ends at {is} and not at {should}")));
        }
        let file = Arc::new(file);
        locked(&self.opened).insert(piece.path.clone(), file.clone());
        Ok(file)
    }
}

impl PgEventStore {
    pub(super) async fn ends(&self) -> Result<Ends, Error> {
        Ok(retrying(|| ends(&self.pool, self.log)).await?)
    }

    /// The rows after a position, up to another, wherever they are.
    pub(super) async fn rows(
        &self,
        after: Position,
        upto: Position,
        floor: Position,
    ) -> Result<Vec<Row>, Error> {
        let mut rows = vec![];
        if after < floor {
            rows = self.files.read((&self.pool, self.log), after, upto.min(floor)).await?;
        }
        if upto > floor {
            rows.extend(self.table(after.max(floor), upto).await?);
        }
        Ok(rows)
    }

    /// The archived rows of a stream, after a version and up to another.
    pub(super) async fn archived(
        &self,
        stream: StreamId,
        (after, upto): (Version, Version),
    ) -> Result<Vec<Row>, Error> {
        let query = || {
            sqlx::query_as(
                "SELECT s.first_position, coalesce((SELECT min(e.version) - 1 FROM es.event e
                     WHERE e.log_id = $1 AND e.stream = $2 AND e.category = $3 AND e.tenant = $4),
                     s.version)
                 FROM es.stream s
                 JOIN es.log l ON l.log_id = $1 AND s.first_position <= l.floor
                 WHERE s.log_id = $1 AND s.id = $2 AND s.category = $3 AND s.tenant = $4
                     AND s.version > $5",
            )
            .bind(self.log)
            .bind(stream.id)
            .bind(stream.category)
            .bind(stream.tenant.as_uuid())
            .bind(after)
        };
        let found: Option<(Position, Version)> =
            retrying(|| query().fetch_optional(&self.pool)).await?;
        let Some((first, last)) = found else { return Ok(vec![]) };
        let upto = upto.min(last).max(after);
        let place = (&self.pool, self.log);
        let rows = self.files.load(place, stream, first, (after, upto)).await?;
        // A filter that is damaged hides rows; none at all would look like the end of the stream.
        if contiguous("version", after, rows.iter().map(|row| row.version))? < upto {
            let (category, id) = (stream.category, stream.id);
            return Err(Error::Damaged(format!("the archive lacks events of {category}/{id}")));
        }
        Ok(rows)
    }

    /// Those of the events after a position, up to another, that pass a filter; all of them were
    /// archived.
    pub(super) async fn select_archived(
        &self,
        filter: &Filter,
        (after, upto): (Position, Position),
        limit: usize,
    ) -> Result<Stretch, Error> {
        let rows = self.files.read((&self.pool, self.log), after, upto).await?;
        let mut events = self.recorded(rows).await?;
        events.retain(|event| filter.wants(event));
        let is_full = events.len() >= limit;
        events.truncate(limit);
        let upto = events.last().map_or(upto, |last| if is_full { last.position } else { upto });
        Ok(Stretch { events, upto })
    }
}

/// The files with positions after one, up to another.
async fn pieces(
    pool: &PgPool,
    log: i16,
    after: Position,
    upto: Position,
) -> Result<Vec<Piece>, Error> {
    let query = || {
        sqlx::query_as(
            "SELECT first_position, last_position, path FROM es.archive
             WHERE log_id = $1 AND last_position > $2 AND first_position <= $3
             ORDER BY first_position",
        )
        .bind(log)
        .bind(after)
        .bind(upto)
    };
    Ok(retrying(|| query().fetch_all(pool)).await?)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
