//! Notifications: asked for once, tried until they are out or hopeless.

mod command;
mod decide;
mod event;
mod refusal;
mod state;
#[cfg(test)]
mod tests;

pub use command::Command;
pub use event::{Channel, Event};
pub use refusal::Refusal;
pub use state::{Due, Notification, Status};
