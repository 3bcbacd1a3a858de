//! The rules of Everstep, and nothing else.
//!
//! Every aggregate is a pure state machine ([`Aggregate`]): it *decides* which events a command
//! causes and *evolves* when they happen. Nothing here awaits, reads a clock, draws a random
//! number or knows that a database exists; whatever a rule needs comes in as an argument.

pub mod agent;
mod aggregate;
pub mod api_key;
mod duration;
mod event;
pub mod execution;
pub mod expression;
mod fact;
mod fault;
mod id;
pub mod integration;
pub mod invocation;
mod jinja;
mod name;
pub mod notification;
pub mod payload;
pub mod personal;
pub mod policy;
pub mod prompt;
mod refusal;
pub mod scenario;
mod storable;
pub mod subject;
pub mod template;
pub mod webhook;
pub mod workflow;

pub use aggregate::{Aggregate, FOLD};
pub use event::{Event, Upcast};
pub use fact::Fact;
pub use fault::Fault;
pub use id::{Actor, Id, Tenant};
pub use jinja::RenderError;
pub use personal::{MARK as PERSONAL, Personal};
pub use refusal::{Kind, Refusal};

/// A moment, always UTC, always handed in by the caller.
pub type Timestamp = chrono::DateTime<chrono::Utc>;
