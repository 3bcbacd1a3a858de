use crate::Kind;

/// Why an execution may say no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing was ever started under this id.
    #[error("there is no such execution")]
    NotFound,
    /// An execution starts once.
    #[error("the execution was already started")]
    AlreadyStarted,
    /// A run that ended on its own cannot be cancelled.
    #[error("the execution has already finished")]
    Finished,
    /// The input is larger than an execution may carry.
    #[error("the input of {size} bytes exceeds the limit of {} bytes", super::INPUT_LIMIT)]
    InputTooLarge {
        /// Its size as JSON, in bytes.
        size: usize,
    },
}

impl crate::Refusal for Refusal {
    fn kind(&self) -> Kind {
        match self {
            Self::NotFound => Kind::NotFound,
            Self::AlreadyStarted | Self::Finished => Kind::Conflict,
            Self::InputTooLarge { .. } => Kind::Invalid,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "execution_not_found",
            Self::AlreadyStarted => "execution_already_started",
            Self::Finished => "execution_finished",
            Self::InputTooLarge { .. } => "input_too_large",
        }
    }
}
