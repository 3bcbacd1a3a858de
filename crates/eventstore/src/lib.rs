//! Where events are kept, and the one way to add to them.
//!
//! [`EventStore`] is the port: rows in, rows out. Everything that changes anything goes through
//! [`execute`]: load, decide, append.

mod port;

pub use port::{
    Answered, Append, Appended, CommandKey, Draft, Error, EventStore, Expected, Metadata, Position,
    Recorded, Reply, StreamAppend, StreamId, Version,
};
