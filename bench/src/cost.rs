//! What a run costs beside time: processor, memory and write-ahead log.

use std::fs;

use anyhow::{Context, Result};
use sqlx::{Connection, PgConnection};

/// The clock ticks in which the kernel counts processor time (`USER_HZ`, 100 on Linux).
const TICKS_PER_SECOND: f64 = 100.0;

/// A reading of all counters.
#[derive(Debug, Clone)]
pub struct Reading {
    clients: Vec<u32>,
    processor: f64,
    wal: f64,
}

impl Reading {
    /// Reads the counters of a server, and of some of its clients and their children.
    pub async fn take(url: &str, clients: &[u32]) -> Result<Self> {
        let mut connection = PgConnection::connect(url).await?;
        let wal: f64 = sqlx::query_scalar("SELECT (pg_current_wal_lsn() - '0/0')::float8")
            .fetch_one(&mut connection)
            .await?;
        let postmaster = postmaster(&mut connection).await?;
        connection.close().await?;
        let mut processor = 0.0;
        for pid in clients.iter().copied().chain([postmaster]) {
            processor += family(pid)?;
        }
        Ok(Self { clients: clients.to_vec(), processor, wal })
    }

    /// Processor microseconds and bytes of write-ahead log for each of `count` since this reading.
    pub async fn since(self, url: &str, count: f64) -> Result<(f64, f64)> {
        let now = Self::take(url, &self.clients).await?;
        Ok(((now.processor - self.processor) * 1_000_000.0 / count, (now.wal - self.wal) / count))
    }
}

/// The process id of the server.
async fn postmaster(connection: &mut PgConnection) -> Result<u32> {
    let directory: String = sqlx::query_scalar("SELECT current_setting('data_directory')")
        .fetch_one(connection)
        .await?;
    let pid = fs::read_to_string(format!("{directory}/postmaster.pid"))?;
    Ok(pid.lines().next().context("no process id")?.parse()?)
}

/// Seconds of processor time of a process, its living children, and those that have ended.
fn family(pid: u32) -> Result<f64> {
    let mut ticks = 0.0;
    for entry in fs::read_dir("/proc")? {
        let Ok(stat) = fs::read_to_string(entry?.path().join("stat")) else { continue };
        // The name is in brackets and may have spaces.
        let Some((id, rest)) = stat.split_once(" (") else { continue };
        let Some((_, fields)) = rest.rsplit_once(") ") else { continue };
        let fields: Vec<&str> = fields.split(' ').collect();
        let field = |nth: usize| fields.get(nth).and_then(|text| text.parse::<f64>().ok());
        let (mine, parent) = (id.parse() == Ok(pid), field(1) == Some(f64::from(pid)));
        // User and system time; then those of children that were waited for.
        if mine || parent {
            ticks += field(11).unwrap_or(0.0) + field(12).unwrap_or(0.0);
        }
        if mine {
            ticks += field(13).unwrap_or(0.0) + field(14).unwrap_or(0.0);
        }
    }
    Ok(ticks / TICKS_PER_SECOND)
}
