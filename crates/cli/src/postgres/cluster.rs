//! Where the data, the socket and the log of the server are, and how they come to be.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::process::Command;
use url::Url;
use uuid::Uuid;

use super::account::Account;
use super::binaries::Binaries;
use super::{Error, while_trying};

/// Where clusters go whose data directory the server's account cannot reach.
const ELSEWHERE: &str = "/var/lib/everstep";
/// The longest path of a socket that every system takes, in bytes.
const LONGEST_SOCKET: usize = 100;
/// Who owns everything.
pub(super) const OWNER: &str = "everstep";
/// The socket's name is made of the port, although there is none.
const PORT: u16 = 5432;
/// A log longer than this, in bytes, is set aside at the next start.
const LONG_LOG: u64 = 16 * 1024 * 1024;
/// How much of the end of a log is shown, in bytes.
const TAIL: usize = 2_000;

/// A database cluster and everything around it.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    /// The data, as the server's own account names it.
    pub(super) dir: PathBuf,
    /// The directory of the socket.
    pub(super) socket: PathBuf,
    /// What the server says.
    pub(super) log: PathBuf,
    /// Who runs it.
    pub(super) account: Account,
    binaries: Binaries,
}

impl Cluster {
    /// Finds the cluster of the instance `id` with data directory `data`, or makes it.
    pub(super) async fn prepare(data: &Path, id: Uuid) -> Result<Self, Error> {
        let data =
            data.canonicalize().map_err(while_trying(format!("finding {}", data.display())))?;
        let (home, account) = home(&data, id).await?;
        let dir = home.join("postgres");
        let existing = version_of(&dir);
        let binaries = Binaries::find(existing.map(|major| (dir.as_path(), major)))?;
        let socket = socket_dir(&home, &account)?;
        let cluster = Self { dir, socket, log: data.join("postgres.log"), account, binaries };
        if existing.is_none() {
            cluster.make().await?;
        }
        Ok(cluster)
    }

    /// Where to connect over the socket, and as whom.
    pub(super) fn url(&self, login: &str) -> String {
        let url = format!("postgres://{login}@localhost/postgres");
        let mut url = Url::parse(&url).expect("a valid URL");
        url.set_port(Some(PORT)).expect("this scheme has ports");
        let socket = self.socket.to_string_lossy();
        url.query_pairs_mut().append_pair("host", &socket).append_pair("sslmode", "disable");
        url.into()
    }

    /// The server, ready to be started.
    pub(super) fn server(&self) -> Result<Command, Error> {
        let log = self.open_log()?;
        let errors = log.try_clone().map_err(while_trying("sharing the log"))?;
        let mut server = self.account.command(&self.binaries.postgres());
        server.arg("-D").arg(&self.dir).arg("-k").arg(&self.socket);
        for setting in [
            "listen_addresses=",
            "port=5432",
            "unix_socket_permissions=0700",
            "fsync=on",
            "full_page_writes=on",
            "synchronous_commit=on",
            "logging_collector=off",
            "timezone=UTC",
            "log_timezone=UTC",
        ] {
            server.arg("-c").arg(setting);
        }
        server.stdin(Stdio::null()).stdout(log).stderr(errors);
        Ok(server)
    }

    /// How much the log holds, in bytes.
    pub(super) fn log_size(&self) -> u64 {
        fs::metadata(&self.log).map_or(0, |log| log.len())
    }

