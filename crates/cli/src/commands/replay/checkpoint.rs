//! How far a broker has confirmed a replay, kept in a file.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use eventstore::Position;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::failure::Failure;

/// What makes two runs the same replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct What {
    pub(super) broker: String,
    pub(super) exchange: String,
    pub(super) routing_key: Option<String>,
    pub(super) from: Option<String>,
    pub(super) until: Option<String>,
    pub(super) tenant: Option<Uuid>,
    pub(super) kind: Option<String>,
}

/// How far a replay is.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Standing {
    replay: Uuid,
    position: Position,
    what: What,
}

/// The checkpoint of a replay that nobody else is at.
pub(super) struct Checkpoint {
    path: PathBuf,
    standing: Standing,
    _lock: File,
}

impl Checkpoint {
    /// The checkpoint in a file, or one that begins. `fresh` is the id of a replay that begins.
    pub(super) fn open(
        path: &Path,
        what: &What,
        restart: bool,
        fresh: Uuid,
    ) -> Result<Self, Failure> {
        let shown = path.display();
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        }
        let lock = locked(&beside(path, ".lock"), path)?;
        let mut standing = Standing { replay: fresh, position: 0, what: what.clone() };
        match fs::read(path) {
            Ok(_) if restart => {}
            Ok(bytes) => {
                let found: Standing = serde_json::from_slice(&bytes).map_err(|error| {
                    Failure::Usage(format!("{shown} is no checkpoint of a replay: {error}"))
                })?;
                if found.what != *what {
                    return Err(Failure::Usage(format!(
                        "{shown} is the checkpoint of another replay; name another file, or begin \
                         again with --restart"
                    )));
                }
                standing = found;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(anyhow::Error::new(error).context(shown.to_string()).into()),
        }
        Ok(Self { path: path.to_owned(), standing, _lock: lock })
    }

    /// The id of the replay, which it keeps over all runs.
    pub(super) fn replay(&self) -> Uuid {
        self.standing.replay
    }

    /// The last position that was confirmed, with all before it.
    pub(super) fn position(&self) -> Position {
        self.standing.position
    }

    /// Keeps that all up to a position are confirmed.
    pub(super) fn keep(&mut self, position: Position) -> Result<(), Failure> {
        self.standing.position = position;
        let written = self.write();
        Ok(written.with_context(|| format!("writing {}", self.path.display()))?)
    }

    fn write(&self) -> io::Result<()> {
        let new = beside(&self.path, ".new");
        let mut file = File::create(&new)?;
        serde_json::to_writer_pretty(&mut file, &self.standing)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&new, &self.path)
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn locked(path: &Path, of: &Path) -> Result<File, Failure> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    let file = file.with_context(|| path.display().to_string())?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Failure::Conflict(format!("another replay is at {}", of.display())))
        }
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}
