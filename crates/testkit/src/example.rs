//! Puts an example directory in place as a user would: with `everstep workflow apply`.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::everstep::Setup;

/// An example that is in place.
#[derive(Debug, Clone)]
pub struct Applied {
    /// What was made, such as `agent issue-classifier`.
    pub things: Vec<String>,
    /// The workflow's id.
    pub workflow: String,
    /// Where the integration's webhooks come in, from the root.
    pub webhook_path: String,
}

/// Applies everything in `dir` to a running instance. `values` stand for `${NAME}` in the files.
pub async fn apply(setup: &Setup, dir: &Path, values: &[(&str, &str)]) -> Result<Applied> {
    let mut command = setup.command(&["workflow", "apply", "--output", "json", "--file"]);
    command.arg(dir).envs(values.iter().copied());
    let output = tokio::process::Command::from(command).output().await?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "workflow apply ended with {}: {complaint}", output.status);
    let applied: Value = serde_json::from_slice(&output.stdout).context("not JSON")?;
    let items = applied["items"].as_array().context("no items")?;
    let id = |kind: &str| {
        let item = items.iter().find(|item| item["kind"] == kind).context(kind.to_owned())?;
        item["id"].as_str().map(ToOwned::to_owned).context("no id")
    };
    let name = |item: &Value| {
        let text = |field: &str| item[field].as_str().unwrap_or_default().to_owned();
        format!("{} {}", text("kind"), text("name"))
    };
    Ok(Applied {
        things: items.iter().map(name).collect(),
        workflow: id("workflow")?,
        webhook_path: format!("/api/v1/webhooks/{}", id("integration")?),
    })
}
