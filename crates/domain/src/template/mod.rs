//! Notification templates, in immutable versions.

mod command;
mod decide;
mod event;
mod refusal;
mod render;
mod state;
#[cfg(test)]
mod tests;

pub use command::Command;
pub use event::Event;
pub use refusal::Refusal;
pub use render::Mail;
pub use state::{Template, Version};
