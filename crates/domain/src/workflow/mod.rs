//! Workflows: what people write, in immutable versions, and what the engine runs of it.

mod event;
mod plan;

pub use event::Event;
pub use plan::{
    Backoff, Call, Case, For, Kind, Next, Plan, RaisedError, Retry, Schema, Shape, Span, Task,
    TaskRef, Template, Try,
};

/// A workflow, as its history tells it.
#[derive(Debug, Default)]
pub struct Workflow {}
