//! Wake-ups: own appends at once, those of other processes by NOTIFY, and by asking now and then.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::ends;
use crate::Position;

/// The least time between two announcements of one process.
const QUIET: Duration = Duration::from_millis(20);
/// How often the log is asked in case an announcement was lost.
pub(super) const POLL: Duration = Duration::from_millis(500);
/// How long to wait before listening again after a failure.
const RECONNECT: Duration = Duration::from_millis(250);

/// Where appends to a log are announced; the payload is a position.
pub(super) fn channel(log: i16) -> String {
    format!("es_log_{log}")
}

/// Knows the newest position, tells it and listens for it.
#[derive(Debug)]
pub(super) struct Bell {
    pool: PgPool,
    log: i16,
    /// The newest position that is known here.
    known: watch::Sender<Position>,
    /// The newest position that was appended here.
    own: watch::Sender<Position>,
    /// Ends with the bell.
    tasks: Mutex<Tasks>,
}

#[derive(Debug)]
struct Tasks {
    running: JoinSet<()>,
    listening: bool,
}

impl Bell {
    pub(super) fn new(pool: PgPool, log: i16) -> Self {
        let own = watch::Sender::new(0);
        let mut running = JoinSet::new();
        running.spawn(announce(pool.clone(), log, own.subscribe()));
        let tasks = Mutex::new(Tasks { running, listening: false });
        Self { pool, log, known: watch::Sender::new(0), own, tasks }
    }

    /// Takes note of an append of this process.
    pub(super) fn ring(&self, position: Position) {
        raise(&self.known, position);
        raise(&self.own, position);
    }

    /// The newest position that is known here.
    pub(super) fn known(&self) -> Position {
        *self.known.borrow()
    }

    /// The newest position as it grows. Only those who ask for it pay for it: listening begins
    /// with the first call.
    pub(super) fn listen(&self) -> watch::Receiver<Position> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if !tasks.listening {
            tasks.listening = true;
            tasks.running.spawn(listen(self.pool.clone(), self.log, self.known.clone()));
            tasks.running.spawn(poll(self.pool.clone(), self.log, self.known.clone()));
        }
        self.known.subscribe()
    }
}

fn raise(known: &watch::Sender<Position>, position: Position) {
    known.send_if_modified(|known| {
        let grown = position > *known;
        *known = position.max(*known);
        grown
    });
}

/// Announces own appends: the newest stands for all before it, and no append waits for this.
async fn announce(pool: PgPool, log: i16, mut own: watch::Receiver<Position>) {
    while own.changed().await.is_ok() {
        let position = *own.borrow_and_update();
        let told = sqlx::query(
            "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2::text)",
        )
        .bind(channel(log))
        .bind(position)
        .execute(&pool)
        .await;
        if let Err(error) = told {
            tracing::debug!(%error, "could not announce an append; others will find it by asking");
        }
        sleep(QUIET).await;
    }
}

/// Listens for announcements, whatever happens to the connection.
async fn listen(pool: PgPool, log: i16, known: watch::Sender<Position>) {
    loop {
        let Err(error) = hear(&pool, log, &known).await;
        if matches!(error, sqlx::Error::PoolClosed) {
            return;
        }
        tracing::debug!(%error, "could not listen for appends of others");
        sleep(RECONNECT).await;
    }
}

async fn hear(
    pool: &PgPool,
    log: i16,
    known: &watch::Sender<Position>,
) -> Result<Infallible, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(&channel(log)).await?;
    loop {
        let heard = listener.recv().await?;
        // Anybody can announce anything; the log itself says what is true.
        if heard.payload().parse().is_ok_and(|position: Position| position > *known.borrow()) {
            raise(known, ends(pool, log).await?.head);
        }
    }
}

async fn poll(pool: PgPool, log: i16, known: watch::Sender<Position>) {
    loop {
        match ends(&pool, log).await {
            Ok(ends) => raise(&known, ends.head),
            Err(sqlx::Error::PoolClosed) => return,
            Err(error) => tracing::debug!(%error, "could not ask the log how far it is"),
        }
        sleep(POLL).await;
    }
}
