//! Who waits for a stream is woken when that stream moves, and not whenever anything does.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{EventStore, Position, StreamId};

/// If the log went further than this at once, everybody is woken instead of asking who has to be.
const MOST: Position = 10_000;

/// If it takes longer to learn who has to be woken, everybody is.
const PATIENCE: Duration = Duration::from_secs(1);

/// Follows the log for as long as somebody waits. Whoever is in the same process is told of every
/// append, by whichever process it was made.
pub struct Moves {
    log: Arc<dyn EventStore>,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// By the id of the stream. Ids of two streams may be the same: then somebody is woken for
    /// nothing.
    streams: HashMap<Uuid, Weak<watch::Sender<Position>>>,
    is_followed: bool,
}

/// Tells that a stream has moved.
#[derive(Debug)]
pub struct Ear {
    /// There for as long as somebody listens.
    _stream: Arc<watch::Sender<Position>>,
    moved: watch::Receiver<Position>,
    /// It hears of everything behind this position of the log, and maybe of what stands before it.
    pub after: Position,
}

impl Ear {
    /// Waits until the stream has moved since this was last asked, or since the ear was made. It did so
    /// before this position of the log, or at it.
    pub async fn moved(&mut self) -> Position {
        if self.moved.changed().await.is_err() {
            // Cannot be: the other end is held as well.
            std::future::pending::<()>().await;
        }
        *self.moved.borrow_and_update()
    }
}

impl fmt::Debug for Moves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moves").field("waiting", &lock(&self.waiting)).finish_non_exhaustive()
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Moves {
    /// Of the streams of a log.
    #[must_use]
    pub fn new(log: Arc<dyn EventStore>) -> Self {
        Self { log, waiting: Arc::default() }
    }

    /// Listens to a stream, within a Tokio runtime. Whoever loads it afterwards misses nothing:
    /// what they do not see yet, they are told of.
    #[must_use]
    pub fn listen(&self, stream: StreamId) -> Ear {
        // Before anybody is noted as waiting, so that what happens from now on is behind it.
        let mut head = self.log.watch();
        let from = *head.borrow_and_update();
        let mut waiting = lock(&self.waiting);
        let known = waiting.streams.get(&stream.id).and_then(Weak::upgrade);
        let sender = known.unwrap_or_else(|| {
            let sender = Arc::new(watch::Sender::new(from));
            waiting.streams.insert(stream.id, Arc::downgrade(&sender));
            sender
        });
        // Whoever follows the log already may have gone on until this one was noted.
        let after = *head.borrow();
        if !waiting.is_followed {
            waiting.is_followed = true;
            tokio::spawn(follow(Arc::downgrade(&self.log), self.waiting.clone(), (head, from)));
        }
        Ear { moved: sender.subscribe(), _stream: sender, after }
    }
}

/// Wakes whose stream has moved, until nobody waits any more.
async fn follow(
    log: Weak<dyn EventStore>,
    waiting: Arc<Mutex<Waiting>>,
    (mut head, mut after): (watch::Receiver<Position>, Position),
) {
    loop {
        // A log that is gone tells no news; who waits gives up when they are tired of it.
        let is_gone = head.changed().await.is_err();
        let upto = *head.borrow_and_update();
        let moved = streams(&log, after, upto).await;
        after = upto;
        let mut waiting = lock(&waiting);
        waiting.streams.retain(|_, sender| sender.strong_count() > 0);
        if is_gone || waiting.streams.is_empty() {
            waiting.is_followed = false;
            return;
        }
        match moved {
            Some(moved) => {
                let moved = moved.iter().filter_map(|id| waiting.streams.get(id));
                moved.for_each(|stream| wake(stream, upto));
            }
            None => waiting.streams.values().for_each(|stream| wake(stream, upto)),
        }
    }
}

/// The streams that have moved between two positions; nothing if that is not to be had quickly.
async fn streams(log: &Weak<dyn EventStore>, after: Position, upto: Position) -> Option<Vec<Uuid>> {
    let log = log.upgrade().filter(|_| upto - after <= MOST)?;
    timeout(PATIENCE, log.streams(after, upto)).await.ok()?.ok()
}

fn wake(stream: &Weak<watch::Sender<Position>>, upto: Position) {
    if let Some(stream) = stream.upgrade() {
        stream.send_replace(upto);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::tests::{one, stream};
    use crate::{Expected, MemoryEventStore};

    #[tokio::test]
    async fn who_listens_is_woken_by_what_happens_to_their_stream_and_by_nothing_else() {
        let log: Arc<dyn EventStore> = Arc::new(MemoryEventStore::default());
        let moves = Moves::new(log.clone());
        let (mut mine, mut theirs) = (moves.listen(stream(1)), moves.listen(stream(2)));
        for id in [1, 2] {
            log.append(one(2, Expected::Any, [id])).await.expect("appends");
            theirs.moved().await;
        }
        assert!(!mine.moved.has_changed().expect("is open"));
        log.append(one(1, Expected::Any, [3])).await.expect("appends");
        mine.moved().await;
        assert!(!theirs.moved.has_changed().expect("is open"));
    }

    #[tokio::test]
    async fn who_listens_after_others_have_left_is_woken_as_well() {
        let log: Arc<dyn EventStore> = Arc::new(MemoryEventStore::default());
        let moves = Moves::new(log.clone());
        for id in 1..4 {
            let mut ear = moves.listen(stream(id));
            log.append(one(id, Expected::Any, [id])).await.expect("appends");
            ear.moved().await;
            drop(ear);
            log.append(one(9, Expected::Any, [100 + id])).await.expect("appends");
        }
    }
}
