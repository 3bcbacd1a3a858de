//! The directory where an instance keeps its own files: who it is, its lock, its keys.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use domain::{Id, Tenant};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Tells our directory from any other.
const MARKER: &str = "instance.json";
/// Held by the one process that runs the instance.
const LOCK: &str = "lock";
/// For clients: where the API is, and a token for it.
const DEV: &str = "dev.json";
/// The key that all others in the vault are wrapped with.
const MASTER_KEY: &str = "master.key";
/// The layout of the directory.
const FORMAT: u32 = 1;

/// A data directory that is ours until it is dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    instance: Instance,
    _lock: File,
}

/// What makes an instance itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Instance {
    format: u32,
    tenant: Id<Tenant>,
}

/// What clients need to know of a running `everstep dev`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dev {
    /// Where the API is.
    pub(crate) api_url: String,
    /// An admin token for it.
    pub(crate) token: String,
    /// Where the database is.
    pub(crate) database_url: String,
}

/// Why the directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There are files in it that we did not write.
    #[error(
        "{} holds files that are not Everstep's ({example}); choose another directory with \
         --data-dir", path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// One of the files.
        example: String,
    },
    /// Another process runs the instance.
    #[error(
        "{} is in use by another everstep{holder}; stop it, or choose another directory with \
         --data-dir", path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Which process it is, if it says so.
        holder: String,
    },
    /// A release that we do not know wrote it.
    #[error("{} was written by a newer release (format {format})", path.display())]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// One of our files is damaged.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl DataDir {
    /// Takes the directory at `path`, made if need be; `new_tenant` is asked for an id when it
    /// is new. Nobody else can take it until this is dropped.
    pub(crate) fn take(path: &Path, new_tenant: impl FnOnce() -> Uuid) -> Result<Self, Error> {
        make(path)?;
        refuse_foreign(path)?;
        let lock = lock(path)?;
        let marker = path.join(MARKER);
        let instance = match read_optional::<Instance>(&marker)? {
            Some(instance) if instance.format != FORMAT => {
                return Err(Error::Newer { path: path.to_owned(), format: instance.format });
            }
            Some(instance) => instance,
            None => {
                let tenant = Id::from_uuid(new_tenant());
                let instance = Instance { format: FORMAT, tenant };
                write_private(&marker, &json(&instance))?;
                instance
            }
        };
        Ok(Self { path: path.to_owned(), instance, _lock: lock })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whose data the instance works for.
    pub(crate) fn tenant(&self) -> Id<Tenant> {
        self.instance.tenant
    }

    /// Tells clients where the instance is.
    pub(crate) fn announce(&self, dev: &Dev) -> Result<(), Error> {
        write_private(&self.path.join(DEV), &json(dev))
    }
}

/// What a running `everstep dev` tells the clients of its directory, if there is one.
pub(crate) fn announced(path: &Path) -> Result<Option<Dev>, Error> {
    read_optional(&path.join(DEV))
}

/// The master key in the directory at `path`, 32 bytes in hex; made from `random` bytes if there
/// is none. Of several processes that make one at the same time, the first decides.
pub(crate) fn master_key(
    path: &Path,
    random: impl FnOnce() -> [u8; 32],
) -> Result<[u8; 32], Error> {
    make(path)?;
    let file = path.join(MASTER_KEY);
    if !file.exists() {
        let new = path.join(format!("{MASTER_KEY}.{}", std::process::id()));
        write_file(&new, &hex::encode(random()))?;
        let linked = fs::hard_link(&new, &file);
        fs::remove_file(&new).map_err(at(&new))?;
        linked.or_else(already_there).map_err(at(&file))?;
    }
    let text = fs::read_to_string(&file).map_err(at(&file))?;
    parse_master_key(&text).ok_or_else(|| Error::Damaged {
        path: file,
        reason: "it does not hold 32 bytes in hex".to_owned(),
    })
}

/// Reads a master key: 32 bytes in hex.
pub(crate) fn parse_master_key(text: &str) -> Option<[u8; 32]> {
    hex::decode(text.trim()).ok()?.try_into().ok()
}

fn already_there(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}

/// Makes the directory. Root's must let the database's account through; secrets in it are for
/// their owner alone in any case.
fn make(path: &Path) -> Result<(), Error> {
    let mode = if nix::unistd::Uid::effective().is_root() { 0o755 } else { 0o700 };
    DirBuilder::new().recursive(true).mode(mode).create(path).map_err(at(path))
}

