//! Reading the log ahead of whoever folds it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use eventstore::{EventStore, Position};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::Error;
use crate::batch::{self, Batch};

/// How many events are read at once. Tests have short histories.
const BATCH: usize = if cfg!(test) { 3 } else { batch::BATCH };

/// How many batches wait, beside the one that is folded and the one that is read.
const WAITING: usize = 2;
/// How many bytes of bodies a batch is meant to have: fewer events are read at once where events
/// are large.
const BYTES: usize = 4 << 20;

/// Batches that are read and decoded while others are folded. Dropping it ends the reading.
pub(super) struct ReadAhead {
    batches: mpsc::Receiver<Result<Batch, Error>>,
    reader: JoinHandle<()>,
}

impl ReadAhead {
    /// Reads what comes after a position and up to another, at most so many events a second.
    pub(super) fn start(
        log: Arc<dyn EventStore>,
        after: Position,
        upto: Position,
        rate: Option<NonZeroU32>,
    ) -> Self {
        let (sender, batches) = mpsc::channel(WAITING);
        let reader = tokio::spawn(async move {
            if let Err(error) = read(&*log, after, upto, rate, &sender).await {
                // Whoever is gone wants no error either.
                let _ = sender.send(Err(error)).await;
            }
        });
        Self { batches, reader }
    }

    /// The next batch; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Batch>, Error> {
        self.batches.recv().await.transpose()
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(
    log: &dyn EventStore,
    mut after: Position,
    upto: Position,
    rate: Option<NonZeroU32>,
    batches: &mpsc::Sender<Result<Batch, Error>>,
) -> Result<(), Error> {
    let (began, first, mut limit) = (Instant::now(), after, BATCH);
    while after < upto {
        let left = usize::try_from(upto - after).unwrap_or(BATCH);
        let Some(batch) = Batch::read(log, after, limit.min(left)).await? else { return Ok(()) };
        limit = (BYTES / batch.bytes_an_event().max(1)).clamp(1, BATCH);
        after = batch.last;
        if batches.send(Ok(batch)).await.is_err() {
            return Ok(());
        }
        if let Some(rate) = rate {
            let done = u32::try_from(after - first).unwrap_or(u32::MAX);
            sleep_until(began + Duration::from_secs(1) * done / rate.get()).await;
        }
    }
    Ok(())
}
