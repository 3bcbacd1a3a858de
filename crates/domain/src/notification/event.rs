use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::execution::Caller;
use crate::subject::Subject;
use crate::template::Template;
use crate::{Id, Personal, Timestamp, Upcast};

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
        to: Personal<Vec<String>>,
        /// The template.
        template: Id<Template>,
        /// Its pinned version.
        version: u32,
        /// What it is filled with.
        data: Personal<Value>,
        /// Whose data these are, if somebody's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<Id<Subject>>,
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
        detail: Personal<String>,
        /// When the next attempt comes.
        retry_at: Timestamp,
    },
    /// It will not go out.
    #[serde(rename = "notification.failed")]
    Failed {
        /// The last attempt, from 1 after each request.
        attempt: u32,
        /// What happened.
        detail: Personal<String>,
    },
    /// Somebody wants it sent again.
    #[serde(rename = "notification.resend_requested")]
    ResendRequested {},
}

impl crate::Event for Event {
    crate::event::fact!(Notification);

    /// From their second version on, personal values are marked; the mark is not needed for
    /// reading.
    const UPCASTS: &'static [Upcast] = &[
        Upcast { event: "notification.requested", from: 1, apply: |body| body },
        Upcast { event: "notification.attempt_failed", from: 1, apply: |body| body },
        Upcast { event: "notification.failed", from: 1, apply: |body| body },
    ];
}

/// How a notification goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// E-mail.
    Email,
}
