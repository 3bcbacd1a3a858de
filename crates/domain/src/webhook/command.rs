use std::collections::BTreeMap;

use serde_json::Value;

use crate::Id;
use crate::integration::{Integration, WorkflowRef};
use crate::subject::Subject;

/// What one may ask of a delivery.
#[derive(Debug, Clone)]
pub enum Command {
    /// Take it.
    Receive(Box<NewDelivery>),
}

/// A delivery whose signature was right.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    /// The integration it came to.
    pub integration: Id<Integration>,
    /// The sender's name for this sort of delivery.
    pub event_type: Option<String>,
    /// The sender's id of the delivery.
    pub dedupe_key: String,
    /// Header fields worth keeping.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Value,
    /// SHA-256 of the body's bytes, in hex.
    pub digest: String,
    /// Whose data these are, if somebody's.
    pub subject: Option<Id<Subject>>,
    /// The workflow it starts, if any.
    pub starts: Option<WorkflowRef>,
}
