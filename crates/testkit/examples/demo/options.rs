//! What the environment tells the demo.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// All of it.
#[derive(Debug)]
pub(crate) struct Options {
    /// Which model answers.
    pub(crate) model: Choice,
    /// Why that one.
    pub(crate) why: String,
    /// The Python that has the local model's packages.
    pub(crate) python: PathBuf,
    /// `index.json` with the payloads.
    pub(crate) payloads: PathBuf,
    /// Whether everything stays up at the end.
    pub(crate) keep: bool,
    /// What is killed in the middle.
    pub(crate) chaos: Option<Chaos>,
}

/// Which model answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The real provider whose key is in the environment.
    OpenAi,
    /// A small one on this machine.
    Local,
    /// The built-in stand-in.
    Sandbox,
}

/// What is killed in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chaos {
    /// The one process of Everstep.
    Everstep,
    /// Its database.
    Postgres,
}

impl Options {
    pub(crate) fn read() -> Result<Self> {
        let model = match &*needed("DEMO_MODEL")? {
            "openai" => Choice::OpenAi,
            "local" => Choice::Local,
            "sandbox" => Choice::Sandbox,
            other => bail!("DEMO_MODEL is `{other}`; it may be openai, local or sandbox"),
        };
        let chaos = match &*env::var("CHAOS").unwrap_or_default() {
            "" => None,
            "everstep" => Some(Chaos::Everstep),
            "postgres" => Some(Chaos::Postgres),
            other => bail!("CHAOS is `{other}`; it may be everstep or postgres"),
        };
        Ok(Self {
            model,
            why: needed("DEMO_MODEL_WHY")?,
            python: needed("DEMO_PYTHON")?.into(),
            payloads: needed("DEMO_PAYLOADS")?.into(),
            keep: env::var("KEEP").is_ok_and(|keep| !keep.is_empty() && keep != "0"),
            chaos,
        })
    }
}

fn needed(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("{name} is not set; start this by scripts/demo.sh"))
}
