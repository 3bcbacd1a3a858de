use serde::{Deserialize, Serialize};

/// What can have happened to a workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Event {
    /// A version was published; versions never change afterwards.
    #[serde(rename = "workflow.version_published")]
    VersionPublished {
        /// `document.namespace`.
        namespace: String,
        /// `document.name`.
        name: String,
        /// `document.version`, a semantic version.
        version: String,
        /// `document.title`.
        title: Option<String>,
        /// Which version this is, counted from 1.
        revision: u32,
        /// The author's text, byte for byte (YAML; JSON is a subset of it).
        document: String,
        /// SHA-256 of `document`, in hex.
        digest: String,
    },
    /// No new execution may start; running ones go on.
    #[serde(rename = "workflow.deleted")]
    Deleted {},
}

impl crate::Event for Event {
    crate::event::fact!(Workflow);
}
