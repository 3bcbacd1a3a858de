//! notification

mod event;

pub use event::*;

/// Notification
#[derive(Debug, Default)]
pub struct Notification {}
