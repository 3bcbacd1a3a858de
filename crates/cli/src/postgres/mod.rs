//! A private Postgres: found, made, started, kept running and stopped by `everstep dev`.
//!
//! It listens on a Unix socket only, in a directory that only its own account may enter, so it
//! needs no password and no port. It is as durable as any other: nothing is switched off.

mod account;
mod binaries;
mod cluster;
mod leftovers;
mod server;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

pub(crate) use server::Server;

/// The oldest major version that the platform is tested with.
const OLDEST: u32 = 15;

/// Why there is no Postgres.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No server binaries on this machine.
    #[error(
        "found no PostgreSQL server (initdb and postgres, {OLDEST} or newer) in PATH or \
         /usr/lib/postgresql; install one (Debian: apt-get install postgresql), or name a running \
         one with --database-url"
    )]
    NotInstalled,
    /// The data was written by a major version that is not here.
    #[error(
        "the data in {} was written by PostgreSQL {wanted}, which is not installed (found: \
         {found}); install that version, or choose another --data-dir", dir.display()
    )]
    WrongVersion {
        /// The cluster.
        dir: PathBuf,
        /// Its major version.
        wanted: u32,
        /// The major versions that are installed.
        found: String,
    },
    /// Root runs it, and there is no account to give it to.
    #[error("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")]
    NoAccount,
    /// Somebody else made the cluster.
    #[error(
        "the database in {} belongs to user {owner}; run as that user or as root, or choose \
         another --data-dir", dir.display()
    )]
    NotOurs {
        /// The cluster.
        dir: PathBuf,
        /// Whose it is.
        owner: String,
    },
    /// The account that runs the server lost its way to the cluster.
    #[error(
        "user {owner}, who runs the database, can no longer reach {}; open the directories above \
         it to that user", dir.display()
    )]
    OutOfReach {
        /// The cluster.
        dir: PathBuf,
        /// Who runs it.
        owner: String,
    },
    /// The place for sockets under /tmp was taken by somebody else.
    #[error("{} exists and is not private to user {owner}; remove it", dir.display())]
    SocketTaken {
        /// The directory.
        dir: PathBuf,
        /// Whose it should be.
        owner: String,
    },
    /// initdb failed.
    #[error("initdb failed: {0}")]
    Initdb(String),
    /// It ended before it took connections.
    #[error("PostgreSQL ended while it started ({status}); its log {} ends with:\n{tail}", log.display())]
    Ended {
        /// How it ended.
        status: String,
        /// Its log.
        log: PathBuf,
        /// The last lines of its log.
        tail: String,
    },
    /// It runs, but takes no connections.
    #[error("PostgreSQL took no connections for {seconds} seconds; see {}", log.display())]
    Silent {
        /// How long it was waited for.
        seconds: u64,
        /// Its log.
        log: PathBuf,
    },
    /// We were told to stop while it started.
    #[error("interrupted")]
    Interrupted,
    /// The operating system failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Its answer.
        source: io::Error,
    },
}

/// Says what was tried when the operating system failed.
fn while_trying(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let what = what.into();
    move |source| Error::Io { what, source }
}
