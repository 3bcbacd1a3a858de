//! Reading the log ahead of whoever works on it.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::{Error, EventStore, Position, Recorded};

/// How many pages wait, beside the one that is worked on and the one that is read.
const WAITING: usize = 2;

/// How many bytes of bodies a page is meant to have: fewer events are read at once where events are
/// large.
const BYTES: usize = 4 << 20;

/// Which part of the log is read, and how.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// Only what comes after this position.
    pub after: Position,
    /// Only what does not come after this one; the end of the log at the latest.
    pub upto: Position,
    /// The most events that are read at once.
    pub page: usize,
    /// The most events a second.
    pub rate: Option<NonZeroU32>,
}

/// Pages of the log that are read, and made into something, while earlier ones are worked on.
/// Dropping it ends the reading.
pub struct ReadAhead<T> {
    pages: mpsc::Receiver<Result<T, Error>>,
    reader: JoinHandle<()>,
}

impl<T: Send + 'static> ReadAhead<T> {
    /// Reads within a Tokio runtime; `make` gets pages of at least one event.
    pub fn start(
        log: Arc<dyn EventStore>,
        course: Span,
        make: impl Fn(Vec<Recorded>) -> T + Send + Sync + 'static,
    ) -> Self {
        let (sender, pages) = mpsc::channel(WAITING);
        let reader = tokio::spawn(async move {
            if let Err(error) = read(&*log, course, make, &sender).await {
                // Whoever is gone wants no error either.
                let _ = sender.send(Err(error)).await;
            }
        });
        Self { pages, reader }
    }

    /// The next page; none at the end.
    pub async fn next(&mut self) -> Result<Option<T>, Error> {
        self.pages.recv().await.transpose()
    }
}

impl<T> Drop for ReadAhead<T> {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl<T> fmt::Debug for ReadAhead<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadAhead").finish_non_exhaustive()
    }
}

async fn read<T>(
    log: &dyn EventStore,
    Span { mut after, upto, page, rate }: Span,
    make: impl Fn(Vec<Recorded>) -> T,
    pages: &mpsc::Sender<Result<T, Error>>,
) -> Result<(), Error> {
    let (began, first, mut limit) = (Instant::now(), after, page);
    while after < upto {
        let left = usize::try_from(upto - after).unwrap_or(page);
        let rows = log.read(after, limit.min(left)).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.position;
        let bytes: usize = rows.iter().map(|row| row.body.get().len()).sum();
        limit = (BYTES / (bytes / rows.len()).max(1)).clamp(1, page);
        if pages.send(Ok(make(rows))).await.is_err() {
            return Ok(());
        }
        if let Some(rate) = rate {
            let done = u32::try_from(after - first).unwrap_or(u32::MAX);
            sleep_until(began + Duration::from_secs(1) * done / rate.get()).await;
        }
    }
    Ok(())
}
