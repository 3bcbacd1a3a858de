//! integration

mod event;
mod spec;

pub use event::*;
pub use spec::*;

/// Integration
#[derive(Debug, Default)]
pub struct Integration {}
