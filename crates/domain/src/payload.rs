//! Values that are too large to stand in the events that say them.
//!
//! Each is a stream of its own, in pieces, and is kept once: its id follows from what it says and from
//! the key that it is sealed under. The log takes values out of events and puts them back
//! (`eventstore::Sealed`); no command is about them, and no read model shows them.

use serde::{Deserialize, Serialize};

use crate::Personal;

/// The category of their streams.
pub const NAME: &str = "payload";

/// What can have happened to such a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Event {
    /// The next piece of it was kept.
    #[serde(rename = "payload.kept")]
    Kept {
        /// A piece of its JSON; all of them, one behind the other, are the value.
        piece: Personal<String>,
    },
}

impl crate::Event for Event {
    crate::event::fact!(Payload);
}
