//! What goes wrong on purpose. Names and numbers are those of docs/reliability.md.

use std::time::Duration;

use anyhow::Result;
use nix::sys::signal::Signal;
use rand::RngExt;
use rand::rngs::StdRng;
use sqlx::{Connection, PgConnection};
use tokio::time::sleep;

use crate::cluster::send;
use crate::proxy::Mode;
use crate::world::World;

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// F1: a process that appends and reads is killed, and another one started.
    KillClient,
    /// F3: Postgres is killed, all of it.
    KillPostgres,
    /// F3: one back end of Postgres is killed; the server recovers from the crash of one.
    KillBackend,
    /// F4: Postgres is stopped, fast or at once, and is away for a moment.
    RestartPostgres,
    /// F5: the power is cut: a copy of what had reached the disk is started and checked.
    CutPower,
    /// F8, F10: connections break when an append is committed, before the client hears of it.
    CutAfterCommit,
    /// F10: connections break before an append is committed.
    CutBeforeCommit,
    /// F11: nothing gets through, or no answers do, or connections are reset.
    BreakNetwork,
    /// F13: no space is left on the disk.
    FillDisk,
    /// F15: somebody takes all connections.
    TakeConnections,
    /// F18: a process stands still, and goes on as if nothing had been.
    FreezeClient,
    /// F20: a transaction is left open, and holds back the horizon of all others.
    LeaveTransaction,
}

/// Those that need a disk of their own.
pub(crate) const OF_DISKS: [Fault; 2] = [Fault::CutPower, Fault::FillDisk];

/// All others.
pub(crate) const ALL: [Fault; 10] = [
    Fault::KillClient,
    Fault::KillPostgres,
    Fault::KillBackend,
    Fault::RestartPostgres,
    Fault::CutAfterCommit,
    Fault::CutBeforeCommit,
    Fault::BreakNetwork,
    Fault::TakeConnections,
    Fault::FreezeClient,
    Fault::LeaveTransaction,
];

impl Fault {
    /// Its number in docs/reliability.md.
    pub(crate) fn number(self) -> &'static str {
        match self {
            Self::KillClient => "F1",
            Self::KillPostgres | Self::KillBackend => "F3",
            Self::RestartPostgres => "F4",
            Self::CutPower => "F5",
            Self::CutAfterCommit => "F8, F10",
            Self::CutBeforeCommit => "F10",
            Self::BreakNetwork => "F11",
            Self::FillDisk => "F13",
            Self::TakeConnections => "F15",
            Self::FreezeClient => "F18",
            Self::LeaveTransaction => "F20",
        }
    }

    /// Has it happen, and heals it.
    pub(crate) async fn happen(self, world: &mut World, random: &mut StdRng) -> Result<()> {
        match self {
            Self::KillClient => world.kill_client(random.random_range(0..world.clients())).await,
            Self::KillPostgres => {
                world.cluster.kill().await?;
                world.cluster.restart().await
            }
            Self::KillBackend => kill_backend(world).await,
            Self::RestartPostgres => {
                let how = [Signal::SIGINT, Signal::SIGQUIT][random.random_range(0..2)];
                world.cluster.stop(how).await?;
                sleep(Duration::from_millis(random.random_range(0..2_000))).await;
                world.cluster.restart().await
            }
            Self::CutPower => world.cut_power().await,
            Self::FillDisk => {
                world.fill_disk(Duration::from_millis(random.random_range(500..3_000))).await
            }
            Self::CutAfterCommit => cut(world, Mode::CutAfter, random).await,
            Self::CutBeforeCommit => cut(world, Mode::CutBefore, random).await,
            Self::BreakNetwork => {
                let mode = match random.random_range(0..3) {
                    0 => Mode::Blackhole,
                    1 => Mode::OneWay,
                    _ => Mode::Delay(Duration::from_millis(20)),
                };
                world.proxy.set(mode);
                sleep(Duration::from_millis(random.random_range(200..3_000))).await;
                world.proxy.reset();
                world.proxy.set(Mode::Pass);
                Ok(())
            }
            Self::TakeConnections => take_connections(world).await,
            Self::FreezeClient => {
                let pid = world.pid(random.random_range(0..world.clients()))?;
                send(pid, Signal::SIGSTOP);
                sleep(Duration::from_millis(random.random_range(200..3_000))).await;
                send(pid, Signal::SIGCONT);
                Ok(())
            }
            Self::LeaveTransaction => leave_transaction(world).await,
        }
    }
}

async fn cut(world: &World, mode: Mode, random: &mut StdRng) -> Result<()> {
    world.proxy.set(mode);
    sleep(Duration::from_millis(random.random_range(50..800))).await;
    world.proxy.set(Mode::Pass);
    Ok(())
}

/// Kills the back end of somebody who appends, if there is one.
async fn kill_backend(world: &World) -> Result<()> {
    let mut db = world.cluster.connect().await?;
    let pid: Option<i32> = sqlx::query_scalar(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'everstep command'
         ORDER BY random() LIMIT 1",
    )
    .fetch_optional(&mut db)
    .await?;
    if let Some(pid) = pid {
        send(pid, Signal::SIGKILL);
    }
    Ok(())
}

/// Takes every connection that is free, for a moment.
async fn take_connections(world: &World) -> Result<()> {
    let mut taken = vec![];
    while let Ok(connection) = world.cluster.connect().await {
        taken.push(connection);
    }
    world.proxy.reset();
    sleep(Duration::from_millis(1_500)).await;
    drop(taken);
    Ok(())
}

async fn leave_transaction(world: &World) -> Result<()> {
    let mut db: PgConnection = world.cluster.connect().await?;
    let mut open = db.begin().await?;
    sqlx::query("SELECT pg_current_xact_id()").execute(&mut *open).await?;
    sleep(Duration::from_secs(2)).await;
    Ok(open.rollback().await?)
}
