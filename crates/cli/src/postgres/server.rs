//! Starts the server, starts it again when it dies, and stops it.

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{Connection, PgConnection};
use tokio::process::Child;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::cluster::{Cluster, OWNER};
use super::{Error, leftovers, while_trying};

/// How long a server may take until it accepts connections; crash recovery is part of that.
const READY: Duration = Duration::from_mins(1);
/// How often to try.
const LOOK: Duration = Duration::from_millis(15);
/// How long orphans may keep a new server from starting.
const ORPHANS: Duration = Duration::from_secs(15);
/// The wait before a server that died is started again: doubled each time, up to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// What the server is told at the end, and how long it then has: fast, immediate, dead.
const STOP: [(Signal, Duration); 3] = [
    (Signal::SIGINT, Duration::from_secs(2)),
    (Signal::SIGQUIT, Duration::from_millis(800)),
    (Signal::SIGKILL, Duration::from_millis(300)),
];

/// A running database server that is started again whenever it dies.
#[derive(Debug)]
pub(crate) struct Server {
    url: String,
    login_url: String,
    note: Option<String>,
    stop: CancellationToken,
    keeper: JoinHandle<()>,
}

impl Server {
    /// Starts the server of the instance `id` with data directory `data`, whose lock the caller
    /// holds; makes its cluster first if there is none. Gives up when `interrupted`.
    pub(crate) async fn start(
        data: &Path,
        id: Uuid,
        interrupted: &CancellationToken,
    ) -> Result<Self, Error> {
        let cluster = tokio::select! {
            cluster = Cluster::prepare(data, id) => cluster?,
            () = interrupted.cancelled() => return Err(Error::Interrupted),
        };
        tracing::debug!(dir = %cluster.dir.display(), "the database cluster is there");
        let child = launch(&cluster, interrupted).await?;
        tracing::debug!("the database server takes connections");
        let (url, login_url) = (cluster.url(OWNER), cluster.url(eventstore::LOGIN));
        let note = note(&cluster, data);
        let stop = CancellationToken::new();
        let keeper = tokio::spawn(keep(cluster, child, stop.clone()));
        Ok(Self { url, login_url, note, stop, keeper })
    }

    /// Where to connect as the owner of everything, for maintenance.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where to connect as a login that owns nothing, once it is made.
    pub(crate) fn login_url(&self) -> &str {
        &self.login_url
    }

    /// What a person should know of how it runs, if anything is unusual.
    pub(crate) fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Stops the server; at most four seconds.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.keeper.await {
            tracing::error!(%error, "the database server's keeper failed");
        }
    }
}

/// Says where the database is when it is not where one would look.
fn note(cluster: &Cluster, data: &Path) -> Option<String> {
    let data = data.canonicalize().ok()?;
    (!cluster.dir.starts_with(&data)).then(|| {
        let (name, dir) = (&cluster.account.name, cluster.dir.display());
        let data = data.display();
        format!("user {name} cannot reach {data}, so the database is in {dir}")
    })
}

/// Keeps the server running until told to stop.
async fn keep(cluster: Cluster, mut child: Child, stop: CancellationToken) {
    loop {
        let ended = tokio::select! {
            ended = child.wait() => ended,
            () = stop.cancelled() => return halt(&mut child).await,
        };
        let status = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
        tracing::warn!(status, "the database server ended; starting it again");
        match revive(&cluster, &stop).await {
            Some(next) => child = next,
            None => return,
        }
    }
}

/// Starts the server again, however often it takes; nothing when told to stop.
async fn revive(cluster: &Cluster, stop: &CancellationToken) -> Option<Child> {
    let (mut wait, longest) = BACKOFF;
    loop {
        match launch(cluster, stop).await {
            Ok(child) => {
                tracing::info!("the database server is back");
                return Some(child);
            }
            Err(Error::Interrupted) => return None,
            Err(error) => tracing::error!(%error, "the database server does not start"),
        }
        tokio::select! {
            () = sleep(wait) => wait = (wait * 2).min(longest),
            () = stop.cancelled() => return None,
        }
    }
}

/// Starts the server and waits until it takes connections. While orphans of an earlier one hold
/// its shared memory it is tried again.
async fn launch(cluster: &Cluster, stop: &CancellationToken) -> Result<Child, Error> {
    let deadline = Instant::now() + ORPHANS;
    loop {
        tokio::select! {
            cleared = leftovers::clear(cluster) => cleared?,
            () = stop.cancelled() => return Err(Error::Interrupted),
        }
        let log_start = cluster.log_size();
        let mut child = cluster.server()?.spawn().map_err(while_trying("starting postgres"))?;
        let Some(status) = ready(cluster, &mut child, stop).await? else { return Ok(child) };
        let tail = cluster.log_tail(log_start);
        let held = tail.contains("still in use") || tail.contains("postmaster.pid\" already");
        if !held || Instant::now() >= deadline {
            return Err(Error::Ended {
                status: status.to_string(),
                log: cluster.log.clone(),
                tail,
            });
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until the server takes connections; answers how it ended if it did instead.
async fn ready(
    cluster: &Cluster,
    child: &mut Child,
    stop: &CancellationToken,
) -> Result<Option<ExitStatus>, Error> {
    let url = cluster.url(OWNER);
    let deadline = Instant::now() + READY;
    loop {
        if let Some(status) = child.try_wait().map_err(while_trying("waiting for postgres"))? {
            return Ok(Some(status));
        }
        if let Ok(Ok(connection)) = timeout(READY, PgConnection::connect(&url)).await {
            let _ = connection.close().await;
            return Ok(None);
        }
        if stop.is_cancelled() || Instant::now() >= deadline {
            halt(child).await;
            let silent = Error::Silent { seconds: READY.as_secs(), log: cluster.log.clone() };
            return Err(if stop.is_cancelled() { Error::Interrupted } else { silent });
        }
        sleep(LOOK).await;
    }
}

/// Stops the server: politely, then less so.
async fn halt(child: &mut Child) {
    for (signal, patience) in STOP {
        let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) else { return };
        let _ = kill(Pid::from_raw(pid), signal);
        if timeout(patience, child.wait()).await.is_ok() {
            return;
        }
        tracing::warn!(%signal, "the database server did not end in time");
    }
}
