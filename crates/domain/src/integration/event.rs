use serde::{Deserialize, Serialize};

use super::Spec;

/// What can have happened to an integration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Event {
    /// It was set up, or changed: each revision is a whole.
    #[serde(rename = "integration.revised")]
    Revised {
        /// Its name, unique in the tenant.
        name: String,
        /// Which revision this is, counted from 1.
        revision: u32,
        /// All its settings.
        spec: Box<Spec>,
    },
    /// Its connection was tried.
    #[serde(rename = "integration.tested")]
    Tested {
        /// Whether it answered as it should.
        ok: bool,
        /// The HTTP status, if there was an answer.
        status: Option<u16>,
        /// What happened, in words.
        detail: String,
        /// How long it took, in milliseconds.
        duration_ms: u64,
    },
    /// It is gone.
    #[serde(rename = "integration.deleted")]
    Deleted {},
}

impl crate::Event for Event {
    crate::event::fact!(Integration);
}
