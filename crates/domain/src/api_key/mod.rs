//! api_key

mod event;

pub use event::*;

/// ApiKey
#[derive(Debug, Default)]
pub struct ApiKey {}
