//! Prompts: templates that make messages of an input, in immutable versions.

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
pub use render::{Rendered, plain, render};
pub use state::{Prompt, Version};
