use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::integration::{Integration, WorkflowRef};
use crate::subject::Subject;
use crate::{Id, Personal, Upcast};

/// What can have happened to a webhook delivery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Event {
    /// It came in, its signature was right, and it had not been seen before.
    #[serde(rename = "webhook.received")]
    Received {
        /// The integration it came to.
        integration: Id<Integration>,
        /// The sender's name for this sort of delivery, such as `issues`.
        event_type: Option<String>,
        /// The sender's id of the delivery: a second one with it is the same delivery.
        dedupe_key: String,
        /// Header fields worth keeping.
        headers: Personal<BTreeMap<String, String>>,
        /// The body.
        body: Personal<Value>,
        /// SHA-256 of the body's bytes, in hex.
        digest: Personal<String>,
        /// Whose data these are, if somebody's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<Id<Subject>>,
        /// The workflow it starts, if any.
        starts: Option<WorkflowRef>,
    },
}

impl crate::Event for Event {
    crate::event::fact!(Webhook);

    /// From their second version on, personal values are marked; the mark is not needed for
    /// reading.
    const UPCASTS: &'static [Upcast] =
        &[Upcast { event: "webhook.received", from: 1, apply: |body| body }];
}
