//! The command line.

mod audit;
mod replay;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use secrecy::SecretString;

pub(crate) use audit::{
    Audit, Checkpoint, Cosign, Event, Export, ExportFormat, Only, Proof, Verify,
};
pub(crate) use replay::{Emit, Replay, To};

/// Runs AI workflows on one verifiable log.
#[derive(Debug, Parser)]
#[command(name = "everstep", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// Where the API is; else that of `everstep dev` on this data directory
    #[arg(long, global = true, env = "EVERSTEP_API_URL", value_name = "URL")]
    pub(crate) api_url: Option<url::Url>,
    /// The API key; better given in the environment, where no process list shows it
    #[arg(long, global = true, env = "EVERSTEP_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<SecretString>,
    /// How results are written
    #[arg(long, short, global = true, value_enum, default_value = "table")]
    pub(crate) output: Format,
    /// Where this instance keeps its own files
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For programs
    Json,
    /// For programs and people
    Yaml,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in one process, on a private Postgres of its own
    Dev(Listen),
    /// Serve the HTTP API
    Serve(Listen),
    /// Run the engine, the projections and all else that never stops
    Work(Database),
    /// Bring the database to this release's schema
    Migrate(Database),
    /// Print the settings in force, and check the database's
    Check(Database),
    /// Workflows: definitions, in versions
    #[command(subcommand)]
    Workflow(Workflow),
    /// Executions: runs of workflows
    #[command(subcommand)]
    Execution(Execution),
    /// Read models: how far they have come
    #[command(subcommand)]
    Projection(Projection),
    /// Rebuild read models from the log, or write it out again for others
    Replay(Replay),
    /// The log's tables and files
    #[command(subcommand)]
    Log(Log),
    /// The log as an audit trail
    #[command(subcommand)]
    Audit(Box<Audit>),
    /// Streams that nobody works on because that went wrong each time
    #[command(subcommand)]
    Quarantine(Quarantine),
    /// Those who follow the log to carry something out, and what they cannot go on with
    #[command(subcommand)]
    Subscription(Subscription),
    /// People whose data are in the log
    #[command(subcommand)]
    Subject(Subject),
    /// Print the description of the API, as served at /openapi.json
    Openapi,
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Where to listen and what to store in.
#[derive(Debug, Clone, Args)]
pub(crate) struct Listen {
    /// The port; 0 for any that is free
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    #[command(flatten)]
    pub(crate) database: Database,
}

/// What to store in.
#[derive(Debug, Clone, Args)]
pub(crate) struct Database {
    /// The Postgres to use
    #[arg(long, value_name = "URL")]
    pub(crate) database_url: Option<String>,
}

/// Commands on workflows.
#[derive(Debug, Subcommand)]
pub(crate) enum Workflow {
    /// Create or update workflows, and the agents, prompts, integrations and templates they use
    Apply {
        /// A file, or a directory of YAML files; may be given more than once
        #[arg(long, short, required = true, value_name = "FILE|DIR")]
        file: Vec<PathBuf>,
    },
    /// Check documents without a server
    Validate {
        /// The documents
        #[arg(required = true, value_name = "FILE")]
        file: Vec<PathBuf>,
    },
    /// List workflows
    List {
        /// Only those of this namespace
        #[arg(long)]
        namespace: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Show a workflow
    Get {
        /// Its id, `namespace/name`, or name
        workflow: String,
        /// One of its versions, else the newest
        #[arg(long)]
        version: Option<String>,
    },
    /// Start an execution and wait for its end
    Run(Run),
}

/// Starts an execution.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The workflow's id, `namespace/name`, or name
    pub(crate) workflow: String,
    /// The input: JSON, `@FILE`, or `-` for standard input
    #[arg(long, value_name = "JSON")]
    pub(crate) input: Option<String>,
    /// One of its versions, else the newest
    #[arg(long)]
    pub(crate) version: Option<String>,
    /// Whose data the input is: what you call the person, so that they can be erased
    #[arg(long, value_name = "NAME")]
    pub(crate) subject: Option<String>,
    /// How urgent it is: low, normal or high. What is less urgent is refused sooner when there is too much
    #[arg(long, value_name = "URGENCY", value_parser = ["low", "normal", "high"])]
    pub(crate) priority: Option<String>,
    /// Do not wait for the end
    #[arg(long)]
    pub(crate) detach: bool,
    /// How many seconds to wait for the end
    #[arg(long, default_value_t = 600, value_name = "SECONDS", conflicts_with = "detach")]
    pub(crate) timeout: u64,
}

/// Commands on people.
#[derive(Debug, Subcommand)]
pub(crate) enum Subject {
    /// Erase a person: destroy the key of all that the log says of them. It cannot be undone
    Erase {
        /// What they were called as `subject`
        name: String,
    },
    /// Take what is left of the erased off the disk, as the database's owner: rewrites the tables that
    /// held their keys and data, and removes what replays have kept
    Purge {
        #[command(flatten)]
        database: Database,
    },
}

impl Subject {
    pub(crate) fn database_url(&self) -> Option<String> {
        match self {
            Self::Erase { .. } => None,
            Self::Purge { database } => database.database_url.clone(),
        }
    }
}

