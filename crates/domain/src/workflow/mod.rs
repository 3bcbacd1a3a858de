//! Workflows: what people write, in immutable versions, and what the engine runs of it.

mod command;
mod compile;
mod decide;
mod errors;
mod event;
mod plan;
mod refusal;
mod source;
mod state;
#[cfg(test)]
mod tests;

pub use command::Command;
pub(crate) use errors::canonical_type;
pub use event::Event;
pub use plan::{
    Backoff, Call, Case, For, Kind, Next, Plan, RaisedError, Reference, Referent, Retry, Schema,
    Shape, Span, Task, TaskRef, Template, Try,
};
pub use refusal::Refusal;
pub use state::{Revision, Workflow};
