//! What `everstep replay` understands.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use secrecy::SecretString;
use uuid::Uuid;

use super::{Database, Place};

/// Where a replay goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum To {
    /// The read models
    Projection,
    /// `CloudEvents` as JSON, one a line, in a file or on standard output
    Ndjson,
    /// `CloudEvents` to an exchange of a message broker, such as `RabbitMQ`
    Amqp,
}

/// Rebuilds read models, or emits events again.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").multiple(false))]
pub(crate) struct Replay {
    /// Where to
    #[arg(long, value_enum, default_value = "projection")]
    pub(crate) to: To,
    /// Rebuild beside the live ones and compare; change nothing
    #[arg(long, group = "what")]
    pub(crate) verify: bool,
    /// Put the tables that the last rebuild replaced in place again
    #[arg(long, group = "what")]
    pub(crate) rollback: bool,
    /// Make read models as they were then, in the schema `as_of`: a position, or a time (RFC 3339).
    /// With --to ndjson|amqp: the last event
    #[arg(long, group = "what", value_name = "POSITION|TIME")]
    pub(crate) until: Option<Place>,
    /// Remove what is kept for --rollback, what --until made, and a rebuild that did not end
    #[arg(long, group = "what", conflicts_with_all = ["projection", "rate"])]
    pub(crate) discard: bool,
    /// Only this one; may be given more than once
    #[arg(long, value_name = "NAME")]
    pub(crate) projection: Vec<String>,
    /// At most so many events a second
    #[arg(long, value_name = "EVENTS")]
    pub(crate) rate: Option<NonZeroU32>,
    #[command(flatten)]
    pub(crate) emit: Emit,
    #[command(flatten)]
    pub(crate) database: Database,
}

/// Which events are emitted again, and where to.
#[derive(Debug, Args)]
#[command(next_help_heading = "With --to ndjson or --to amqp")]
pub(crate) struct Emit {
    /// The first event: a position, or a time (RFC 3339)
    #[arg(long, value_name = "POSITION|TIME")]
    pub(crate) from: Option<Place>,
    /// Only those of this tenant
    #[arg(long, value_name = "ID")]
    pub(crate) tenant: Option<Uuid>,
    /// Only those of this type, such as execution.started
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    /// Begin again, though an earlier run of the same replay got further
    #[arg(long)]
    pub(crate) restart: bool,
    /// ndjson: the file to write or to go on with; `-`, the default, for standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// amqp: the broker, `amqp://USER:PASSWORD@HOST:PORT/VHOST` or `amqps://`; better given in the
    /// environment, where no process list shows it
    #[arg(long, env = "EVERSTEP_AMQP_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) amqp_url: Option<SecretString>,
    /// amqp: the exchange, which must be there
    #[arg(long, value_name = "NAME")]
    pub(crate) exchange: Option<String>,
    /// amqp: the routing key, else the type of each event
    #[arg(long, value_name = "KEY")]
    pub(crate) routing_key: Option<String>,
    /// amqp: the file that keeps how far the broker has confirmed, else one in the data directory
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Option<PathBuf>,
}
