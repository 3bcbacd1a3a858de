use serde_json::Value;

use super::Event;
use crate::template::Template;
use crate::{Id, Timestamp};

/// A notification, as its history tells it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Notification {
    pub(super) due: Option<Due>,
    pub(super) status: Status,
    /// Attempts since it was asked for, or asked for again.
    pub(super) attempts: u32,
}

/// What is to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    /// Whom to, by address.
    pub to: Vec<String>,
    /// The template.
    pub template: Id<Template>,
    /// Its version.
    pub version: u32,
    /// What it is filled with.
    pub data: Value,
}

/// Where a notification stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Status {
    /// Nobody asked for it.
    #[default]
    Unborn,
    /// It is to be sent.
    Queued,
    /// It is to be tried again at this time.
    Retrying(Timestamp),
    /// It went out.
    Sent,
    /// It will not go out.
    Failed,
}

impl Notification {
    /// What is to be sent by now.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Option<&Due> {
        let is_due = match self.status {
            Status::Queued => true,
            Status::Retrying(at) => at <= now,
            Status::Unborn | Status::Sent | Status::Failed => false,
        };
        self.due.as_ref().filter(|_| is_due)
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }

    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Requested { channel: _, to, template, version, data, caller: _ } => {
                let (to, data) = (to.clone(), data.clone());
                self.due = Some(Due { to, template: *template, version: *version, data });
                self.status = Status::Queued;
            }
            Event::Sent { attempt, .. } => {
                (self.attempts, self.status) = (*attempt, Status::Sent);
            }
            Event::AttemptFailed { attempt, retry_at, detail: _ } => {
                (self.attempts, self.status) = (*attempt, Status::Retrying(*retry_at));
            }
            Event::Failed { attempt, detail: _ } => {
                (self.attempts, self.status) = (*attempt, Status::Failed);
            }
            Event::ResendRequested {} => (self.attempts, self.status) = (0, Status::Queued),
        }
    }
}
