//! agent

mod event;
mod spec;

pub use event::*;
pub use spec::*;

/// Agent
#[derive(Debug, Default)]
pub struct Agent {}
