//! What a run costs beside time: processor, memory, write-ahead log and disk.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::{Connection, PgConnection};
use testkit::processes::descendants;
use tokio::task::JoinHandle;

/// The clock ticks in which the kernel counts processor time (`USER_HZ`, 100 on Linux).
const TICKS_PER_SECOND: f64 = 100.0;
/// How often the memory is looked at.
const EVERY: Duration = Duration::from_millis(500);
const KIB_PER_MIB: f64 = 1024.0;

/// A reading of all counters.
#[derive(Debug, Clone)]
pub struct Reading {
    clients: Vec<u32>,
    processor: f64,
    wal: f64,
    written: f64,
}

/// What was spent between two readings.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    /// Seconds of processor time, of the server and of its clients.
    pub processor: f64,
    /// Bytes of the server's write-ahead log.
    pub wal: f64,
    /// Bytes that the clients themselves had written to a disk.
    pub written: f64,
}

impl Reading {
    /// Reads the counters of a server, and of some of its clients and whatever they started.
    pub async fn take(url: &str, clients: &[u32]) -> Result<Self> {
        let mut connection = PgConnection::connect(url).await?;
        let wal: f64 = sqlx::query_scalar("SELECT (pg_current_wal_lsn() - '0/0')::float8")
            .fetch_one(&mut connection)
            .await?;
        let server = postmaster(&mut connection).await?;
        connection.close().await?;
        let processor = clients.iter().copied().chain([server]).map(processor_of).sum();
        let written = clients.iter().copied().map(written_by).sum();
        Ok(Self { clients: clients.to_vec(), processor, wal, written })
    }

    /// Processor microseconds and bytes of write-ahead log for each of `count` since this reading.
    pub async fn since(self, url: &str, count: f64) -> Result<(f64, f64)> {
        let spent = self.spent(url).await?;
        Ok((spent.processor * 1_000_000.0 / count, spent.wal / count))
    }

    /// All that was spent since this reading.
    pub async fn spent(self, url: &str) -> Result<Spent> {
        let now = Self::take(url, &self.clients).await?;
        Ok(Spent {
            processor: now.processor - self.processor,
            wal: now.wal - self.wal,
            written: now.written - self.written,
        })
    }
}

/// Looks at the memory of a server and its clients from time to time, until it is asked for the most.
#[derive(Debug)]
pub struct Peak {
    stop: tokio::sync::oneshot::Sender<()>,
    task: JoinHandle<f64>,
}

impl Peak {
    /// Begins to look.
    pub async fn watch(url: &str, clients: &[u32]) -> Result<Self> {
        let server = server(url).await?;
        let clients = clients.to_vec();
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            let mut most = 0.0_f64;
            loop {
                most = most.max(memory_of(server, &clients));
                tokio::select! {
                    _ = &mut stopped => return most,
                    () = tokio::time::sleep(EVERY) => {}
                }
            }
        });
        Ok(Self { stop, task })
    }

    /// The most that was seen, in MiB.
    pub async fn most(self) -> Result<f64> {
        // It listens until it hears this, or has panicked, which the next line tells.
        let _ = self.stop.send(());
        Ok(self.task.await?)
    }
}

/// MiB that a server and some clients have now.
pub async fn memory(url: &str, clients: &[u32]) -> Result<f64> {
    Ok(memory_of(server(url).await?, clients))
}

/// The process id of a server.
async fn server(url: &str) -> Result<u32> {
    let mut connection = PgConnection::connect(url).await?;
    let server = postmaster(&mut connection).await?;
    connection.close().await?;
    Ok(server)
}

async fn postmaster(connection: &mut PgConnection) -> Result<u32> {
    let directory: String = sqlx::query_scalar("SELECT current_setting('data_directory')")
        .fetch_one(connection)
        .await?;
    let pid = fs::read_to_string(format!("{directory}/postmaster.pid"))?;
    Ok(pid.lines().next().context("no process id")?.parse()?)
}

/// A process and all that descend from it.
fn family(pid: u32) -> impl Iterator<Item = u32> {
    [pid].into_iter().chain(descendants(pid))
}

/// Seconds of processor time of a process and all that descend from it, those that have ended included.
fn processor_of(pid: u32) -> f64 {
    let ticks = |pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name is in brackets and may have spaces.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        // User and system time; then those of children that were waited for.
        Some(fields.get(11..15)?.iter().filter_map(|text| text.parse::<f64>().ok()).sum::<f64>())
    };
    family(pid).filter_map(ticks).sum::<f64>() / TICKS_PER_SECOND
}

/// Bytes that a process and those of its descendants that live had written to a disk.
fn written_by(pid: u32) -> f64 {
    let bytes = |pid| {
        let io = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
        io.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse::<f64>().ok())
    };
    family(pid).filter_map(bytes).sum()
}

/// MiB: of the clients all that is in memory, of the server only what its processes do not share. What
/// they share is the cache, which is as large as it was told to be and outlives a run.
fn memory_of(server: u32, clients: &[u32]) -> f64 {
    let kib = |pid, what| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let size = status.lines().find_map(|line| line.strip_prefix(what))?;
        size.trim().strip_suffix(" kB")?.parse::<f64>().ok()
    };
    let server: f64 = family(server).filter_map(|pid| kib(pid, "RssAnon:")).sum();
    let clients = clients.iter().copied().flat_map(family);
    let clients: f64 = clients.filter_map(|pid| kib(pid, "VmRSS:")).sum();
    (server + clients) / KIB_PER_MIB
}
