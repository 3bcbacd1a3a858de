//! Further processes on the database of an instance: `everstep work` and `everstep serve`.

use std::os::unix::process::CommandExt;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use crate::everstep::Setup;
use crate::processes::signal;

/// How long stopping may take before it counts as hanging.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// A process that runs, or did until it was killed. Dropping it kills it.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts a worker beside an instance, whose database and files it shares.
    pub fn work(beside: &Setup, database: &str) -> Result<Self> {
        Self::start(beside, database, &["work"])
    }

    /// Starts a server beside an instance, on a port.
    pub fn serve(beside: &Setup, database: &str, port: u16) -> Result<Self> {
        Self::start(beside, database, &["serve", "--port", &port.to_string()])
    }

    fn start(beside: &Setup, database: &str, args: &[&str]) -> Result<Self> {
        let log = beside.append_log()?;
        let mut command = beside.command(args);
        command.env("DATABASE_URL", database);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
        Ok(Self(command.spawn().context("a process does not start")?))
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.0.try_wait()?)
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }

    /// Stops it in the middle of whatever it does, until [`Process::thaw`] (SIGSTOP).
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
                ensure!(status.success(), "it stopped with {status}");
                return Ok(());
            }
            ensure!(asked.elapsed() < STOP_LIMIT, "it does not stop");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
