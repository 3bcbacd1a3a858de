//! A program of a peer: started, spoken to, ended.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// How long ending may take.
const END_LIMIT: Duration = Duration::from_secs(15);

/// It is killed when this is dropped, and ends by itself when its standard input does.
pub(crate) struct Program {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    output: Option<Lines<BufReader<ChildStdout>>>,
    log: PathBuf,
}

impl Program {
    /// Starts one that reads commands and prints a line for each. What else it says goes into `files`.
    pub(crate) fn talking(
        programs: &Path,
        name: &str,
        files: &Path,
        args: &[&str],
    ) -> Result<Self> {
        let mut command = command(programs, name, files);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        Self::start(command, name, files)
    }

    /// Starts one that is not spoken to.
    pub(crate) fn silent(
        programs: &Path,
        name: &str,
        files: &Path,
        variables: &[(&str, String)],
    ) -> Result<Self> {
        let mut command = command(programs, name, files);
        let variables = variables.iter().map(|(name, value)| (*name, value));
        command.envs(variables).stdin(Stdio::null()).stdout(log(files, name)?);
        Self::start(command, name, files)
    }

    fn start(mut command: Command, name: &str, files: &Path) -> Result<Self> {
        command.stderr(log(files, name)?);
        let mut child = command.spawn().with_context(|| format!("{name} does not start"))?;
        let output = child.stdout.take().map(|output| BufReader::new(output).lines());
        let input = child.stdin.take();
        Ok(Self { name: name.to_owned(), child, input, output, log: log_path(files, name) })
    }

    /// Its process; none once it has ended.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Has it do something; what it says when that is done.
    pub(crate) async fn ask(&mut self, command: &Value, limit: Duration) -> Result<Value> {
        let input = self.input.as_mut().context("nobody listens")?;
        let sent = input.write_all(format!("{command}\n").as_bytes()).await;
        if let Err(error) = sent {
            bail!("{} does not listen: {error}\n{}", self.name, self.last_words());
        }
        self.says(limit).await
    }

    /// The next line that it prints.
    pub(crate) async fn says(&mut self, limit: Duration) -> Result<Value> {
        let output = self.output.as_mut().context("it prints nothing")?;
        match timeout(limit, output.next_line()).await {
            Ok(Ok(Some(line))) => serde_json::from_str(&line).context(line),
            Ok(_) => bail!("{} ended:\n{}", self.name, self.last_words()),
            Err(_) => bail!("{} says nothing:\n{}", self.name, self.last_words()),
        }
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Lets it end, or ends it.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        self.input = None;
        if self.output.is_none() || timeout(END_LIMIT, self.child.wait()).await.is_err() {
            self.kill().await?;
        }
        Ok(())
    }

    /// The end of its log.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

fn command(programs: &Path, name: &str, files: &Path) -> Command {
    let mut command = Command::new(programs.join("bin").join(name));
    command.current_dir(files).kill_on_drop(true);
    command
}

fn log_path(files: &Path, name: &str) -> PathBuf {
    files.join(name).with_extension("log")
}

fn log(files: &Path, name: &str) -> Result<File> {
    let path = log_path(files, name);
    File::options().create(true).append(true).open(&path).context(path.display().to_string())
}