    /// The end of what the log holds after its first `from` bytes.
    pub(super) fn log_tail(&self, from: u64) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let new = log.get(usize::try_from(from).unwrap_or(0)..).unwrap_or_default();
        let tail = new.get(new.len().saturating_sub(TAIL)..).unwrap_or_default();
        String::from_utf8_lossy(tail).trim_end().to_owned()
    }

    fn open_log(&self) -> Result<File, Error> {
        if self.log_size() > LONG_LOG {
            let aside = fs::rename(&self.log, self.log.with_extension("log.old"));
            aside.map_err(while_trying("setting a long log aside"))?;
        }
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        log.map_err(while_trying(format!("opening {}", self.log.display())))
    }

    /// Makes the cluster beside its place and moves it there when it is whole, so that one that
    /// is there is never half made. What earlier attempts left is removed.
    async fn make(&self) -> Result<(), Error> {
        let home = self.dir.parent().expect("it is in a home");
        for entry in
            fs::read_dir(home).map_err(while_trying("listing the data directory"))?.flatten()
        {
            if entry.file_name().to_string_lossy().starts_with("postgres.new.") {
                let removed = remove_all(&entry.path()).await;
                removed.map_err(while_trying("removing a half-made database"))?;
            }
        }
        if self.dir.exists() {
            // Only an empty directory may go: whatever it holds, initdb did not make it.
            let removed = fs::remove_dir(&self.dir);
            removed.map_err(while_trying(format!("replacing {}", self.dir.display())))?;
        }
        // The name is new each time: an initdb that outlived its parent cannot come in between.
        let new = home.join(format!("postgres.new.{}", std::process::id()));
        self.account.make_private_dir(&new)?;
        self.initdb(&new).await?;
        fs::rename(&new, &self.dir).map_err(while_trying("moving the new database to its place"))
    }

    async fn initdb(&self, dir: &Path) -> Result<(), Error> {
        let mut initdb = self.account.command(&self.binaries.initdb());
        initdb.arg("-D").arg(dir);
        initdb.arg(format!("--username={OWNER}"));
        initdb.args(["--auth-local=trust", "--auth-host=reject"]);
        initdb.args(["--encoding=UTF8", "--locale=C", "--data-checksums", "--no-instructions"]);
        let output = initdb.stdin(Stdio::null()).kill_on_drop(true).output().await;
        let Output { status, stderr, .. } = output.map_err(while_trying("running initdb"))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::Initdb(String::from_utf8_lossy(&stderr).trim().to_owned()))
    }
}

/// The major version that wrote the cluster in `dir`, if there is one.
fn version_of(dir: &Path) -> Option<u32> {
    let version = fs::read_to_string(dir.join("PG_VERSION")).ok()?;
    version.trim().split('.').next()?.parse().ok()
}

/// Where the cluster of instance `id` lives, and who runs it: in `data`, unless the account
/// cannot get there, as in root's own directories. Once made, a cluster stays where it is.
///
/// The place elsewhere goes by the instance and not by the path of its directory: a data
/// directory that is made anew starts with a new database.
async fn home(data: &Path, id: Uuid) -> Result<(PathBuf, Account), Error> {
    let elsewhere = Path::new(ELSEWHERE).join(id.to_string());
    let made_elsewhere = elsewhere.join("postgres");
    if made_elsewhere.exists() {
        return Ok((elsewhere, Account::choose(&made_elsewhere)?));
    }
    let here = data.join("postgres");
    let account = Account::choose(&here)?;
    if account.can_enter(data).await? {
        return Ok((data.to_owned(), account));
    }
    if here.exists() {
        return Err(Error::OutOfReach { dir: here, owner: account.name });
    }
    make_reachable(&elsewhere)?;
    Ok((elsewhere, account))
}

/// Makes `home`, which everybody may enter.
fn make_reachable(home: &Path) -> Result<(), Error> {
    fs::create_dir_all(home).map_err(while_trying(format!("making {}", home.display())))?;
    for dir in [Path::new(ELSEWHERE), home] {
        let opened = fs::set_permissions(dir, fs::Permissions::from_mode(0o755));
        opened.map_err(while_trying(format!("opening {}", dir.display())))?;
    }
    Ok(())
}

/// The directory for the socket: in `home` if its path is short enough, else under /tmp, where
/// the name follows from `home` so that clients find it again.
fn socket_dir(home: &Path, account: &Account) -> Result<PathBuf, Error> {
    let dir = home.join("socket");
    let path = dir.join(format!(".s.PGSQL.{PORT}"));
    let dir = if path.as_os_str().len() <= LONGEST_SOCKET {
        dir
    } else {
        let digest = hex::encode(Sha256::digest(home.as_os_str().as_encoded_bytes()));
        Path::new("/tmp").join(format!("everstep-{}", &digest[..16]))
    };
    if fs::symlink_metadata(&dir).is_err() {
        account.make_private_dir(&dir)?;
    }
    if account.keeps_private(&dir) {
        return Ok(dir);
    }
    Err(Error::SocketTaken { dir, owner: account.name.clone() })
}

/// Removes a directory into which an initdb may still write that outlived its parent: it ends by
/// itself when what it works on is gone.
async fn remove_all(dir: &Path) -> io::Result<()> {
    const TRIES: u32 = 50;
    let mut tries = 0;
    loop {
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries < TRIES => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            done => return done,
        }
    }
}
