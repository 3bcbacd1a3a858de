//! webhook

mod event;

pub use event::*;

/// Delivery
#[derive(Debug, Default)]
pub struct Delivery {}
