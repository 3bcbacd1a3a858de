//! What the API answers, as far as people are shown it; programs get it all.

use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

/// One page of a list.
#[derive(Debug, Deserialize)]
pub(crate) struct Page {
    /// What is on it.
    pub(crate) items: Vec<Value>,
    /// How to ask for the next, if there is one.
    pub(crate) next_cursor: Option<String>,
}

/// A thing with a name: an agent, a prompt, an integration, a template.
#[derive(Debug, Deserialize)]
pub(crate) struct Named {
    /// Its id.
    pub(crate) id: Uuid,
    /// Its name.
    pub(crate) name: String,
}

/// A workflow.
#[derive(Debug, Deserialize)]
pub(crate) struct Workflow {
    /// Its id.
    pub(crate) id: Uuid,
    /// `document.namespace`.
    pub(crate) namespace: String,
    /// `document.name`.
    pub(crate) name: String,
    /// `document.title`.
    pub(crate) title: Option<String>,
    /// The newest version.
    pub(crate) version: String,
    /// How many versions there are.
    pub(crate) revision: u32,
    /// When the newest version was published.
    pub(crate) updated_at: Option<String>,
    /// The author's text; not in lists.
    pub(crate) document: Option<String>,
}

/// An execution.
#[derive(Debug, Deserialize)]
pub(crate) struct Execution {
    /// Its id.
    pub(crate) id: Uuid,
    /// What it runs.
    pub(crate) workflow_id: Uuid,
    /// Which version of that.
    pub(crate) workflow_version: Option<String>,
    /// How it stands.
    pub(crate) status: String,
    /// When it began.
    pub(crate) started_at: Option<String>,
    /// How long it took, in milliseconds.
    pub(crate) duration_ms: Option<i64>,
    /// What it gave.
    #[serde(default)]
    pub(crate) output: Value,
    /// Why it failed.
    #[serde(default)]
    pub(crate) error: Value,
    /// What it did, in order; not in lists.
    #[serde(default)]
    pub(crate) tasks: Vec<Task>,
    /// What it waits for; not in lists.
    #[serde(default)]
    pub(crate) why: Vec<Why>,
}

impl Execution {
    /// Whether it is over.
    pub(crate) fn is_over(&self) -> bool {
        !matches!(self.status.as_str(), "pending" | "running" | "waiting")
    }
}

/// A task of an execution.
#[derive(Debug, Deserialize)]
pub(crate) struct Task {
    /// Its name.
    pub(crate) name: String,
    /// Its place in the document.
    #[serde(rename = "task")]
    pub(crate) place: String,
    /// How it stands.
    pub(crate) status: String,
    /// How often it was tried.
    pub(crate) attempt: Option<u32>,
    /// When it began.
    pub(crate) started_at: Option<String>,
    /// When it ended.
    pub(crate) ended_at: Option<String>,
}

/// What an execution waits for.
#[derive(Debug, Deserialize)]
pub(crate) struct Why {
    /// The task that waits.
    pub(crate) task: String,
    /// What for.
    pub(crate) waits_for: String,
    /// Since when.
    pub(crate) since: Option<String>,
    /// When the next attempt comes, or it is over.
    pub(crate) until: Option<String>,
    /// In words.
    pub(crate) detail: Option<String>,
}
