use serde::{Deserialize, Serialize};

use super::Spec;

/// What can have happened to an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Event {
    /// It was set up, or changed: each revision is a whole.
    #[serde(rename = "agent.revised")]
    Revised {
        /// Its name, unique in the tenant.
        name: String,
        /// Which revision this is, counted from 1.
        revision: u32,
        /// All its settings.
        spec: Box<Spec>,
    },
    /// It is gone; invocations under way go on.
    #[serde(rename = "agent.deleted")]
    Deleted {},
}

impl crate::Event for Event {
    crate::event::fact!(Agent);
}
