//! Where events are kept, and the one way to add to them.
//!
//! [`EventStore`] is the port: rows in, rows out. [`PgEventStore`] is the real thing and
//! [`MemoryEventStore`] the one for simulations; both pass the same [`conformance`] suite.
//! Everything that changes anything goes through [`execute`]: load, decide, append.

mod admission;
mod ahead;
pub mod audit;
mod clock;
mod cloudevent;
mod codec;
pub mod conformance;
mod database;
mod deployment;
mod execute;
#[cfg(test)]
mod golden;
mod judge;
mod known;
mod memory;
mod moves;
pub mod personal;
mod pin;
mod plans;
mod port;
mod postgres;
mod pulse;
mod subscription;
pub mod tlog;
mod when;

pub use admission::{Priority, Weights};
pub use ahead::{ReadAhead, Span, fitting};
pub use clock::Clock;
pub use cloudevent::CloudEvent;
pub use codec::{category, drafts, fact};
pub use database::{
    LOGIN, MIGRATOR, Role, SettingsError, check_settings, connect, is_lasting, make_login, migrate,
    owns_log,
};
pub use deployment::{DEPLOYMENT, NameError, name_deployment};
pub use execute::{ExecuteError, Executed, Held, Keyed, Request, execute, load};
pub use judge::{APPEND_LIMIT, DEPTH_LIMIT, EVENT_LIMIT};
pub use known::Known;
pub use memory::MemoryEventStore;
pub use moves::{Ear, Moves};
pub use pin::pin_invocation;
pub use plans::{PlanError, Plans};
pub use port::{
    Answered, Append, Appended, CommandKey, Draft, Error, EventStore, Expected, Fence, Filter,
    Metadata, Position, Recalled, Recorded, Reply, Snapshot, StreamAppend, StreamId, Stretch,
    Version,
};
pub use postgres::{ArchiveError, Archived, Partition, PgEventStore, archive, partitions};
pub use pulse::pulse;
pub use subscription::Subscription;
pub use when::position_at;
