use crate::{Fault, Kind};

/// Why an API key may say no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is none.
    #[error("there is no such API key")]
    NotFound,
    /// The id is taken.
    #[error("the API key is already there")]
    Exists,
    /// What is asked has faults.
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
            Self::NotFound => "api_key_not_found",
            Self::Exists => "api_key_exists",
            Self::Invalid(_) => "api_key_invalid",
        }
    }

    fn faults(&self) -> &[Fault] {
        match self {
            Self::Invalid(faults) => faults,
            Self::NotFound | Self::Exists => &[],
        }
    }
}
