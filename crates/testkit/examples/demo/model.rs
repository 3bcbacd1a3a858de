//! The model that the agent of the demo talks to.

use std::env;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::options::{Choice, Options};
use crate::step;

/// How long loading a model may take.
const LOAD_LIMIT: Duration = Duration::from_mins(2);

/// A model that is ready.
#[derive(Debug)]
pub(crate) struct Model {
    /// What configures Everstep to use it.
    pub(crate) env: Vec<(&'static str, String)>,
    /// How many executions may be under way at once without waiting for each other for long.
    pub(crate) window: usize,
    /// The local model's server; it ends when its standard input is closed.
    server: Option<Child>,
}

/// The line that `scripts/local_model.py` prints when it is ready.
#[derive(Deserialize)]
struct Ready {
    url: String,
    model: String,
}

impl Model {
    pub(crate) async fn start(options: &Options) -> Result<Self> {
        let why = &options.why;
        match options.model {
            Choice::OpenAi => {
                step(1, &format!("Starts everything; the model is OpenAI's: {why}"));
                let set = |name| Some((name, env::var(name).ok()?));
                let names = ["OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"];
                let mut env: Vec<_> = names.into_iter().filter_map(set).collect();
                env.push(("EVERSTEP_DEFAULT_PROVIDER", "openai".to_owned()));
                Ok(Self { env, window: 8, server: None })
            }
            Choice::Local => {
                step(1, &format!("Starts everything; the model is a local one: {why}"));
                Self::local(options).await.context("the local model")
            }
            Choice::Sandbox => {
                step(1, &format!("Starts everything; the model is the sandbox: {why}"));
                println!("   it makes its answers up, and says so in each");
                let env = vec![("EVERSTEP_DEFAULT_PROVIDER", "sandbox".to_owned())];
                Ok(Self { env, window: 16, server: None })
            }
        }
    }

    async fn local(options: &Options) -> Result<Self> {
        let began = Instant::now();
        let mut server = Command::new(&options.python)
            .arg("scripts/local_model.py")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| options.python.display().to_string())?;
        let stdout = server.stdout.take().context("its output")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(LOAD_LIMIT, lines.next_line()).await.context("it does not load")??;
        let line = line.context("it ended; scripts/local_model.py says why")?;
        let Ready { url, model } = serde_json::from_str(&line).context(line)?;
        println!("   {model} at {url}, loaded in {:.1} s", began.elapsed().as_secs_f64());
        let env = vec![
            ("EVERSTEP_MODEL_URL", url),
            ("EVERSTEP_MODEL_NAME", model),
            ("EVERSTEP_DEFAULT_PROVIDER", "local".to_owned()),
        ];
        // It answers one question at a time.
        Ok(Self { env, window: 3, server: Some(server) })
    }

    /// Ends the local model's server, if there is one.
    pub(crate) async fn stop(self) -> Result<()> {
        if let Some(mut server) = self.server {
            drop(server.stdin.take());
            let ended = timeout(Duration::from_secs(5), server.wait()).await;
            ended.context("the local model does not stop")??;
        }
        Ok(())
    }
}
