//! E-mail: one port, [`Email`], served by a real server ([`Smtp`]) or by a directory ([`Mailbox`]).

#[cfg(test)]
mod conformance;
mod format;
mod mailbox;
mod smtp;

use std::fmt;

use async_trait::async_trait;

pub use mailbox::Mailbox;
pub use smtp::{BadSmtpUrl, Smtp};

/// Something that takes e-mails.
#[async_trait]
pub trait Email: fmt::Debug + Send + Sync {
    /// Hands the message over to all recipients or to none.
    ///
    /// The same message id twice is the same message: the mailbox keeps one, and over SMTP the
    /// recipient's side can tell.
    async fn send(&self, message: &Message) -> Result<Sent, SendError>;
}

/// An e-mail to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who sends it: an address, or `Name <address>`.
    pub from: String,
    /// Whom to; at least one address.
    pub to: Vec<String>,
    /// The subject line.
    pub subject: String,
    /// The body as plain text.
    pub text: String,
    /// The body as HTML, if there is one.
    pub html: Option<String>,
    /// Its `Message-ID` without the angle brackets, such as `<id of the notification>@host`: the
    /// same for every attempt to send the same thing.
    pub message_id: String,
}

/// The message was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Who took it: `smtp` or `mailbox`.
    pub via: &'static str,
    /// Its `Message-ID` without the angle brackets.
    pub message_id: String,
}

/// The message was not taken, or it is unknown whether it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct SendError {
    /// Another attempt would fail the same way.
    pub permanent: bool,
    /// What happened, for people; holds no secret.
    pub detail: String,
}
