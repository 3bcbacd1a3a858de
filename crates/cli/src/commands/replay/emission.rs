//! The events that a replay emits again, few in memory at a time.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use domain::Timestamp;
use eventstore::{EventStore, Position, ReadAhead, Recorded, Role, Span, position_at};
use indicatif::ProgressBar;
use uuid::Uuid;

use super::super::Context;
use super::{bar, position};
use crate::args::{Place, Replay};
use crate::failure::Failure;
use crate::platform;

/// How many events are read at once.
const PAGE: usize = 200;
/// How many pages a second a slow replay is spread over.
const PAGES: u32 = 4;

/// Which events are emitted.
pub(super) struct Wanted {
    /// The log, whose events are opened as far as anybody may know them.
    pub(super) log: Arc<dyn EventStore>,
    /// The first position.
    pub(super) first: Position,
    /// The last position: the end of the log when the replay began, at the latest.
    pub(super) last: Position,
    tenant: Option<Uuid>,
    kind: Option<String>,
}

/// Events on their way, each once, in order, none left out.
pub(super) struct Emission<'a> {
    wanted: &'a Wanted,
    pages: ReadAhead<Vec<Recorded>>,
    page: std::vec::IntoIter<Recorded>,
    seen: Position,
    bar: ProgressBar,
}

impl Wanted {
    /// What was asked for, of the log that is configured. Nothing can be appended to it this way.
    pub(super) async fn open(context: &Context, what: &Replay) -> Result<Self, Failure> {
        let pool = eventstore::connect(&context.database_url()?, Role::Command, 4).await;
        let log = platform::opened(context, &pool.context("connecting to the database")?).await?;
        let first = match what.emit.from {
            None => 1,
            Some(Place::Position(first)) => first,
            Some(Place::Time(time)) => first_since(&*log, time).await?,
        };
        let last = match what.until {
            Some(until) => position(&*log, until).await?,
            None => log.head().await.context("reading the log")?,
        };
        if first < 1 {
            return Err(Failure::Usage("--from: positions run from 1".to_owned()));
        }
        let turned = |(from, until): (Place, Place)| match (from, until) {
            (Place::Position(from), Place::Position(until)) => until < from,
            (Place::Time(from), Place::Time(until)) => until < from,
            _ => false,
        };
        if what.emit.from.zip(what.until).is_some_and(turned) {
            return Err(Failure::Usage("--from comes before --until".to_owned()));
        }
        let (tenant, kind) = (what.emit.tenant, what.emit.kind.clone());
        Ok(Self { log, first, last, tenant, kind })
    }

    /// Whether an event is among them.
    pub(super) fn has(&self, event: &Recorded) -> bool {
        (self.first..=self.last).contains(&event.position)
            && self.tenant.is_none_or(|tenant| tenant == event.meta.tenant.as_uuid())
            && self.kind.as_deref().is_none_or(|kind| kind == event.name)
    }

    /// Those after a position that was reached before, if one was.
    pub(super) fn after<'a>(
        &'a self,
        context: &Context,
        reached: Position,
        what: &Replay,
    ) -> Emission<'a> {
        let after = reached.max(self.first - 1);
        let page = what.rate.map_or(PAGE, |rate| (rate.get() / PAGES) as usize).clamp(1, PAGE);
        let span = Span { after, upto: self.last, page, rate: what.rate };
        let pages = ReadAhead::start(self.log.clone(), span, |page| page);
        let bar = bar(context);
        bar.set_length((self.last - after).max(0).cast_unsigned());
        Emission { wanted: self, pages, page: vec![].into_iter(), seen: after, bar }
    }
}

/// The position of the first event since a time.
pub(in crate::commands) async fn first_since(
    log: &dyn EventStore,
    time: Timestamp,
) -> Result<Position, Failure> {
    // Times are kept to the microsecond.
    let before = time - Duration::from_micros(1);
    Ok(position_at(log, before).await.context("reading the log")? + 1)
}

impl Emission<'_> {
    /// The next event; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Recorded>, Failure> {
        loop {
            for event in self.page.by_ref() {
                // Positions have no gaps, so a gap is an event that would be left out.
                if event.position != self.seen + 1 {
                    return Err(missing(self.seen + 1));
                }
                self.seen = event.position;
                self.bar.inc(1);
                if self.wanted.has(&event) {
                    return Ok(Some(event));
                }
            }
            match self.pages.next().await.context("reading the log")? {
                Some(page) => self.page = page.into_iter(),
                None if self.seen < self.wanted.last => return Err(missing(self.seen + 1)),
                None => return Ok(None),
            }
        }
    }

    /// Whether the next event must be read first.
    pub(super) fn pauses(&self) -> bool {
        self.page.len() == 0
    }

    /// Takes the progress bar away.
    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

fn missing(position: Position) -> Failure {
    Failure::Other(anyhow!("the log is damaged: the event at position {position} is missing"))
}
