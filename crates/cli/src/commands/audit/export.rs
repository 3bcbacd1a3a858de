//! `audit export`: the log in one of several forms, in order.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use domain::Timestamp;
use eventstore::audit::Trees;
use eventstore::{CloudEvent, EventStore, PgEventStore, Position, Recorded, position_at};
use indicatif::{ProgressBar, ProgressStyle};
use uuid::Uuid;

use super::super::Context;
use super::super::replay::first_since;
use super::format::Sink;
use super::{bundle, open};
use crate::args::{Export, Only, Place};
use crate::failure::{Failure, count};
use crate::output::note;

/// How many events are in memory at a time.
const BATCH: usize = 200;

/// Which part of the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    /// The first position.
    first: Position,
    /// The last position.
    last: Position,
    /// Nothing that was decided before.
    since: Option<Timestamp>,
    /// Nothing that was decided after.
    until: Option<Timestamp>,
}

impl Range {
    /// The log up to a position.
    fn upto(last: Position) -> Self {
        Self { first: 1, last, since: None, until: None }
    }

    /// The same part, from one position to another: a time is where the log was then. So it leaves out
    /// nothing that lies within.
    pub(super) async fn stretch(self, store: &PgEventStore) -> Result<Self, Failure> {
        let mut range = Self { since: None, until: None, ..self };
        if let Some(since) = self.since {
            range.first = first_since(store, since).await?;
        }
        if let Some(until) = self.until {
            let last = position_at(store, until).await.context("reading the log")?;
            range.last = range.last.min(last);
        }
        Ok(range)
    }

    fn of(from: Place, to: Option<Place>, head: Position) -> Result<Self, Failure> {
        let mut range = Self::upto(head);
        match from {
            Place::Position(first) => range.first = first,
            Place::Time(time) => range.since = Some(time),
        }
        match to {
            None => {}
            Some(Place::Position(last)) => range.last = last.min(head),
            Some(Place::Time(time)) => range.until = Some(time),
        }
        let turned = match (from, to) {
            (Place::Position(from), Some(Place::Position(to))) => to < from,
            (Place::Time(from), Some(Place::Time(to))) => to < from,
            _ => false,
        };
        if range.first < 1 || turned {
            let reason = "positions run from 1, and --from comes before --to";
            return Err(Failure::Usage(reason.to_owned()));
        }
        Ok(range)
    }

    fn has(&self, event: &Recorded) -> bool {
        self.since.is_none_or(|since| event.meta.at >= since)
            && self.until.is_none_or(|until| event.meta.at <= until)
    }
}

/// Writes a part of the log, or a bundle.
pub(crate) async fn export(context: &Context, what: &Export) -> Result<(), Failure> {
    // Mistakes are told before anything is asked of the database.
    Range::of(what.from, what.to, Position::MAX)?;
    let (store, trees) = open(context).await?;
    if let (Some(path), Some(tenant)) = (&what.bundle, what.only.tenant) {
        let sealed = bundle::checkpoint(&trees, tenant, what.witness.as_ref()).await?;
        let range = Range::of(what.from, what.to, sealed.position)?.stretch(&store).await?;
        return bundle::write(context, &store, &trees, (tenant, sealed), (what, range, path)).await;
    }
    let head = store.head().await.context("reading the log")?;
    let range = Range::of(what.from, what.to, head)?;
    let written = if let Some(path) = &what.file {
        let (new, file) = beside(path)?;
        let mut sink = Sink::new(what.format, file)?;
        let written = write(&store, &trees, range, &what.only, &mut sink).await?;
        let file = sink.finish()?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&new, path)?;
        written
    } else {
        let mut sink = Sink::new(what.format, BufWriter::new(io::stdout()))?;
        let written = write(&store, &trees, range, &what.only, &mut sink).await?;
        sink.finish()?;
        written
    };
    if context.output.is_for_people() {
        note(format!("{} exported; the log has {head}", count(written.events, "event")));
    }
    Ok(())
}

/// A file beside `path`: what is at `path` in the end is a whole export.
pub(super) fn beside(path: &Path) -> Result<(PathBuf, BufWriter<File>), Failure> {
    let mut new = path.to_owned().into_os_string();
    new.push(".partial");
    let new = PathBuf::from(new);
    let file = File::create(&new).with_context(|| format!("writing {}", new.display()))?;
    Ok((new, BufWriter::new(file)))
}

/// What was written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Written {
    /// How many events.
    pub(super) events: usize,
    /// The first and the last leaf of them that are sealed.
    pub(super) leaves: Option<(u64, u64)>,
}

impl Written {
    fn add(&mut self, leaf: Option<u64>) {
        self.events += 1;
        if let Some(leaf) = leaf {
            self.leaves = Some((self.leaves.map_or(leaf, |(first, _)| first), leaf));
        }
    }
}

/// Writes those events of a part of the log that are asked for. The log has no gaps, so one that is
/// found is damage.
pub(super) async fn write<W: Write + Send>(
    store: &dyn EventStore,
    trees: &Trees,
    range: Range,
    only: &Only,
    sink: &mut Sink<W>,
) -> Result<Written, Failure> {
    let Range { first, last, .. } = range;
    let bar = progress(first, last);
    let mut leaves = Leaves::default();
    let (mut after, mut written) = (first - 1, Written::default());
    while after < last {
        let events = store.read(after, BATCH).await.context("reading the log")?;
        if events.is_empty() {
            return Err(gap(after + 1));
        }
        for event in events.iter().take_while(|event| event.position <= last) {
            if event.position != after + 1 {
                return Err(gap(after + 1));
            }
            after = event.position;
            let leaf = leaves.next(trees, event).await?;
            if range.has(event) && asked_for(only, event) {
                sink.write(event, leaf)?;
                written.add(leaf);
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(written)
}

fn asked_for(only: &Only, event: &Recorded) -> bool {
    let shown = CloudEvent::from(event);
    only.tenant.is_none_or(|tenant| tenant == event.meta.tenant.as_uuid())
        && only.kind.as_deref().is_none_or(|kind| kind == event.name)
        && only.actor.is_none_or(|actor| shown.authid == Some(actor))
}

/// Which leaf comes next, for each tenant: asked for once, then counted.
#[derive(Default)]
struct Leaves {
    next: HashMap<Uuid, (u64, u64)>,
}

impl Leaves {
    async fn next(&mut self, trees: &Trees, event: &Recorded) -> Result<Option<u64>, Failure> {
        let tenant = event.meta.tenant.as_uuid();
        let (next, size) = match self.next.entry(tenant) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(first) => {
                let sealed = trees.latest(tenant).await.context("reading a checkpoint")?;
                let size = sealed.map_or(0, |sealed| sealed.head.size);
                let before = trees.leaves_upto(tenant, event.position - 1).await;
                first.insert((before.context("reading the tree")?, size))
            }
        };
        let leaf = (*next < *size).then_some(*next);
        *next += 1;
        Ok(leaf)
    }
}

fn gap(position: Position) -> Failure {
    Failure::Verification(format!("the log has no event at position {position}"))
}

fn progress(from: Position, last: Position) -> ProgressBar {
    if !io::stderr().is_terminal() || io::stdout().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(u64::try_from(last + 1 - from).unwrap_or_default());
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} events, {eta} left") {
        bar.set_style(style);
    }
    bar
}
