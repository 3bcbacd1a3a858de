//! Statements whose connection was lost, once more.

use std::time::Duration;

use sqlx::error::DatabaseError;

/// How long to wait before each new attempt when a connection was lost. Reads change nothing and
/// appends recognise themselves, so both can be sent again.
pub(super) const PAUSES: [Duration; 3] =
    [Duration::from_millis(10), Duration::from_millis(100), Duration::from_millis(500)];

/// Attempts again while the reason is a lost connection.
pub(crate) async fn retrying<T, F>(attempt: impl Fn() -> F) -> Result<T, sqlx::Error>
where
    F: Future<Output = Result<T, sqlx::Error>>,
{
    for pause in PAUSES {
        match attempt().await {
            Err(error) if lost(&error) => {
                tracing::warn!(%error, "the connection to the database was lost; trying again");
                tokio::time::sleep(pause).await;
            }
            done => return done,
        }
    }
    attempt().await
}

/// Whether an error says nothing about the statement, only that the connection is gone: an I/O
/// error, or the server's word that it shuts down, crashed, starts up or cut the line
/// (SQLSTATE classes 57P and 08).
pub(super) fn lost(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    matches!(error, sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed)
        || code.is_some_and(|code| code.starts_with("57P") || code.starts_with("08"))
}
