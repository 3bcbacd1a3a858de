//! Invocations: one question to an agent, from the request to its answer.

mod answer;
mod command;
mod decide;
mod event;
mod refusal;
mod state;
#[cfg(test)]
mod tests;

pub use answer::{accept, repair_message};
pub use command::{Command, NewInvocation};
pub use event::{Event, FailureClass, Report};
pub use refusal::Refusal;
pub use state::{Invocation, Outcome};
