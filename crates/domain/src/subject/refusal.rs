use crate::{Fault, Kind};

/// Why a subject may say no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody asked for that.
    #[error("nobody asked for the subject to be erased")]
    NotRequested,
}

impl crate::Refusal for Refusal {
    fn kind(&self) -> Kind {
        match self {
            Self::NotRequested => Kind::Conflict,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotRequested => "erasure_not_requested",
        }
    }

    fn faults(&self) -> &[Fault] {
        &[]
    }
}
