//! Following the log.

use std::future::pending;

use tokio::sync::watch;

use crate::{Error, EventStore, Filter, Position, Stretch};

/// Reads on from a position, for ever.
///
/// Nothing is read before it is asked for, so that no reader has more in memory than it can take.
/// While the log has nothing new, nothing is asked of it: [`EventStore::watch`] tells when it has.
pub struct Subscription<'a> {
    log: &'a dyn EventStore,
    filter: Filter,
    position: Position,
    limit: usize,
    head: watch::Receiver<Position>,
}

impl<'a> Subscription<'a> {
    /// To the events after a position that pass a filter, at most `limit` of them at a time.
    #[must_use]
    pub fn new(log: &'a dyn EventStore, filter: Filter, after: Position, limit: usize) -> Self {
        Self { log, filter, position: after, limit: limit.max(1), head: log.watch() }
    }

    /// How far it has read. Another subscription that begins here goes on exactly where this one
    /// stands.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// The next stretch of the log, as soon as there is one. It may have no events that are wanted;
    /// then it says how far there are none.
    ///
    /// Nothing is lost when the wait is given up, or when it fails: the next one begins at the same
    /// position.
    pub async fn next(&mut self) -> Result<Stretch, Error> {
        loop {
            let position = self.position;
            if self.head.wait_for(|head| *head > position).await.is_err() {
                // A log that is gone tells no news.
                pending::<()>().await;
            }
            let stretch = self.log.select(&self.filter, position, self.limit).await?;
            if stretch.upto > position {
                self.position = stretch.upto;
                return Ok(stretch);
            }
            // What was told is not to be seen yet.
            if self.head.changed().await.is_err() {
                pending::<()>().await;
            }
        }
    }
}
