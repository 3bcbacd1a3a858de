//! Versions of streams, asked for by many at once: while one question is under way the next gathers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use uuid::Uuid;

use super::retrying;
use crate::{Error, StreamId, Version};

/// How many streams are asked for at once.
const AT_ONCE: usize = 1_000;
/// How many may wait to be asked for; whoever comes then is told to come back.
const WAITING: usize = 10_000;
/// How long an answer may take, when nobody says that it will not come.
const PATIENCE: Duration = Duration::from_secs(5);

/// Somebody who wants to know the version of a stream.
type Asker = (StreamId, oneshot::Sender<Result<Version, Error>>);
/// Versions by the columns that name a stream: tenant, category and id.
type Found = HashMap<(Uuid, String, Uuid), Version>;

/// Asks for versions, for whoever wants to know one.
#[derive(Debug)]
pub(super) struct Versions {
    askers: mpsc::Sender<Asker>,
}

impl Versions {
    /// Of the streams of a log, within a Tokio runtime: it asks until this is dropped.
    pub(super) fn new(pool: PgPool, log: i16) -> Self {
        let (askers, waiting) = mpsc::channel(WAITING);
        tokio::spawn(answer(pool, log, waiting));
        Self { askers }
    }

    /// The version of a stream at a moment after this was called.
    pub(super) async fn ask(&self, stream: StreamId) -> Result<Version, Error> {
        let (tell, told) = oneshot::channel();
        match self.askers.try_send((stream, tell)) {
            Err(TrySendError::Full(_)) => return Err(Error::Busy { retry_after: PATIENCE }),
            // One that is gone gives no answer, which is found below.
            Ok(()) | Err(TrySendError::Closed(_)) => {}
        }
        told.await.unwrap_or_else(|_| Err(sqlx::Error::WorkerCrashed.into()))
    }
}

async fn answer(pool: PgPool, log: i16, mut waiting: mpsc::Receiver<Asker>) {
    let mut askers = Vec::new();
    while waiting.recv_many(&mut askers, AT_ONCE).await > 0 {
        askers.retain(|(_, tell)| !tell.is_closed());
        let mut ids: Vec<Uuid> = askers.iter().map(|(stream, _)| stream.id).collect();
        ids.sort_unstable();
        ids.dedup();
        let asked = timeout(PATIENCE, retrying(|| find(&pool, log, &ids))).await;
        let found = asked.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map_err(Arc::new);
        for (stream, tell) in askers.drain(..) {
            let name = (stream.tenant.as_uuid(), stream.category.to_owned(), stream.id);
            let version = found.as_ref().map(|found| found.get(&name).copied().unwrap_or(0));
            // Whoever gave up does not want to know.
            let _ = tell.send(version.map_err(|error| Error::Database(error.clone())));
        }
    }
}

async fn find(pool: &PgPool, log: i16, ids: &[Uuid]) -> sqlx::Result<Found> {
    let rows: Vec<(Uuid, String, Uuid, Version)> =
        sqlx::query_as("SELECT tenant, category, id, version FROM es.versions($1, $2)")
            .bind(log)
            .bind(ids)
            .fetch_all(pool)
            .await?;
    let named = |(tenant, category, id, version)| ((tenant, category, id), version);
    Ok(rows.into_iter().map(named).collect())
}