/// Commands on executions.
#[derive(Debug, Subcommand)]
pub(crate) enum Execution {
    /// List executions, the newest first
    List {
        /// Only those of this workflow: its id, `namespace/name`, or name
        #[arg(long)]
        workflow: Option<String>,
        /// Only those with this status
        #[arg(long, value_parser = ["running", "waiting", "completed", "faulted", "cancelled"])]
        status: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Show an execution, its tasks, and what it waits for
    Get {
        #[command(flatten)]
        execution: Which,
    },
    /// Follow an execution until it ends
    Watch {
        #[command(flatten)]
        execution: Which,
    },
    /// Cancel an execution
    Cancel {
        #[command(flatten)]
        execution: Which,
        /// Why, in your own words
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Print the events of an execution, one JSON object a line
    Events {
        #[command(flatten)]
        execution: Which,
    },
}

/// Names an execution.
#[derive(Debug, Clone, Args)]
pub(crate) struct Which {
    /// Its id
    pub(crate) id: uuid::Uuid,
    /// Its workflow (id, `namespace/name`, or name), if known: saves looking for it
    #[arg(long)]
    pub(crate) workflow: Option<String>,
}

/// Commands on read models.
#[derive(Debug, Subcommand)]
pub(crate) enum Projection {
    /// List read models, and how far each is behind the log
    List {
        /// Show the list every second
        #[arg(long)]
        watch: bool,
        #[command(flatten)]
        database: Database,
    },
    /// Have a parked one try again
    Retry {
        /// Its name
        name: String,
        #[command(flatten)]
        database: Database,
    },
}

impl Projection {
    pub(crate) fn database(&self) -> &Database {
        match self {
            Self::List { database, .. } | Self::Retry { database, .. } => database,
        }
    }
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// This one.
    Position(i64),
    /// The one that had been reached then.
    Time(DateTime<Utc>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Position(position) => position.fmt(f),
            Self::Time(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(position) = text.parse() {
            let is_one = position >= 0;
            return if is_one {
                Ok(Self::Position(position))
            } else {
                Err("a position is not negative".to_owned())
            };
        }
        let time = DateTime::parse_from_rfc3339(text);
        let time =
            time.map_err(|_| "neither a position nor a time such as 2026-11-23T12:00:00Z")?;
        Ok(Self::Time(time.to_utc()))
    }
}

/// Commands on the log's tables and files.
#[derive(Debug, Subcommand)]
pub(crate) enum Log {
    /// List partitions: which positions are where, and how much room they take
    List {
        #[command(flatten)]
        database: Database,
    },
    /// Make files of old partitions and drop their tables; whatever reads the log reads the files
    Archive {
        /// Only partitions that end before this position
        #[arg(long, value_name = "POSITION")]
        before: i64,
        /// The directory for the files; every machine that reads the log must have it at this path
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        #[command(flatten)]
        database: Database,
    },
}

impl Log {
    pub(crate) fn database(&self) -> &Database {
        match self {
            Self::List { database } | Self::Archive { database, .. } => database,
        }
    }
}

/// Commands on what is in quarantine.
#[derive(Debug, Subcommand)]
pub(crate) enum Quarantine {
    /// List the streams that nobody works on because that went wrong each time, and why
    List {
        #[command(flatten)]
        database: Database,
    },
    /// Have them worked on again
    Release {
        /// Only this stream
        stream: Option<uuid::Uuid>,
        #[command(flatten)]
        database: Database,
    },
}

impl Quarantine {
    pub(crate) fn database(&self) -> &Database {
        match self {
            Self::List { database } | Self::Release { database, .. } => database,
        }
    }
}

/// Commands on subscriptions.
#[derive(Debug, Subcommand)]
pub(crate) enum Subscription {
    /// List them: how far they are, who works on them, what is parked
    List {
        #[command(flatten)]
        database: Database,
    },
    /// Show the streams that one cannot go on with, and why
    Parked {
        /// The subscription
        name: String,
        /// Show the events that were skipped instead
        #[arg(long)]
        skipped: bool,
        #[command(flatten)]
        database: Database,
    },
    /// Have parked streams tried again
    Retry {
        /// The subscription
        name: String,
        /// Only this stream
        stream: Option<uuid::Uuid>,
        #[command(flatten)]
        database: Database,
    },
    /// Go past the event at which a stream is parked; it is never handled, and that stays known
    Skip {
        /// The subscription
        name: String,
        /// Where the event is in the log
        position: i64,
        /// Why, in your own words
        #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
        reason: String,
        #[command(flatten)]
        database: Database,
    },
}

impl Subscription {
    pub(crate) fn database(&self) -> &Database {
        match self {
            Self::List { database }
            | Self::Parked { database, .. }
            | Self::Retry { database, .. }
            | Self::Skip { database, .. } => database,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_tree_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_every_command_understands_may_stand_anywhere() {
        let before = Cli::try_parse_from(["everstep", "-o", "json", "workflow", "list"]).unwrap();
        let after = Cli::try_parse_from(["everstep", "workflow", "list", "-o", "json"]).unwrap();
        assert_eq!((before.global.output, after.global.output), (Format::Json, Format::Json));
    }

    #[test]
    fn a_token_shows_nowhere() {
        let cli = Cli::try_parse_from(["everstep", "--token", "evs_x", "openapi"]).unwrap();
        assert!(!format!("{cli:?}").contains("evs_x"));
    }
}