/// A directory without our marker must be empty but for what a first start may have left.
fn refuse_foreign(path: &Path) -> Result<(), Error> {
    if path.join(MARKER).exists() {
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(at(path))? {
        let name = entry.map_err(at(path))?.file_name().to_string_lossy().into_owned();
        if name != LOCK && !name.starts_with(MARKER) && !name.starts_with(MASTER_KEY) {
            return Err(Error::Foreign { path: path.to_owned(), example: name });
        }
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File, Error> {
    let name = path.join(LOCK);
    let mut options = OpenOptions::new();
    let opened =
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&name);
    let mut file = opened.map_err(at(&name))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let pid = pid.trim();
            let holder = if pid.is_empty() { String::new() } else { format!(" (process {pid})") };
            return Err(Error::InUse { path: path.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(Error::Io { path: name, source }),
    }
    file.set_len(0).map_err(at(&name))?;
    file.rewind().map_err(at(&name))?;
    writeln!(file, "{}", std::process::id()).map_err(at(&name))?;
    Ok(file)
}

fn read_optional<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, Error> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Io { path: path.to_owned(), source }),
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| Error::Damaged { path: path.to_owned(), reason: error.to_string() })
}

/// Replaces the file at `path`, whole or not at all; only its owner can read it.
fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    let mut new = path.to_owned().into_os_string();
    new.push(".new");
    let new = PathBuf::from(new);
    write_file(&new, text)?;
    fs::rename(&new, path).map_err(at(path))
}

fn write_file(path: &Path, text: &str) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    let mut file = opened.map_err(at(path))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(at(path))
}

fn json<T: Serialize>(value: &T) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("our own types are plain data");
    text.push('\n');
    text
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn take(path: &Path) -> Result<DataDir, Error> {
        DataDir::take(path, || Uuid::from_u128(7))
    }

    #[test]
    fn an_instance_stays_itself() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("deep/down");
        assert_eq!(take(&path).unwrap().tenant().as_uuid(), Uuid::from_u128(7));
        let again = DataDir::take(&path, || panic!("it has a tenant")).unwrap();
        assert_eq!(again.tenant().as_uuid(), Uuid::from_u128(7));
    }

    #[test]
    fn only_one_process_has_it_and_the_others_learn_which() {
        let dir = tempfile::tempdir().unwrap();
        let held = take(dir.path()).unwrap();
        let error = take(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
        drop(held);
        take(dir.path()).unwrap();
    }

    #[test]
    fn a_directory_of_somebody_else_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("diary.txt"), "mine").unwrap();
        let error = take(dir.path()).unwrap_err().to_string();
        assert!(error.contains("diary.txt") && error.contains("--data-dir"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_first_start_that_was_killed_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        for leftover in ["lock", "instance.json.new"] {
            fs::write(dir.path().join(leftover), "{").unwrap();
        }
        take(dir.path()).unwrap();
    }

    #[test]
    fn a_newer_format_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let marker = format!(r#"{{"format":2,"tenant":"{}"}}"#, Uuid::nil());
        fs::write(dir.path().join(MARKER), marker).unwrap();
        assert!(matches!(take(dir.path()), Err(Error::Newer { format: 2, .. })));
    }

    #[test]
    fn clients_find_what_was_announced_and_nobody_else_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(announced(dir.path()).unwrap(), None);
        let dev = Dev {
            api_url: "http://127.0.0.1:1".to_owned(),
            token: "evs_x".to_owned(),
            database_url: "postgres://x".to_owned(),
        };
        take(dir.path()).unwrap().announce(&dev).unwrap();
        assert_eq!(announced(dir.path()).unwrap(), Some(dev));
        let mode = fs::metadata(dir.path().join(DEV)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_master_key_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(master_key(dir.path(), || [1; 32]).unwrap(), [1; 32]);
        assert_eq!(master_key(dir.path(), || [2; 32]).unwrap(), [1; 32]);
        let mode = fs::metadata(dir.path().join(MASTER_KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(dir.path().join(MASTER_KEY), "short").unwrap();
        assert!(matches!(master_key(dir.path(), || [2; 32]), Err(Error::Damaged { .. })));
    }
}
