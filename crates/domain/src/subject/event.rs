use serde::{Deserialize, Serialize};

/// What can have happened to a subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Event {
    /// Somebody wants them erased.
    #[serde(rename = "subject.erasure_requested")]
    ErasureRequested {},
    /// Their key is gone: what was sealed under it, before this and after it, can never be read
    /// again. Read models forget it here.
    #[serde(rename = "subject.erased")]
    Erased {},
}

impl crate::Event for Event {
    crate::event::fact!(Subject);
}
