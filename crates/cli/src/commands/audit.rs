//! `audit export`: the log as `CloudEvents` 1.0, one a line, in order.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use eventstore::{CloudEvent, EventStore, PgEventStore, Position, Role};
use indicatif::{ProgressBar, ProgressStyle};

use super::Context;
use crate::args::Export;
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
    let pool = eventstore::connect(&context.database_url()?, Role::Command, 2).await;
    let store = PgEventStore::new(pool.context("connecting to the database")?);
    let head = store.head().await.context("reading the log")?;
    let last = what.to.map_or(head, |to| to.min(head));
    let written = if let Some(path) = &what.file {
        let (new, mut file) = beside(path)?;
        let written = write(&store, what.from, last, &mut file).await?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&new, path)?;
        written
    } else {
        let mut out = BufWriter::new(io::stdout().lock());
        let written = write(&store, what.from, last, &mut out).await?;
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

/// Writes the events from `from` to `last` and says how many that were. The log has no gaps, so
/// one that is found is damage.
async fn write(
    store: &dyn EventStore,
    from: Position,
    last: Position,
    out: &mut dyn Write,
) -> Result<usize, Failure> {
    let bar = progress(from, last);
    let mut after = from - 1;
    while after < last {
        let events = store.read(after, BATCH).await.context("reading the log")?;
        if events.is_empty() {
            return Err(gap(after + 1));
        }
        for event in events.iter().take_while(|event| event.position <= last) {
            if event.position != after + 1 {
                return Err(gap(after + 1));
            }
            let mut line =
                serde_json::to_vec(&CloudEvent::from(event)).map_err(anyhow::Error::from)?;
            line.push(b'\n');
            out.write_all(&line)?;
            after = event.position;
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(usize::try_from(after + 1 - from).unwrap_or_default())
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
