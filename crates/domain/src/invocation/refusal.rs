use crate::Kind;

/// Why an invocation may say no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing was ever asked under this id.
    #[error("there is no such invocation")]
    NotFound,
}

impl crate::Refusal for Refusal {
    fn kind(&self) -> Kind {
        match self {
            Self::NotFound => Kind::NotFound,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "invocation_not_found",
        }
    }
}
