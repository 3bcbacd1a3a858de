//! Puts an example directory in place through the API, as a user would.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::api::Client;

/// What an example is made of besides its workflow, in the order in which each may name those
/// before it: the file, and where it goes.
const PARTS: [(&str, &str); 4] = [
    ("prompt.yaml", "/prompts"),
    ("agent.yaml", "/agents"),
    ("template.yaml", "/notifications/templates"),
    ("integration.yaml", "/integrations"),
];

/// An example that is in place.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The workflow's id.
    pub workflow: String,
    /// The integration's id.
    pub integration: String,
    /// Where its webhooks come in, from the root, such as `/api/v1/webhooks/{id}`.
    pub webhook_path: String,
}

/// Creates everything in `dir`. `values` stand for `${NAME}` in all files but `workflow.yaml`,
/// where `${ }` has a meaning of its own.
pub async fn apply(client: &Client, dir: &Path, values: &[(&str, &str)]) -> Result<Applied> {
    let mut integration = Value::Null;
    for (file, path) in PARTS {
        let body = read(&dir.join(file), values)?;
        let answer = client.post(path, &body).await?.expect(201).context(file)?;
        if file == "integration.yaml" {
            integration = answer.body;
        }
    }
    let document = read_text(&dir.join("workflow.yaml"))?;
    let answer = client.post_document("/workflows", &document).await?;
    let workflow = answer.expect(201).context("workflow.yaml")?.body;
    Ok(Applied {
        workflow: text(&workflow, "id")?,
        integration: text(&integration, "id")?,
        webhook_path: text(&integration, "webhook_url")?,
    })
}

fn read(path: &Path, values: &[(&str, &str)]) -> Result<Value> {
    let mut yaml = read_text(path)?;
    for (name, value) in values {
        yaml = yaml.replace(&format!("${{{name}}}"), value);
    }
    ensure!(!yaml.contains("${"), "{}: a value is missing", path.display());
    serde_yaml_ng::from_str(&yaml).with_context(|| path.display().to_string())
}

fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn text(value: &Value, name: &str) -> Result<String> {
    value[name].as_str().map(ToOwned::to_owned).with_context(|| format!("{name} is missing"))
}
