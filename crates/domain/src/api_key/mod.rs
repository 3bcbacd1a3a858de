//! API keys: who may call the API, and what for. The secret is shown once and stored nowhere.
//!
//! ```text
//! (nothing) --create--> open --revoke--> revoked
//! ```

mod command;
mod decide;
mod event;
mod refusal;
mod state;
#[cfg(test)]
mod tests;
mod token;

pub use command::Command;
pub use event::{Access, Event};
pub use refusal::Refusal;
pub use state::ApiKey;
pub use token::{Token, TokenError};
