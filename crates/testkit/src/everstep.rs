//! The real binary as a child process: started, killed, stopped.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use reqwest::Method;
use serde::Deserialize;

use crate::api::Client;
use crate::processes::{free_port, postmaster, signal};

/// How long a start may take, a first `initdb` on a busy machine included.
const START_LIMIT: Duration = Duration::from_mins(1);
/// How long stopping may take before it counts as hanging.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// What a child inherits; the rest of the environment could configure it behind the test's back.
const INHERITED: [&str; 8] =
    ["PATH", "HOME", "USER", "LANG", "TMPDIR", "RUST_LOG", "RUST_BACKTRACE", "LLVM_PROFILE_FILE"];

/// How an instance is started.
#[derive(Debug, Clone)]
pub struct Setup {
    binary: PathBuf,
    data_dir: PathBuf,
    port: u16,
    database_url: Option<String>,
    env: Vec<(String, String)>,
}

/// An instance that runs, or did until it was killed. Dropping it stops it, and its Postgres.
#[derive(Debug)]
pub struct Server {
    setup: Setup,
    child: Child,
    dev: Dev,
}

/// `dev.json`, which `everstep dev` writes for its clients.
#[derive(Debug, Clone, Deserialize)]
pub struct Dev {
    /// Where the API is.
    pub api_url: String,
    /// An admin token.
    pub token: String,
    /// Where the database is.
    pub database_url: String,
}

impl Setup {
    /// `everstep dev` on a free port with its files in `data_dir`, which need not exist yet.
    pub fn new(data_dir: impl Into<PathBuf>) -> Result<Self> {
        Ok(Self {
            binary: binary()?,
            data_dir: data_dir.into(),
            port: free_port()?,
            database_url: None,
            env: Vec::new(),
        })
    }

    /// With this database instead of a Postgres of its own.
    #[must_use]
    pub fn database(mut self, url: &str) -> Self {
        self.database_url = Some(url.to_owned());
        self
    }

    /// With this variable in its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Where the instance will be.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where its files are.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The binary.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// What it says while it runs.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.data_dir.with_extension("log")
    }

    /// A command of the binary that finds this instance, such as `replay --verify`.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.env_clear().args(args);
        let inherited = INHERITED.into_iter().filter_map(|name| Some((name, env::var_os(name)?)));
        command.envs(inherited);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.env("EVERSTEP_DATA_DIR", &self.data_dir);
        if let Some(url) = &self.database_url {
            command.env("DATABASE_URL", url);
        }
        command
    }

    /// Starts it and waits until it is ready.
    pub async fn start(self) -> Result<Server> {
        let child = self.spawn()?;
        let unknown = String::new;
        let dev = Dev { api_url: self.url(), token: unknown(), database_url: unknown() };
        let mut server = Server { setup: self, child, dev };
        server.wait_until_ready().await?;
        Ok(server)
    }

    fn spawn(&self) -> Result<Child> {
        let (out, err) = (self.append_log()?, self.append_log()?);
        let mut command = self.command(&["dev", "--port", &self.port.to_string()]);
        // In a group of its own, so that Ctrl-C in a terminal leaves its end to its parent.
        command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
        command.spawn().with_context(|| format!("{} does not start", self.binary.display()))
    }

    pub(crate) fn append_log(&self) -> Result<File> {
        let path = self.log();
        let opened = OpenOptions::new().create(true).append(true).open(&path);
        opened.with_context(|| path.display().to_string())
    }

    fn dev(&self) -> Result<Dev> {
        let path = self.data_dir.join("dev.json");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    /// The end of its log.
    fn last_words(&self) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Server {
    /// A client with the admin token.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.dev.api_url, Some(self.dev.token.clone()))
    }

    /// What `dev.json` says.
    #[must_use]
    pub fn dev(&self) -> &Dev {
        &self.dev
    }

    /// How it was started.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The process id of its own Postgres, if it has one that runs.
    #[must_use]
    pub fn postgres(&self) -> Option<u32> {
        postmaster(&self.setup.data_dir)
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// `kill -9`. Its own Postgres, if it has one, is left to the next start.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again after it ended, on the same port and data, and waits until it is ready.
    pub async fn start_again(&mut self) -> Result<()> {
        ensure!(self.ended()?.is_some(), "everstep has not ended");
        self.child = self.setup.spawn()?;
        self.wait_until_ready().await
    }

    /// Asks it to stop (SIGTERM) and waits until it has; how long that took.
    pub async fn stop(&mut self) -> Result<Duration> {
        let asked = Instant::now();
        signal(self.pid(), Signal::SIGTERM);
        loop {
            if let Some(status) = self.ended()? {
                ensure!(
                    status.success(),
                    "everstep stopped with {} (signal {:?}):\n{}",
                    status,
                    status.signal(),
                    self.setup.last_words()
                );
                return Ok(asked.elapsed());
            }
            ensure!(asked.elapsed() < STOP_LIMIT, "everstep does not stop");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let client = Client::new(self.setup.url(), None);
        let begun = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                bail!("everstep ended with {status}:\n{}", self.setup.last_words());
            }
            let request = client.at_root(Method::GET, "/readyz").timeout(Duration::from_secs(2));
            if client.send(request).await.is_ok_and(|answer| answer.status == 200) {
                self.dev = self.setup.dev()?;
                return Ok(());
            }
            let waited = begun.elapsed();
            ensure!(waited < START_LIMIT, "everstep is not ready:\n{}", self.setup.last_words());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            signal(self.child.id(), Signal::SIGTERM);
            let asked = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && asked.elapsed() < STOP_LIMIT {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        // Killed or hanging, it left its Postgres behind.
        if let Some(postgres) = self.postgres() {
            signal(postgres, Signal::SIGQUIT);
        }
    }
}

/// The binary: what `EVERSTEP_BIN` names, else the one beside the running program, built if need be.
///
/// Cargo builds a package's binary for its own tests only, so those of other packages ask for it.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("EVERSTEP_BIN") {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "EVERSTEP_BIN names {}, which is no file", path.display());
        return Ok(path);
    }
    let program = env::current_exe()?;
    // target/PROFILE/deps/PROGRAM, or target/PROFILE/examples/PROGRAM
    let profile = program.parent().and_then(Path::parent).context("the program's directory")?;
    build(profile.ends_with("release"))?;
    let path = profile.join("everstep");
    ensure!(path.is_file(), "cargo built no {}", path.display());
    Ok(path)
}

fn build(release: bool) -> Result<()> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command.args(["build", "--quiet", "--package", "cli", "--bin", "everstep"]);
    if release {
        command.arg("--release");
    }
    let status = command.status().context("cargo does not run")?;
    ensure!(status.success(), "cargo could not build everstep");
    Ok(())
}
