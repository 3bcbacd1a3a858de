//! Integrations: outside systems with their operations, credentials and webhooks.

mod check;
mod command;
mod decide;
mod event;
mod refusal;
mod request;
mod spec;
mod state;
#[cfg(test)]
mod tests;

pub use command::Command;
pub use event::Event;
pub use refusal::Refusal;
pub use request::Outbound;
pub use spec::{Auth, Operation, Scheme, SecretRef, Spec, Webhook, WorkflowRef};
pub use state::Integration;
