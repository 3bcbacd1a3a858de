//! One run of a workflow, from `started` to its end.
//!
//! An execution is a state machine over a compiled [`crate::workflow::Plan`]. It is woken (it was
//! started, a call came back, a timer fired), runs until every branch waits or it ends, and that
//! is one *turn*: one event that lists what changed, with every call listed before it is made.
//!
//! ```text
//! (nothing) --start--> running --wake--> running ... --> completed | faulted
//!                         |
//!                       cancel --> cancelled
//! ```

mod command;
mod decide;
mod error;
mod event;
mod machine;
mod refusal;
mod state;
#[cfg(test)]
mod tests;
mod thread;
mod wait;

pub use command::{Command, NewExecution};
pub use error::Standard;
pub use event::{Caller, Cause, Closed, Ending, Error, Event, Progress, Step, Trigger, Turn};
pub use refusal::Refusal;
pub use state::{Execution, Phase};
pub use thread::{Doing, Frame, Thread};
pub use wait::{Answer, HttpCall, HttpOutput, Purpose, Request, Wait, WaitId, What};

/// The most bytes of JSON that a step keeps of a task's input or output.
pub const TRACE_LIMIT: usize = 4096;

/// The most bytes of JSON that the input of an execution may have.
pub const INPUT_LIMIT: usize = 512 * 1024;

/// The most bytes of JSON that a task may give or take: one that exceeds it fails, and whoever expects
/// that can catch it.
pub const VALUE_LIMIT: usize = 4 * 1024 * 1024;

/// The most bytes of JSON that all that changes in one turn may have.
pub const TURN_LIMIT: usize = 32 * 1024 * 1024;

/// The most of them that may be left when values larger than [`crate::personal::INLINE_LIMIT`] are kept
/// apart; the log takes 256 KiB an event.
pub const INLINE_LIMIT: usize = 240 * 1024;

/// How deep the data of one turn may nest; the log takes 100 levels an event.
pub const DEPTH_LIMIT: usize = 95;

/// How many tasks one execution may run without ever waiting for anything, so that a workflow that goes
/// round for ever has an end. One that waits, for a time or for an answer, may go on for years.
pub const RUN_LIMIT: u32 = 2_500_000;
