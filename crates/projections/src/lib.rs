//! Read models: what the query API, the workers and the dashboards look at.
//!
//! A read model is a fold of the log by key ([`View`]). Its module holds everything about it: the
//! row, the fold and the questions it answers. A new one is a file, a line in [`all_views`] and
//! its table. [`Projector`] keeps all of them up to date, [`verify`] proves that they are what the
//! log says, and [`rebuild`] makes them anew while the old ones serve.
//!
//! Questions are put to a [`Reader`], which sees one tenant's rows.

pub mod agents;
pub mod analytics;
pub mod api_keys;
mod batch;
mod checkpoint;
pub mod executions;
pub mod integration_logs;
pub mod integrations;
pub mod invocations;
pub mod notifications;
mod page;
pub mod prompts;
mod reader;
mod replay;
mod runner;
mod sketch;
mod storage;
pub mod tasks;
pub mod templates;
#[cfg(test)]
mod tests;
pub mod told;
mod usage;
mod values;
mod view;
mod waits;
mod work;
pub mod workflows;

pub use checkpoint::{Lag, lag, parked, position_of, unpark, wait_for};
pub use page::{Cursor, MalformedCursor, Page, Paging};
pub use reader::Reader;
pub use replay::{
    Checked, ColumnDifference, Course, Difference, Progress, Report, as_of, discard, rebuild,
    roll_back, verify,
};
pub use runner::Projector;
pub use sketch::Sketch;
pub use storage::{Schema, Table, Tables};
pub use view::{Projection, Seen, View, all_views};
pub use work::partition;

/// How keeping read models can fail.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log could not be read.
    #[error("cannot read the log")]
    Log(#[from] eventstore::Error),
    /// The read models could not be read or written.
    #[error("cannot read or write the read models")]
    Database(#[from] sqlx::Error),
    /// No view has this name.
    #[error("there is no view `{0}`")]
    UnknownView(String),
    /// Somebody else verifies or rebuilds at this moment.
    #[error("read models are being verified or rebuilt by somebody else")]
    Busy,
    /// Readers keep the tables locked.
    #[error("the tables are in use: their readers left no moment to exchange them")]
    Locked,
    /// There is nothing to go back to.
    #[error("no tables of an earlier rebuild are kept")]
    NothingKept,
    /// An event stands in the way of a view.
    #[error("view `{view}` cannot go past position {after}: {reason}")]
    Stuck {
        /// The view.
        view: &'static str,
        /// The last position it took in.
        after: eventstore::Position,
        /// What is wrong with the event after it.
        reason: String,
    },
}
