//! One run of a workflow, from `started` to its end.

mod event;
mod thread;
mod wait;

pub use event::{Caller, Cause, Closed, Ending, Error, Event, Progress, Step, Trigger, Turn};
pub use thread::{Doing, Frame, Thread};
pub use wait::{Answer, HttpCall, HttpOutput, Purpose, Request, Wait, WaitId, What};

/// The most bytes of JSON that a step keeps of a task's input or output.
pub const TRACE_LIMIT: usize = 4096;

/// An execution, as its history tells it.
#[derive(Debug, Default)]
pub struct Execution {}
