//! Versions of streams, asked for by many at once: while one question is under way the next gathers.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::retrying;
use crate::{Error, StreamId, Version};

/// How many streams are asked for at once.
const AT_ONCE: usize = 1_000;

/// Somebody who wants to know the version of a stream.
type Asker = (StreamId, oneshot::Sender<Result<Version, Error>>);
/// Versions by the columns that name a stream: tenant, category and id.
type Found = HashMap<(Uuid, String, Uuid), Version>;

/// Asks for versions, for whoever wants to know one.
#[derive(Debug)]
pub(super) struct Versions {
    askers: mpsc::UnboundedSender<Asker>,
}

impl Versions {
    /// Of the streams of a log, within a Tokio runtime: it asks until this is dropped.
    pub(super) fn new(pool: PgPool, log: i16) -> Self {
        let (askers, waiting) = mpsc::unbounded_channel();
        tokio::spawn(answer(pool, log, waiting));
        Self { askers }
    }

    /// The version of a stream at a moment after this was called.
    pub(super) async fn ask(&self, stream: StreamId) -> Result<Version, Error> {
        let (tell, told) = oneshot::channel();
        // One that is gone gives no answer, which is found below.
        let _ = self.askers.send((stream, tell));
        told.await.unwrap_or_else(|_| Err(sqlx::Error::WorkerCrashed.into()))
    }
}

async fn answer(pool: PgPool, log: i16, mut waiting: mpsc::UnboundedReceiver<Asker>) {
    let mut askers = Vec::new();
    while waiting.recv_many(&mut askers, AT_ONCE).await > 0 {
        askers.retain(|(_, tell)| !tell.is_closed());
        let mut ids: Vec<Uuid> = askers.iter().map(|(stream, _)| stream.id).collect();
        ids.sort_unstable();
        ids.dedup();
        let found = retrying(|| find(&pool, log, &ids)).await.map_err(Arc::new);
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
