//! Whether the database is there.

use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// How often a connection is asked whether it lives.
const BEAT: Duration = Duration::from_millis(200);
/// How long an answer may take: a server that is merely slow is there.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether the database of a pool is there: as a connection of its own finds, which a pool does not
/// tell, because whoever wants a connection of a pool waits until there is one. Watched for as long as
/// anybody has the receiver.
#[must_use]
pub fn pulse(pool: &PgPool) -> watch::Receiver<bool> {
    let (is_there, seen) = watch::channel(true);
    let pool = pool.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = is_there.closed() => {}
            () = feel(&pool, &is_there) => {}
        }
    });
    seen
}

async fn feel(pool: &PgPool, is_there: &watch::Sender<bool>) {
    loop {
        let options = pool.connect_options();
        let connected = PgConnection::connect_with(&options);
        let is_away = match timeout(PATIENCE, connected).await {
            Ok(Ok(connection)) => {
                is_there.send_replace(true);
                beat(connection).await;
                // One that is lost says nothing yet: somebody may have ended this session alone.
                continue;
            }
            Ok(Err(error)) => !is_full(&error),
            Err(_) => true,
        };
        is_there.send_replace(!is_away);
        sleep(BEAT).await;
    }
}

/// Whether a server is there that works, and has no connection to spare (class 53).
fn is_full(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| code.starts_with("53"))
}

/// Asks until there is no answer.
async fn beat(mut connection: PgConnection) {
    let mut is_alive = true;
    while is_alive {
        sleep(BEAT).await;
        is_alive = matches!(timeout(PATIENCE, connection.ping()).await, Ok(Ok(())));
    }
}
