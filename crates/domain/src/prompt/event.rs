use serde::{Deserialize, Serialize};

/// What can have happened to a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Event {
    /// A version was committed; versions never change afterwards.
    #[serde(rename = "prompt.version_committed")]
    VersionCommitted {
        /// Its name, unique in the tenant.
        name: String,
        /// Which version this is, counted from 1.
        version: u32,
        /// Template (Jinja) of the system message.
        system: Option<String>,
        /// Template (Jinja) of the user message.
        user: String,
        /// Why it was changed.
        message: Option<String>,
    },
    /// It is gone for new invocations.
    #[serde(rename = "prompt.deleted")]
    Deleted {},
}

impl crate::Event for Event {
    crate::event::fact!(Prompt);
}
