use serde_json::Value;

use super::Event;
use crate::subject::Subject;
use crate::template::Template;
use crate::{Id, Timestamp};

/// A notification, as its history tells it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Notification {
    pub(super) due: Option<Due>,
    pub(super) status: Status,
    pub(super) subject: Option<Id<Subject>>,
    pub(super) is_erased: bool,
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

    /// Whether what is to be sent was erased before it was read here: nobody can send it.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.is_erased
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }

    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Requested { channel: _, to, template, version, data, subject, caller: _ } => {
                self.is_erased = to.is_erased();
                let (to, data) = (to.clone().into_inner(), data.clone().into_inner());
                self.due = Some(Due { to, template: *template, version: *version, data });
                self.subject = *subject;

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
