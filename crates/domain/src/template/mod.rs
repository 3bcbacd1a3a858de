//! template

mod event;

pub use event::*;

/// Template
#[derive(Debug, Default)]
pub struct Template {}
