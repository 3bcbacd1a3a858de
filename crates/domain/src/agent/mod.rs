//! Agents: a model with its prompt, its limits and the form of its answers, in numbered revisions.

mod command;
mod decide;
mod event;
mod refusal;
pub(crate) mod schema;
mod spec;
mod state;
#[cfg(test)]
mod tests;

pub use command::Command;
pub use event::Event;
pub use refusal::Refusal;
pub use spec::{PromptRef, Spec};
pub use state::Agent;
