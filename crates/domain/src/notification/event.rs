use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::execution::Caller;
use crate::template::Template;
use crate::{Id, Timestamp};

/// What can have happened to a notification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Event {
    /// Somebody wants it sent; the template's version is pinned from here on.
    #[serde(rename = "notification.requested")]
    Requested {
        /// How it goes out.
        channel: Channel,
        /// Whom to, by address.
        to: Vec<String>,
        /// The template.
        template: Id<Template>,
        /// Its pinned version.
        version: u32,
        /// What it is filled with.
        data: Value,
        /// The task of an execution that asked for it.
        caller: Option<Caller>,
    },
    /// The channel's server took it.
    #[serde(rename = "notification.sent")]
    Sent {
        /// Which attempt, from 1 after each request.
        attempt: u32,
        /// Who took it: `smtp`, or `mailbox` when no server is configured.
        via: String,
        /// The message's id, for finding it at the other side.
        message_id: String,
    },
    /// An attempt failed and another one follows.
    #[serde(rename = "notification.attempt_failed")]
    AttemptFailed {
        /// Which attempt, from 1 after each request.
        attempt: u32,
        /// What happened.
        detail: String,
        /// When the next attempt comes.
        retry_at: Timestamp,
    },
    /// It will not go out.
    #[serde(rename = "notification.failed")]
    Failed {
        /// The last attempt, from 1 after each request.
        attempt: u32,
        /// What happened.
        detail: String,
    },
    /// Somebody wants it sent again.
    #[serde(rename = "notification.resend_requested")]
    ResendRequested {},
}

impl crate::Event for Event {}

/// How a notification goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// E-mail.
    Email,
}
