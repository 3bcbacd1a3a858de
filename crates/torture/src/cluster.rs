//! A Postgres of our own: made, started, stopped in every way there is, and started again.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User};
use sqlx::{Connection, PgConnection};
use tokio::process::{Child, Command};
use tokio::time::sleep;

/// How long a start may take, crash recovery included.
const START: Duration = Duration::from_mins(1);
/// SQLSTATE `cannot_connect_now`: the server starts, stops or recovers.
const RECOVERING: &str = "57P03";
/// How long a stop may take.
const STOP: Duration = Duration::from_secs(20);

/// A database cluster and its server. Dropping it kills the server; the files stay.
#[derive(Debug)]
pub(crate) struct Cluster {
    data: PathBuf,
    port: u16,
    settings: Vec<String>,
    server: Option<Child>,
}

impl Cluster {
    /// Makes a cluster in `home`, which exists, and starts its server with more `settings`.
    pub(crate) async fn make(home: &Path, settings: &[&str]) -> Result<Self> {
        let data = home.join("data");
        if let Some(account) = account() {
            chown(home, Some(account.uid.as_raw()), Some(account.gid.as_raw()))?;
        }
        let mut initdb = command("initdb");
        initdb.arg("-D").arg(&data).args(["-U", "postgres", "-A", "trust", "-E", "UTF8"]);
        initdb.args(["--locale=C", "--no-sync", "--data-checksums"]);
        let made = initdb.current_dir(home).output().await.context("running initdb")?;
        ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        Self::start(&data, settings).await
    }

    /// Starts a server on a cluster that is there: as it was left, or a copy of one.
    pub(crate) async fn start(data: &Path, settings: &[&str]) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut cluster = Self { data: data.to_owned(), port, settings, server: None };
        cluster.restart().await?;
        Ok(cluster)
    }

    /// Where the server listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where its files are.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Where to connect, as the owner of everything, through `port`.
    pub(crate) fn url(port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable")
    }

    /// A connection past all proxies. A server that recovers from a crash is waited for.
    pub(crate) async fn connect(&self) -> Result<PgConnection> {
        let deadline = Instant::now() + START;
        loop {
            match PgConnection::connect(&Self::url(self.port)).await {
                Err(sqlx::Error::Database(error))
                    if error.code().as_deref() == Some(RECOVERING) && Instant::now() < deadline =>
                {
                    sleep(Duration::from_millis(30)).await;
                }
                done => return Ok(done?),
            }
        }
    }

    /// Starts the server that was stopped or killed, and waits until it takes connections. Orphans
    /// of a killed one may hold its shared memory for a moment; then it is tried again.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        let deadline = Instant::now() + START;
        loop {
            let mut child = self.spawn()?;
            while child.try_wait()?.is_none() && Instant::now() < deadline {
                if let Ok(connection) = self.connect().await {
                    connection.close().await?;
                    self.server = Some(child);
                    return Ok(());
                }
                sleep(Duration::from_millis(30)).await;
            }
            if Instant::now() >= deadline {
                child.start_kill()?;
                let log = fs::read_to_string(self.log()).unwrap_or_default();
                let tail = log.len().saturating_sub(2_000);
                bail!("Postgres does not start:\n{}", log.get(tail..).unwrap_or_default());
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    fn spawn(&self) -> Result<Child> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut server = command("postgres");
        server.arg("-D").arg(&self.data).args(["-p", &self.port.to_string(), "-k", ""]);
        for setting in ["listen_addresses=127.0.0.1", "max_connections=60"] {
            server.args(["-c", setting]);
        }
        for setting in &self.settings {
            server.args(["-c", setting]);
        }
        server.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        server.spawn().context("starting postgres")
    }

    fn log(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    /// Whether the server has given up.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(match &mut self.server {
            None => true,
            Some(server) => server.try_wait()?.is_some(),
        })
    }

    /// Asks the server to stop (SIGINT: fast, SIGQUIT: at once) and waits until it has.
    pub(crate) async fn stop(&mut self, how: Signal) -> Result<()> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        send(pid(&server)?, how);
        tokio::time::timeout(STOP, server.wait()).await.context("Postgres does not stop")??;
        Ok(())
    }

    /// Kills the server and all its processes at once. The postmaster is held first, so that it
    /// cannot see its children die and clean up after them.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        let postmaster = pid(&server)?;
        send(postmaster, Signal::SIGSTOP);
        for child in children(postmaster) {
            send(child, Signal::SIGKILL);
        }
        send(postmaster, Signal::SIGKILL);
        server.wait().await?;
        Ok(())
    }
}

/// Whom Postgres runs as: it refuses to be root.
fn account() -> Option<User> {
    let user = |name| User::from_name(name).ok().flatten();
    Uid::effective().is_root().then(|| user("postgres").or_else(|| user("nobody"))).flatten()
}

/// A program of the newest Postgres that is installed.
fn command(program: &str) -> Command {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .collect();
    found.sort();
    let path = found.pop().map_or_else(|| program.into(), |(_, dir)| dir.join("bin").join(program));
    let mut command = Command::new(path);
    if let Some(account) = account() {
        command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
    }
    command
}

fn pid(child: &Child) -> Result<i32> {
    Ok(child.id().context("it has ended already")?.try_into()?)
}

/// Sends a signal to a process that may be gone.
pub(crate) fn send(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// The children of a process.
fn children(parent: i32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    list.unwrap_or_default().split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
