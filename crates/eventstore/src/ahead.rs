//! Reading the log ahead of whoever works on it.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesOrdered;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use crate::{Error, EventStore, Position, Recorded};

/// How many pages wait, beside the one that is worked on and the one that is read.
const WAITING: usize = 2;

/// How many pages are read at once: the server looks one up while the rows of another come in. Positions
/// have no gaps, so it is known where each begins.
const AT_ONCE: usize = 2;

/// How many bytes of bodies a page is meant to have: fewer events are read at once where events are
/// large.
const BYTES: usize = 4 << 20;

/// How many events like these have about 4 MiB with all their values.
pub(crate) fn like(rows: &[Recorded]) -> usize {
    let bytes: usize = rows.iter().map(Recorded::size).sum();
    BYTES / (bytes / rows.len().max(1)).max(1)
}

/// How many of these events, from the first on, have about 4 MiB with all their values: no more are to be
/// decoded at once. One in any case.
#[must_use]
pub fn fitting(rows: &[Recorded]) -> usize {
    let mut bytes = 0;
    let fits = |row: &&Recorded| {
        bytes += row.size();
        bytes <= BYTES
    };
    rows.iter().take_while(fits).count().max(1)
}

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
        let pages_of = Pages { log, make: Arc::new(make) };
        let reader = tokio::spawn(async move {
            if let Err(error) = pages_of.read(course, &sender).await {
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

/// A page that was read.
struct Page<T> {
    /// How many events were asked for.
    wanted: usize,
    /// How many there were.
    count: usize,
    last: Position,
    /// How many events like these are to be read at once.
    like: usize,
    made: Vec<T>,
}

struct Pages<T> {
    log: Arc<dyn EventStore>,
    make: Arc<dyn Fn(Vec<Recorded>) -> T + Send + Sync>,
}

impl<T: Send + 'static> Pages<T> {
    async fn read(
        self,
        Span { mut after, upto, page, rate }: Span,
        pages: &mpsc::Sender<Result<T, Error>>,
    ) -> Result<(), Error> {
        let (began, first, mut limit) = (Instant::now(), after, page);
        let mut reads = FuturesOrdered::new();
        let mut asked = after;
        loop {
            while reads.len() < AT_ONCE && asked < upto {
                let wanted = limit.min(usize::try_from(upto - asked).unwrap_or(page));
                reads.push_back(self.one(asked, wanted));
                asked = asked.saturating_add(i64::try_from(wanted).unwrap_or(i64::MAX));
            }
            let Some(read) = reads.next().await else { return Ok(()) };
            let Some(read) = read? else { return Ok(()) };
            after = read.last;
            if read.count < read.wanted {
                // That was the end of the log; what was read behind it may begin later than the end was.
                reads.clear();
                asked = after;
            }
            limit = read.like.clamp(1, page);
            for made in read.made {
                if pages.send(Ok(made)).await.is_err() {
                    return Ok(());
                }
            }
            if let Some(rate) = rate {
                let done = u32::try_from(after - first).unwrap_or(u32::MAX);
                sleep_until(began + Duration::from_secs(1) * done / rate.get()).await;
            }
        }
    }

    /// Reads a page in a task of its own, so that two are taken apart on two cores; none at the end.
    async fn one(&self, after: Position, wanted: usize) -> Result<Option<Page<T>>, Error> {
        let (log, make) = (self.log.clone(), self.make.clone());
        let read = async move {
            let mut rows = log.read(after, wanted).await?;
            let Some(last) = rows.last().map(|row| row.position) else { return Ok(None) };
            let (count, like, mut done) = (rows.len(), like(&rows), vec![]);
            while !rows.is_empty() {
                let rest = rows.split_off(fitting(&rows).min(rows.len()));
                done.push(make(rows));
                rows = rest;
            }
            Ok(Some(Page { wanted, count, last, like, made: done }))
        };
        match AbortOnDropHandle::new(tokio::spawn(read)).await {
            Ok(read) => read,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(sqlx::Error::WorkerCrashed.into()),
            },
        }
    }
}
