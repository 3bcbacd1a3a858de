//! Ends what an earlier run left behind when it was killed: a server without a supervisor, or
//! backends without a server.
//!
//! The caller holds the lock of the data directory, so whatever still runs on it is nobody's.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use super::cluster::Cluster;
use super::{Error, while_trying};

/// How often to look whether processes have ended.
const LOOK: Duration = Duration::from_millis(20);
/// What an orphaned server is told, and how long it then has.
const SERVER: [(Signal, Duration); 3] = [
    (Signal::SIGINT, Duration::from_secs(5)),
    (Signal::SIGQUIT, Duration::from_secs(3)),
    (Signal::SIGKILL, Duration::from_secs(2)),
];
/// What orphaned backends are told; most see for themselves that their server is gone.
const BACKENDS: [(Option<Signal>, Duration); 3] = [
    (None, Duration::from_secs(2)),
    (Some(Signal::SIGQUIT), Duration::from_secs(2)),
    (Some(Signal::SIGKILL), Duration::from_secs(2)),
];

/// Ends every process that still works on the cluster and removes the traces that would keep a
/// new server from starting. Quick when there is nothing to do.
pub(super) async fn clear(cluster: &Cluster) -> Result<(), Error> {
    let pid_file = cluster.dir.join("postmaster.pid");
    let Some(pid) = recorded_pid(&pid_file) else { return Ok(()) };
    if is_server_of(pid, &cluster.dir) {
        tracing::warn!(pid = pid.as_raw(), "stopping the database server of an earlier run");
        for (signal, patience) in SERVER {
            let _ = kill(pid, signal);
            if gone(patience, || is_server_of(pid, &cluster.dir)).await {
                break;
            }
        }
    }
    for (signal, patience) in BACKENDS {
        for backend in processes_in(&cluster.dir) {
            if let Some(signal) = signal {
                tracing::warn!(pid = backend.as_raw(), %signal, "ending an orphaned backend");
                let _ = kill(backend, signal);
            }
        }
        if gone(patience, || !processes_in(&cluster.dir).is_empty()).await {
            break;
        }
    }
    // The number in the file may be another process's by now, and the server would believe it.
    if is_alive(pid) && !is_server_of(pid, &cluster.dir) {
        remove_if_there(&pid_file)?;
        remove_if_there(&cluster.socket.join(".s.PGSQL.5432.lock"))?;
    }
    Ok(())
}

/// The process that a server's `postmaster.pid` names.
fn recorded_pid(pid_file: &Path) -> Option<Pid> {
    let text = fs::read_to_string(pid_file).ok()?;
    text.lines().next()?.trim().parse().ok().filter(|pid| *pid > 1).map(Pid::from_raw)
}

fn is_alive(pid: Pid) -> bool {
    matches!(kill(pid, None), Ok(()) | Err(Errno::EPERM))
}

/// Whether `pid` is a server on `dir`. Judged by its command line, which everybody may read.
fn is_server_of(pid: Pid, dir: &Path) -> bool {
    let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let mut words = line.split(|byte| *byte == 0);
    words.next().is_some_and(|program| program.ends_with(b"postgres"))
        && words.any(|word| word == dir.as_os_str().as_encoded_bytes())
}

/// The processes that work in `dir`, as all of a server's do, as far as we may know.
fn processes_in(dir: &Path) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let works_there = |pid: &i32| {
        let is = |what: &str| format!("/proc/{pid}/{what}");
        let name = fs::read_to_string(is("comm")).unwrap_or_default();
        name.trim() == "postgres" && fs::read_link(is("cwd")).is_ok_and(|cwd| cwd == dir)
    };
    pids.filter(works_there).map(Pid::from_raw).collect()
}

/// Waits until `there` says no; says whether it did.
async fn gone(patience: Duration, there: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while there() {
        if Instant::now() >= deadline {
            return false;
        }
        sleep(LOOK).await;
    }
    true
}

fn remove_if_there(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.raw_os_error() != Some(Errno::ENOENT as i32) => {
            Err(while_trying(format!("removing {}", path.display()))(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
