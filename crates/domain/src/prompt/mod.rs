//! prompt

mod event;

pub use event::*;

/// Prompt
#[derive(Debug, Default)]
pub struct Prompt {}
