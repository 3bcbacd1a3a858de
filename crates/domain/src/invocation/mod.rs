//! invocation

mod event;

pub use event::*;

/// Invocation
#[derive(Debug, Default)]
pub struct Invocation {}
