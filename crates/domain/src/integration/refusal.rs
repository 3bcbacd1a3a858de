use crate::{Fault, Kind};

/// Why an integration may say no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is none, or it was deleted.
    #[error("there is no such integration")]
    NotFound,
    /// The name is taken.
    #[error("an integration of this name is already there")]
    Exists,
    /// Its settings have faults.
    #[error("{}", crate::refusal::summary(.0))]
    Invalid(Vec<Fault>),
}

impl crate::Refusal for Refusal {
    fn kind(&self) -> Kind {
        match self {
            Self::NotFound => Kind::NotFound,
            Self::Exists => Kind::Conflict,
            Self::Invalid(_) => Kind::Invalid,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "integration_not_found",
            Self::Exists => "integration_exists",
            Self::Invalid(_) => "integration_invalid",
        }
    }

    fn faults(&self) -> &[Fault] {
        match self {
            Self::Invalid(faults) => faults,
            Self::NotFound | Self::Exists => &[],
        }
    }
}
