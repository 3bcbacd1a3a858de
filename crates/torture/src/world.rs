//! One run: a Postgres, a proxy before it, clients that append and read through the proxy, and the
//! log that is there in the end.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use sqlx::Connection;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use uuid::Uuid;

use crate::bugs::{Bug, Reading};
use crate::check::{self, Event, Invariant, Violation};
use crate::client;
use crate::cluster::Cluster;
use crate::disk::Disk;
use crate::history::{self, History};
use crate::proxy::{Mode, Proxy};

/// How many processes append and read.
const CLIENTS: usize = 3;
/// How long clients may take to end when they are told to.
const END: Duration = Duration::from_mins(1);

/// A run.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) proxy: Proxy,
    clients: Vec<Child>,
    /// How many were ever started.
    started: u64,
    seed: u64,
    bug: Bug,
    histories: PathBuf,
    /// What power cuts and a full disk have shown so far.
    found: Vec<Violation>,
    // Goes after the server that uses it.
    disk: Option<Disk>,
    _home: TempDir,
}

impl World {
    /// Makes everything, with a bug planted; the database on a disk of its own, if there is one.
    pub(crate) async fn make(seed: u64, bug: Bug, disk: Option<Disk>) -> Result<Self> {
        let home = tempfile::tempdir()?;
        let histories = home.path().join("histories");
        let postgres = disk.as_ref().map_or(home.path(), Disk::root).join("pg");
        std::fs::create_dir(&postgres)?;
        std::fs::create_dir(&histories)?;
        open(home.path())?;
        let cluster = Cluster::make(&postgres, bug.settings).await?;
        let url = Cluster::url(cluster.port());
        eventstore::migrate(&url).await.context("migrating")?;
        bug.spoil.plant(&cluster).await.context("planting a bug")?;
        if let Some(disk) = &disk {
            // Making a cluster does not make it last.
            disk.sync()?;
        }
        let proxy = Proxy::start(cluster.port()).await?;
        let mut world = Self {
            cluster,
            proxy,
            clients: vec![],
            started: 0,
            seed,
            bug,
            histories,
            found: vec![],
            disk,
            _home: home,
        };
        for _ in 0..CLIENTS {
            let client = world.start_client()?;
            world.clients.push(client);
        }
        Ok(world)
    }

    /// How many processes append and read.
    pub(crate) fn clients(&self) -> usize {
        self.clients.len()
    }

    /// The process of a client.
    pub(crate) fn pid(&self, client: usize) -> Result<i32> {
        Ok(self.clients[client].id().context("a client ended by itself")?.try_into()?)
    }

    /// Kills a client and starts another in its place.
    pub(crate) async fn kill_client(&mut self, client: usize) -> Result<()> {
        self.clients[client].kill().await?;
        self.clients[client] = self.start_client()?;
        Ok(())
    }

    fn start_client(&mut self) -> Result<Child> {
        self.started += 1;
        let number = self.started;
        let mut client = Command::new(std::env::current_exe()?);
        client.arg("client").arg("--url").arg(Cluster::url(self.proxy.port()));
        client.arg("--history").arg(self.histories.join(format!("{number}.jsonl")));
        client.arg("--seed").arg((self.seed * 1_000 + number).to_string());
        client.arg("--reading").arg(match self.bug.reading {
            Reading::Store => "store",
            Reading::Position => "position",
            Reading::PositionAndXmin => "position-and-xmin",
        });
        if self.bug.answers_first {
            client.arg("--answers-first");
        }
        // Every other one reads from the end on, as whoever resumes does.
        if number.is_multiple_of(2) {
            client.arg("--from-head");
        }
        client.stdin(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        client.spawn().context("starting a client")
    }

    /// Cuts the power, though only in a copy: what is left of the disk must be a log that keeps
    /// every promise made until then.
    pub(crate) async fn cut_power(&mut self) -> Result<()> {
        let disk = self.disk.as_ref().context("there is no disk to cut off")?;
        let moment = history::now();
        let image = disk.cut()?;
        let data = image.root().join("pg").join("data");
        // The process that wrote it lives, which after a power cut it would not.
        std::fs::remove_file(data.join("postmaster.pid"))?;
        let left = match Cluster::start(&data, self.bug.settings).await {
            Ok(mut server) => {
                let left = log(&server).await;
                server.stop(Signal::SIGQUIT).await?;
                left
            }
            Err(error) => Err(error),
        };
        let history = History::read(&self.histories)?.before(moment);
        let found = match left {
            Ok(left) => check::check(&history, &left),
            Err(error) => vec![Violation { invariant: Invariant::I1, what: format!("{error:#}") }],
        };
        let told = |found: Violation| {
            let what = format!("after a power cut: {}", found.what);
            Violation { what, ..found }
        };
        self.found.extend(found.into_iter().map(told));
        Ok(())
    }

    /// Leaves no space on the disk for a while. A server that gives up is started again.
    pub(crate) async fn fill_disk(&mut self, length: Duration) -> Result<()> {
        let ballast = self.disk.as_ref().context("there is no disk to fill")?.fill()?;
        tokio::time::sleep(length).await;
        std::fs::remove_file(ballast)?;
        if self.cluster.has_ended()? {
            self.cluster.restart().await?;
        }
        Ok(())
    }

    /// Heals everything, lets clients end, and gives what they saw, what is there, how many appends
    /// were cut, and what was found wrong on the way.
    pub(crate) async fn end(mut self) -> Result<(History, Vec<Event>, u64, Vec<Violation>)> {
        self.proxy.set(Mode::Pass);
        for client in &mut self.clients {
            drop(client.stdin.take());
        }
        for client in &mut self.clients {
            timeout(END, client.wait()).await.context("a client does not end")??;
        }
        let history = History::read(&self.histories)?;
        let log = log(&self.cluster).await?;
        self.cluster.stop(Signal::SIGQUIT).await?;
        Ok((history, log, self.proxy.cuts(), self.found))
    }
}

/// The whole log, as its tables have it.
async fn log(cluster: &Cluster) -> Result<Vec<Event>> {
    let mut db = cluster.connect().await?;
    let rows: Vec<(i64, Uuid, i64, Uuid, Vec<u8>)> = sqlx::query_as(
        "SELECT position, stream, version, id, body FROM es.event WHERE log_id = 1
         ORDER BY position, id",
    )
    .fetch_all(&mut db)
    .await?;
    db.close().await?;
    let event = |(position, stream, version, id, body): (i64, Uuid, i64, Uuid, Vec<u8>)| {
        let is_intact = body == client::body(id).into_bytes();
        Event { position, stream, version, id, is_intact }
    };
    Ok(rows.into_iter().map(event).collect())
}

/// Lets another user, as whom Postgres may run, pass through a directory.
pub(crate) fn open(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?)
}
