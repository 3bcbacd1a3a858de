//! Which account the server runs as: ours, or an unprivileged one when we are root.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::{env, fs};

use nix::unistd::{Gid, Uid, User, chown};
use tokio::process::Command;

use super::{Error, while_trying};

/// An account of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    uid: Uid,
    gid: Gid,
    /// Its name, for people.
    pub(super) name: String,
    /// Whether it is another than ours, which only root can do.
    pub(super) other: bool,
}

impl Account {
    /// Who runs the server of `cluster`: whoever made it; for a new one ourselves, or as root
    /// the first of `postgres` and `nobody` that exists.
    pub(super) fn choose(cluster: &Path) -> Result<Self, Error> {
        let owner = fs::metadata(cluster).ok().map(|made| Uid::from_raw(made.uid()));
        let ours = Uid::effective();
        if !ours.is_root() {
            return match owner.filter(|owner| *owner != ours) {
                Some(owner) => {
                    Err(Error::NotOurs { dir: cluster.to_owned(), owner: name_of(owner) })
                }
                None => {
                    Ok(Self { uid: ours, gid: Gid::effective(), name: name_of(ours), other: false })
                }
            };
        }
        let maker = owner.filter(|owner| !owner.is_root()).and_then(user);
        maker
            .or_else(|| named("postgres"))
            .or_else(|| named("nobody"))
            .map(|user| Self { uid: user.uid, gid: user.gid, name: user.name, other: true })
            .ok_or(Error::NoAccount)
    }

    /// A command that runs `program` as this account, in a process group of its own: a Ctrl-C in
    /// the terminal reaches us alone, and we stop what we started, in order.
    ///
    /// The environment is cut to what a server needs: no `PG…` variable of the user may bend it.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C").current_dir("/").process_group(0);
        if let Some(path) = env::var_os("PATH") {
            command.env("PATH", path);
        }
        if self.other {
            // Setting the user as root also drops all supplementary groups.
            command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
        }
        command
    }

    /// Whether this account can reach files in `dir`.
    pub(super) async fn can_enter(&self, dir: &Path) -> Result<bool, Error> {
        if !self.other {
            return Ok(true);
        }
        // Only the kernel knows: modes, access lists and mounts all have their say.
        let mut test = self.command(Path::new("test"));
        let status = test.arg("-x").arg(dir).status().await;
        Ok(status.map_err(while_trying("running test"))?.success())
    }

    /// Makes `dir`, which nobody but this account may enter.
    pub(super) fn make_private_dir(&self, dir: &Path) -> Result<(), Error> {
        use std::os::unix::fs::DirBuilderExt;
        let made = fs::DirBuilder::new().mode(0o700).create(dir);
        made.map_err(while_trying(format!("making {}", dir.display())))?;
        if self.other {
            let given = chown(dir, Some(self.uid), Some(self.gid)).map_err(Into::into);
            given.map_err(while_trying(format!("giving {} to {}", dir.display(), self.name)))?;
        }
        Ok(())
    }

    /// Whether `dir` is a directory of this account that nobody else may enter.
    pub(super) fn keeps_private(&self, dir: &Path) -> bool {
        let closed_to_others = |mode: u32| mode.trailing_zeros() >= 6;
        fs::symlink_metadata(dir).is_ok_and(|found| {
            found.is_dir() && found.uid() == self.uid.as_raw() && closed_to_others(found.mode())
        })
    }
}

fn user(uid: Uid) -> Option<User> {
    User::from_uid(uid).ok().flatten()
}

fn named(name: &str) -> Option<User> {
    User::from_name(name).ok().flatten().filter(|user| !user.uid.is_root())
}

fn name_of(uid: Uid) -> String {
    user(uid).map_or_else(|| uid.to_string(), |user| user.name)
}
