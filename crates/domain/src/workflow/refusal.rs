use crate::refusal::summary;
use crate::{Fault, Kind};

/// Why a workflow may say no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is none, or it was deleted.
    #[error("there is no such workflow")]
    NotFound,
    /// The name is taken.
    #[error("a workflow of this namespace and name is already there")]
    Exists,
    /// Versions never change.
    #[error("version {0} was published before with another text: versions never change")]
    VersionExists(String),
    /// Versions only rise.
    #[error("version {version} is not newer than {newest}, the newest there is")]
    VersionNotNewer {
        /// The version that was sent.
        version: String,
        /// The newest published version.
        newest: String,
    },
    /// The document is not one of this workflow.
    #[error("{}", summary(.0))]
    Invalid(Vec<Fault>),
}

impl crate::Refusal for Refusal {
    fn kind(&self) -> Kind {
        match self {
            Self::NotFound => Kind::NotFound,
            Self::Exists | Self::VersionExists(_) | Self::VersionNotNewer { .. } => Kind::Conflict,
            Self::Invalid(_) => Kind::Invalid,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "workflow_not_found",
            Self::Exists => "workflow_exists",
            Self::VersionExists(_) => "workflow_version_exists",
            Self::VersionNotNewer { .. } => "workflow_version_not_newer",
            Self::Invalid(_) => "workflow_invalid",
        }
    }

    fn faults(&self) -> &[Fault] {
        match self {
            Self::Invalid(faults) => faults,
            Self::NotFound
            | Self::Exists
            | Self::VersionExists(_)
            | Self::VersionNotNewer { .. } => &[],
        }
    }
}
