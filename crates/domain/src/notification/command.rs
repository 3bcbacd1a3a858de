use serde_json::Value;

use super::Channel;
use crate::Id;
use crate::execution::Caller;
use crate::subject::Subject;
use crate::template::Template;

/// What one may ask of a notification.
#[derive(Debug, Clone)]
pub enum Command {
    /// Send it.
    Request {
        /// How.
        channel: Channel,
        /// Whom to, by address.
        to: Vec<String>,
        /// The template.
        template: Id<Template>,
        /// Its version.
        version: u32,
        /// What it is filled with.
        data: Value,
        /// Whose data these are, if somebody's.
        subject: Option<Id<Subject>>,
        /// The task of an execution that asks for it.
        caller: Option<Caller>,
    },
    /// Note that it went out.
    RecordSent {
        /// Who took it.
        via: String,
        /// The message's id.
        message_id: String,
    },
    /// Note that an attempt failed.
    RecordFailure {
        /// What happened.
        detail: String,
        /// Whether trying again is hopeless.
        permanent: bool,
    },
    /// Send it again.
    Resend,
}
