use crate::Kind;

/// Why a delivery may say no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It does not fit into the log, or into the input of the execution that it starts.
    #[error("the delivery needs {size} bytes; the limit is {limit}")]
    TooLarge {
        /// Its size as JSON, in bytes.
        size: usize,
        /// How large it may be.
        limit: usize,
    },
    /// Its body holds what cannot be stored.
    #[error("the body cannot be stored: {0}")]
    Unstorable(String),
}

impl crate::Refusal for Refusal {
    fn kind(&self) -> Kind {
        match self {
            Self::TooLarge { .. } | Self::Unstorable(_) => Kind::Invalid,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "webhook_too_large",
            Self::Unstorable(_) => "webhook_unstorable",
        }
    }
}
