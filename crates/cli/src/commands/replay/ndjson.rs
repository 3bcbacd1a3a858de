//! `replay --to ndjson`: a line for each event.
//!
//! A file is its own checkpoint. What it has whole is there; a line that was cut off when an earlier
//! run was killed is written again.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use eventstore::{CloudEvent, Position};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

use super::super::Context;
use super::emission::{Emission, Wanted};
use crate::args::Replay;
use crate::failure::{Failure, count};
use crate::output::note;

/// The longest line that an event can have, generously.
const LONGEST: u64 = 8 << 20;
/// How every line begins.
const BEGINNING: &[u8] = br#"{"specversion":"1.0","id":""#;
/// How often a file is made safe.
const SAFE: Duration = Duration::from_secs(1);

/// Writes events to a file, or to standard output.
pub(super) async fn replay(context: &Context, what: &Replay) -> Result<(), Failure> {
    match what.emit.file.as_deref().filter(|path| *path != Path::new("-")) {
        Some(path) => to_file(context, what, path).await,
        None if what.emit.restart => {
            Err(Failure::Usage("--restart: standard output always begins anew".to_owned()))
        }
        None => to_stdout(context, what).await,
    }
}

async fn to_stdout(context: &Context, what: &Replay) -> Result<(), Failure> {
    let wanted = Wanted::open(context, what).await?;
    let mut emission = wanted.after(context, 0, what);
    let mut out = BufWriter::new(io::stdout());
    let written = write(&mut emission, &mut out, |_| Ok(())).await?;
    emission.finish();
    if context.output.is_for_people() {
        note(format!("{}, up to position {}", count(written, "event"), wanted.last));
    }
    Ok(())
}

async fn to_file(context: &Context, what: &Replay, path: &Path) -> Result<(), Failure> {
    let shown = path.display();
    let mut file = opened(path)?;
    let wanted = Wanted::open(context, what).await?;
    if what.emit.restart {
        // Only what a replay has written is thrown away.
        tail(&mut file).map_err(|error| unlike(path, &error))?;
        file.set_len(0)?;
    }
    let reached = go_on(&mut file, &wanted, path).await?;
    let mut emission = wanted.after(context, reached, what);
    let mut out = BufWriter::new(file);
    let mut safe = Instant::now();
    let written = write(&mut emission, &mut out, |out| {
        if safe.elapsed() >= SAFE {
            out.get_ref().sync_data()?;
            safe = Instant::now();
        }
        Ok(())
    })
    .await
    .map_err(|failure| at_file(failure, path))?;
    out.get_ref().sync_all().with_context(|| format!("writing {shown}"))?;
    emission.finish();
    let (last, position) = (wanted.last, wanted.last.max(reached));
    let result =
        json!({"file": path, "events": written, "position": position, "result": "emitted"});
    context.output.show(&result, || {
        format!("{} added to {shown}, up to position {last}", count(written, "event"))
    })
}

/// Writes each event on a line; tells whoever keeps the output safe after each page.
async fn write<W: Write>(
    emission: &mut Emission<'_>,
    out: &mut BufWriter<W>,
    mut paged: impl FnMut(&BufWriter<W>) -> Result<(), Failure>,
) -> Result<usize, Failure> {
    let mut written = 0;
    while let Some(event) = emission.next().await? {
        serde_json::to_writer(&mut *out, &CloudEvent::from(&event)).map_err(io::Error::from)?;
        out.write_all(b"\n")?;
        written += 1;
        if emission.pauses() {
            out.flush()?;
            paged(out)?;
        }
    }
    out.flush()?;
    Ok(written)
}

/// The file, which nobody else writes to meanwhile.
fn opened(path: &Path) -> Result<File, Failure> {
    let shown = path.display();
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let file = file.with_context(|| format!("opening {shown}"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Failure::Conflict(format!("another replay writes to {shown}")))
        }
        Err(TryLockError::Error(error)) => Err(at_file(error.into(), path)),
    }
}

/// What a file has.
struct Tail {
    /// How many bytes are whole lines.
    whole: u64,
    /// The last of them.
    last: Option<Vec<u8>>,
}

/// What tells a line from others.
#[derive(Deserialize)]
struct Mark {
    id: Uuid,
    position: String,
}

/// Cuts off what is no whole line; the position of the last whole one, 0 if there is none. A file
/// that this replay has not begun is not touched.
async fn go_on(file: &mut File, wanted: &Wanted, path: &Path) -> Result<Position, Failure> {
    let found = tail(file).map_err(|error| unlike(path, &error))?;
    let mut reached = 0;
    if let Some(line) = found.last {
        let mark: Mark = serde_json::from_slice(&line).map_err(|error| unlike(path, &error))?;
        reached = mark.position.parse().map_err(|error| unlike(path, &error))?;
        let there = wanted.log.read(reached - 1, 1).await.context("reading the log")?;
        let same = there.first().filter(|event| event.id == mark.id);
        if !same.is_some_and(|event| wanted.has(event)) {
            let at = format!("its last event, at position {reached}, is not among those asked for");
            return Err(unlike(path, &at));
        }
    }
    file.set_len(found.whole)?;
    file.seek(SeekFrom::End(0))?;
    Ok(reached)
}

/// Looks at the end of a file.
fn tail(file: &mut File) -> anyhow::Result<Tail> {
    let length = file.metadata()?.len();
    let mut beginning = vec![];
    file.seek(SeekFrom::Start(0))?;
    (&mut *file).take(BEGINNING.len() as u64).read_to_end(&mut beginning)?;
    if !BEGINNING.starts_with(&beginning) {
        return Err(anyhow!("it does not begin with an event"));
    }
    // Two lines at most: a whole one, and one that was cut off.
    let from = length.saturating_sub(2 * LONGEST);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = vec![];
    (&mut *file).take(2 * LONGEST).read_to_end(&mut bytes)?;
    let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else {
        return if from == 0 {
            Ok(Tail { whole: 0, last: None })
        } else {
            Err(anyhow!("its last line is longer than any event"))
        };
    };
    let begin = bytes[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let whole = from + end as u64 + 1;
    Ok(Tail { whole, last: Some(bytes[begin..end].to_vec()) })
}

fn unlike(path: &Path, reason: &dyn std::fmt::Display) -> Failure {
    let shown = path.display();
    Failure::Usage(format!("{shown} is not of this replay: {reason}; it was left as it is"))
}

/// Names the file, but for a reader that left.
fn at_file(failure: Failure, path: &Path) -> Failure {
    if let Failure::Other(error) = failure {
        return Failure::Other(error.context(path.display().to_string()));
    }
    failure
}
