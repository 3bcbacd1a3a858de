//! A stretch of the log, read and decoded once for all views.

use eventstore::{EventStore, Position, Recorded, fitting};
use uuid::Uuid;

use crate::{Error, Projection, Seen, all_views};

/// How many events are read at once.
pub(crate) const BATCH: usize = 1_000;

/// How many bytes make a batch a full one, however few events these are.
const LARGE: usize = 2 * 1024 * 1024;

/// Events that follow each other.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The position before the first.
    pub(crate) after: Position,
    /// The position of the last.
    pub(crate) last: Position,
    /// How many bytes the bodies have.
    pub(crate) bytes: usize,
    /// Whether it ends before what was read, because that was too much for one batch.
    is_cut: bool,
    seen: Vec<Seen>,
    broken: Vec<Broken>,
}

/// An event that this release cannot read.
#[derive(Debug)]
struct Broken {
    position: Position,
    category: String,
    reason: String,
}

/// What of a batch is for one view.
#[derive(Debug)]
pub(crate) struct Share<'a> {
    /// The events that concern it.
    pub(crate) events: Vec<&'a Seen>,
    /// Where it is when it has taken them in.
    pub(crate) upto: Position,
    /// Why it cannot go on from there, if it cannot.
    pub(crate) stop: Option<String>,
}

impl Batch {
    /// The next events after a position, at most `limit`; none at the end of the log.
    pub(crate) async fn read(
        log: &dyn EventStore,
        after: Position,
        limit: usize,
    ) -> Result<Option<Self>, Error> {
        let mut rows = log.read(after, limit).await?;
        let count = rows.len();
        rows.truncate(fitting(&rows));
        let is_cut = rows.len() < count;
        Ok(Self::of(rows).map(|batch| Self { is_cut, ..batch }))
    }

    /// Decodes events that follow each other, if there are any.
    pub(crate) fn of(rows: Vec<Recorded>) -> Option<Self> {
        let (first, last) = (rows.first()?.position, rows.last()?.position);
        let bytes = rows.iter().map(Recorded::size).sum();
        let (mut seen, mut broken) = (Vec::with_capacity(rows.len()), vec![]);
        for row in rows {
            match Seen::of(&row) {
                Ok(event) => seen.push(event),
                Err(error) => broken.push(Broken {
                    position: row.position,
                    reason: reason(row.position, row.id, &error),
                    category: row.category,
                }),
            }
        }
        Some(Self { after: first - 1, last, bytes, is_cut: false, seen, broken })
    }

    /// Whether it is likely that more follows: it has as many events as are read at once, or as many
    /// bytes as are taken in at once, more or less.
    pub(crate) fn is_full(&self, most: usize) -> bool {
        self.len() >= most || self.is_cut || self.bytes >= LARGE
    }

    /// How many events it has.
    pub(crate) fn len(&self) -> usize {
        self.seen.len() + self.broken.len()
    }

    /// What of it is for `view`, after a position and up to another.
    pub(crate) fn share(
        &self,
        view: &dyn Projection,
        after: Position,
        upto: Position,
    ) -> Share<'_> {
        let range = after + 1..=upto;
        let blocks = |broken: &&Broken| {
            let category = broken.category.as_str();
            // What a category of a newer release means to a view, only that release knows.
            view.folds().contains(&category) || !is_known(category)
        };
        let mut ahead = self.broken.iter().filter(|broken| range.contains(&broken.position));
        let block = ahead.find(blocks);
        let upto = block.map_or(self.last.min(upto), |broken| broken.position - 1);
        let range = after + 1..=upto;
        let mine = |seen: &&Seen| range.contains(&seen.position) && view.concerns(seen);
        let events = self.seen.iter().filter(mine).collect();
        Share { events, upto, stop: block.map(|broken| broken.reason.clone()) }
    }
}

fn is_known(category: &str) -> bool {
    all_views().iter().any(|view| view.folds().contains(&category))
}

/// Says which event is in the way and why.
pub(crate) fn reason(position: Position, id: Uuid, error: &dyn std::error::Error) -> String {
    let mut text = format!("event {position} ({id}): {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text.replace('\0', "")
}
