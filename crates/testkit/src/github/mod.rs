//! GitHub: its webhooks coming in, and its HTTP API for what goes out.

mod delivery;
mod stub;

pub use delivery::{Delivery, payloads};
pub use stub::{Call, Stub};
