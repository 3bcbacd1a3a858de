//! `audit export`: the log as `CloudEvents` 1.0, one a line, in order.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use eventstore::audit::{Line, Trees};
use eventstore::{CloudEvent, EventStore, Position, Recorded};
use indicatif::{ProgressBar, ProgressStyle};
use uuid::Uuid;

use super::super::Context;
use super::{bundle, open};
use crate::args::{Export, Only};
use crate::failure::{Failure, count};
use crate::output::note;

/// How many events are in memory at a time.
const BATCH: usize = 200;

/// Writes the events from one position to another, both included.
pub(crate) async fn export(context: &Context, what: &Export) -> Result<(), Failure> {
    if what.from < 1 || what.to.is_some_and(|to| to < what.from) {
        return Err(Failure::Usage(
            "positions run from 1, and --from comes before --to".to_owned(),
        ));
    }
    let (store, trees) = open(context).await?;
    if let (Some(directory), Some(tenant)) = (&what.bundle, what.only.tenant) {
        return bundle::write(context, &store, &trees, tenant, directory).await;
    }
    let head = store.head().await.context("reading the log")?;
    let range = (what.from, what.to.map_or(head, |to| to.min(head)));
    let written = if let Some(path) = &what.file {
        let (new, mut file) = beside(path)?;
        let written = write(&store, &trees, range, &what.only, &mut file).await?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&new, path)?;
        written
    } else {
        let mut out = BufWriter::new(io::stdout().lock());
        let written = write(&store, &trees, range, &what.only, &mut out).await?;
        out.flush()?;
        written
    };
    if context.output.is_for_people() {
        note(format!("{} exported; the log has {head}", count(written, "event")));
    }
    Ok(())
}

/// A file beside `path`: what is at `path` in the end is a whole export.
fn beside(path: &Path) -> Result<(PathBuf, BufWriter<File>), Failure> {
    let mut new = path.to_owned().into_os_string();
    new.push(".partial");
    let new = PathBuf::from(new);
    let file = File::create(&new).with_context(|| format!("writing {}", new.display()))?;
    Ok((new, BufWriter::new(file)))
}

/// Writes those of the events from one position to another that are asked for, and says how many
/// that were. The log has no gaps, so one that is found is damage.
pub(super) async fn write(
    store: &dyn EventStore,
    trees: &Trees,
    (from, last): (Position, Position),
    only: &Only,
    out: &mut dyn Write,
) -> Result<usize, Failure> {
    let bar = progress(from, last);
    let mut leaves = Leaves::default();
    let (mut after, mut written) = (from - 1, 0);
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
            if asked_for(only, event) {
                out.write_all(Line::write(event, leaf).as_bytes())?;
                out.write_all(b"\n")?;
                written += 1;
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
