use crate::{Fault, Kind};

/// Why a notification may say no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing was ever asked under this id.
    #[error("there is no such notification")]
    NotFound,
    /// It is still on its way.
    #[error("the notification is still on its way")]
    Pending,
    /// What is asked has faults.
    #[error("{}", crate::refusal::summary(.0))]
    Invalid(Vec<Fault>),
}

impl crate::Refusal for Refusal {
    fn kind(&self) -> Kind {
        match self {
            Self::NotFound => Kind::NotFound,
            Self::Pending => Kind::Conflict,
            Self::Invalid(_) => Kind::Invalid,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "notification_not_found",
            Self::Pending => "notification_pending",
            Self::Invalid(_) => "notification_invalid",
        }
    }

    fn faults(&self) -> &[Fault] {
        match self {
            Self::Invalid(faults) => faults,
            Self::NotFound | Self::Pending => &[],
        }
    }
}
