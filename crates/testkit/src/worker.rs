//! Further workers on the database of an instance: `everstep work` as a child process.

use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::everstep::Setup;
use crate::processes::signal;

/// How long stopping may take before it counts as hanging.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// A worker that runs, or did until it was killed. Dropping it kills it.
#[derive(Debug)]
pub struct Worker(Child);

impl Worker {
    /// Starts one beside an instance, whose database and files it shares.
    pub fn start(beside: &Setup, database: &str) -> Result<Self> {
        let log = beside.append_log()?;
        let mut command = beside.command(&["work"]);
        command.env("DATABASE_URL", database);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
        Ok(Self(command.spawn().context("a worker does not start")?))
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }

    /// Stops it in the middle of whatever it does, until [`Worker::thaw`] (SIGSTOP).
    pub fn freeze(&self) {
        signal(self.pid(), Signal::SIGSTOP);
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self) {
        signal(self.pid(), Signal::SIGCONT);
    }

    /// Asks it to stop (SIGTERM) and waits until it has.
    pub async fn stop(&mut self) -> Result<()> {
        let asked = Instant::now();
        signal(self.pid(), Signal::SIGTERM);
        loop {
            if let Some(status) = self.0.try_wait()? {
                ensure!(status.success(), "the worker stopped with {status}");
                return Ok(());
            }
            ensure!(asked.elapsed() < STOP_LIMIT, "the worker does not stop");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
