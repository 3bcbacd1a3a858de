//! Webhook deliveries: what outside systems send us, proven by a signature and taken once.

mod command;
mod decide;
mod event;
mod headers;
mod refusal;
pub mod signature;
mod state;
#[cfg(test)]
mod tests;

pub use command::{Command, NewDelivery};
pub use event::Event;
pub use headers::kept;
pub use refusal::Refusal;
pub use state::Delivery;

/// The most bytes of JSON that a delivery may have, all told; the API takes a megabyte of body.
pub const DELIVERY_LIMIT: usize = 900 * 1024;

/// What the execution that a delivery starts is given.
#[must_use]
pub fn input(
    event_type: Option<&str>,
    dedupe_key: &str,
    body: &serde_json::Value,
) -> serde_json::Value {
    serde_json::json!({"event": event_type, "delivery": dedupe_key, "body": body})
}
