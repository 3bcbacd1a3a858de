//! What `everstep audit` understands.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use eventstore::tlog::Verifier;
use uuid::Uuid;

use super::{Database, Place};

/// Commands on the audit trail.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Write the log, one event (JSON) a line
    Export(Export),
    /// Check that nothing was changed: the log in the database, or a bundle without it
    Verify(Verify),
    /// Print what proves that an event is in the log (C2SP tlog-proof)
    Proof(Proof),
    /// Print the newest checkpoint of a tenant, or have witnesses cosign it
    Checkpoint(Checkpoint),
    /// Cosign a checkpoint of another installation, if it follows from what was cosigned before
    Witness(Cosign),
    /// Replace the key that signs checkpoints; the old one names the new one
    RotateKey {
        #[command(flatten)]
        database: Database,
    },
}

impl Audit {
    pub(crate) fn database(&self) -> &Database {
        match self {
            Self::Export(what) => &what.database,
            Self::Verify(what) => &what.database,
            Self::Proof(what) => &what.database,
            Self::Checkpoint(what) => &what.database,
            Self::Witness(what) => &what.database,
            Self::RotateKey { database } => database,
        }
    }
}

/// Exports the log.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The first position, or the time of the first (RFC 3339)
    #[arg(long, default_value = "1", value_name = "POSITION|TIME")]
    pub(crate) from: Place,
    /// The last position, or the time of the last (RFC 3339), else the newest
    #[arg(long, value_name = "POSITION|TIME")]
    pub(crate) to: Option<Place>,
    /// What is written
    #[arg(long, value_enum, default_value = "cloudevents")]
    pub(crate) format: ExportFormat,
    #[command(flatten)]
    pub(crate) only: Only,
    /// The file to write, else standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Write all that is needed to check a tenant's events elsewhere: a directory, or one file if
    /// the name ends in .tar.zst
    #[arg(long, value_name = "DIR|FILE.tar.zst", requires = "tenant")]
    #[arg(conflicts_with_all = ["file", "format"])]
    pub(crate) bundle: Option<PathBuf>,
    /// Write the bundle up to the newest checkpoint that this witness has cosigned
    #[arg(long, value_name = "KEY", requires = "bundle")]
    pub(crate) witness: Option<Verifier>,
    #[command(flatten)]
    pub(crate) database: Database,
}

/// What an export is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// `CloudEvents` 1.0, a line of JSON each; the form that can be checked
    Cloudevents,
    /// Comma-separated values (RFC 4180), safe to open in a spreadsheet
    Csv,
    /// Apache Parquet
    Parquet,
    /// Open Cybersecurity Schema Framework, a line of JSON each
    Ocsf,
}

/// Which events.
#[derive(Debug, Default, Args)]
pub(crate) struct Only {
    /// Only those of this tenant
    #[arg(long, value_name = "ID")]
    pub(crate) tenant: Option<Uuid>,
    /// Only those of this type, such as execution.started
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    /// Only those caused by this API key or integration
    #[arg(long, value_name = "ID")]
    pub(crate) actor: Option<Uuid>,
}

/// Checks the log.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The bundle to check, or an export (`CloudEvents`)
    #[arg(required_unless_present = "live", conflicts_with = "live")]
    pub(crate) file: Option<PathBuf>,
    /// Check the log in the database
    #[arg(long)]
    pub(crate) live: bool,
    /// Check the export against the tree in this bundle of the tenant
    #[arg(long, value_name = "BUNDLE", conflicts_with = "live")]
    pub(crate) with: Option<PathBuf>,
    /// Ask that the log in the database continues this one: a checkpoint that was kept, or a bundle;
    /// may be given more than once
    #[arg(long, value_name = "FILE|BUNDLE", conflicts_with = "file")]
    pub(crate) since: Vec<PathBuf>,
    /// Believe only this key, `name+id+key` as in keys.txt, and those that follow it by its word;
    /// may be given more than once
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Vec<Verifier>,
    /// Ask that this witness has cosigned: the bundle, or a checkpoint of each tenant; may be given
    /// more than once
    #[arg(long, value_name = "KEY")]
    pub(crate) witness: Vec<Verifier>,
    #[command(flatten)]
    pub(crate) database: Database,
}

/// Shows a checkpoint to witnesses.
#[derive(Debug, Args)]
pub(crate) struct Checkpoint {
    /// Whose
    #[arg(long, value_name = "ID")]
    pub(crate) tenant: Uuid,
    /// Print what a witness is asked that has cosigned up to this size; 0 the first time
    #[arg(long, value_name = "SIZE")]
    pub(crate) old: Option<u64>,
    /// Keep the checkpoint that a witness has cosigned; `-` for standard input
    #[arg(long, value_name = "FILE", requires = "witness", conflicts_with = "old")]
    pub(crate) add: Option<PathBuf>,
    /// The witness's key, as `everstep audit witness` shows it there
    #[arg(long, value_name = "KEY", requires = "add")]
    pub(crate) witness: Option<Verifier>,
    #[command(flatten)]
    pub(crate) database: Database,
}

/// Cosigns.
#[derive(Debug, Args)]
pub(crate) struct Cosign {
    /// What `everstep audit checkpoint --old` printed there, `-` for standard input; without it, the
    /// key of this witness is shown, and what it has cosigned
    pub(crate) request: Option<PathBuf>,
    /// A key of that log, as in keys.txt; needed the first time and when it has another
    #[arg(long, value_name = "KEY", requires = "request")]
    pub(crate) key: Vec<Verifier>,
    #[command(flatten)]
    pub(crate) database: Database,
}

/// An event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// By its place in the log.
    At(i64),
    /// By its id.
    Id(Uuid),
}

impl FromStr for Event {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(position) = text.parse() {
            return if position > 0 { Ok(Self::At(position)) } else { Err("positions run from 1") };
        }
        text.parse().map(Self::Id).map_err(|_| "neither a position nor the id (UUID) of an event")
    }
}

/// Proves an event.
#[derive(Debug, Args)]
pub(crate) struct Proof {
    /// The event's id, or where it is in the log
    pub(crate) event: Event,
    #[command(flatten)]
    pub(crate) database: Database,
}
