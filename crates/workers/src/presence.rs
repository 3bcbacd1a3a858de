//! Being there: a lock in the database that a worker has for as long as it lives.
//!
//! The lock belongs to a session, and the database ends the session of a process that dies as soon as
//! the kernel has closed its connection. So others need not wait for the leases of the dead to end.
//! A worker whose session breaks is taken for dead although it lives; it loses its slices, and with
//! them the epochs under which it may append.

use std::time::Duration;

use sqlx::{Connection, PgConnection, PgPool};
use tokio::sync::watch;
use tokio::time::sleep;
use uuid::Uuid;

/// How often it is seen to that the session is still there.
const SEEN_TO_EVERY: Duration = Duration::from_secs(1);

/// The presence of one worker.
#[derive(Debug)]
pub(crate) struct Presence {
    lock: i64,
    pool: PgPool,
    held: watch::Sender<Option<i64>>,
}

impl Presence {
    pub(crate) fn new(worker: Uuid, pool: PgPool) -> Self {
        let (high, low) = worker.as_u64_pair();
        Self { lock: (high ^ low).cast_signed(), pool, held: watch::Sender::new(None) }
    }

    /// The lock, while it is held.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<i64>> {
        self.held.subscribe()
    }

    /// Holds the lock until this is dropped; again whenever the session was lost.
    pub(crate) async fn hold(self) {
        loop {
            let Err(error) = self.session().await;
            self.held.send_replace(None);
            tracing::warn!(%error, "others may take this worker for dead");
            sleep(SEEN_TO_EVERY).await;
        }
    }

    async fn session(&self) -> Result<std::convert::Infallible, sqlx::Error> {
        let mut session = PgConnection::connect_with(&self.pool.connect_options()).await?;
        // Whoever had it before, under the same name, is about to be gone.
        sqlx::query("SELECT pg_advisory_lock($1)").bind(self.lock).execute(&mut session).await?;
        self.held.send_replace(Some(self.lock));
        loop {
            sleep(SEEN_TO_EVERY).await;
            session.ping().await?;
        }
    }
}
