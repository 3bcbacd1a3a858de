//! The errors that the engine itself raises, by the names that the workflow language gives them.

use serde_json::{Map, Value};

use super::Error;
use crate::Personal;

/// The standard errors of the workflow language (DSL 1.0, "Standard error types").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standard {
    /// The document asks for what cannot be.
    Configuration,
    /// Data does not satisfy its schema.
    Validation,
    /// An expression gave no value.
    Expression,
    /// The other side does not know who is calling.
    Authentication,
    /// The other side does not let the caller.
    Authorization,
    /// It took too long.
    Timeout,
    /// The other side could not be reached, or answered with an error.
    Communication,
    /// The engine could not do it.
    Runtime,
}

impl Standard {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Configuration,
        Self::Validation,
        Self::Expression,
        Self::Authentication,
        Self::Authorization,
        Self::Timeout,
        Self::Communication,
        Self::Runtime,
    ];

    /// The last segment of its type URI.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Validation => "validation",
            Self::Expression => "expression",
            Self::Authentication => "authentication",
            Self::Authorization => "authorization",
            Self::Timeout => "timeout",
            Self::Communication => "communication",
            Self::Runtime => "runtime",
        }
    }

    /// Its type URI.
    #[must_use]
    pub fn uri(self) -> String {
        format!("https://open-workflow-specification.org/spec/1.0.0/errors/{}", self.slug())
    }

    /// The status it has unless the other side gave one.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Configuration | Self::Validation | Self::Expression => 400,
            Self::Authentication => 401,
            Self::Authorization => 403,
            Self::Timeout => 408,
            Self::Communication | Self::Runtime => 500,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Configuration => "Configuration Error",
            Self::Validation => "Validation Error",
            Self::Expression => "Expression Error",
            Self::Authentication => "Authentication Error",
            Self::Authorization => "Authorization Error",
            Self::Timeout => "Timeout",
            Self::Communication => "Communication Error",
            Self::Runtime => "Runtime Error",
        }
    }

    /// The error with a detail.
    #[must_use]
    pub fn error(self, detail: impl Into<String>) -> Error {
        Error {
            kind: self.uri(),
            status: self.status(),
            title: Some(self.title().to_owned()),
            detail: Some(detail.into().into()),
            instance: None,
        }
    }
}

impl Error {
    /// The same error with the status that the other side gave.
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The error as everybody but the log sees it: a problem detail (RFC 9457), without what was
    /// erased.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let Self { kind, status, title, detail, instance } = self;
        let mut members = Map::new();
        members.insert("type".to_owned(), kind.as_str().into());
        members.insert("status".to_owned(), (*status).into());
        let detail = detail.as_ref().and_then(Personal::known);
        for (name, text) in
            [("title", title.as_ref()), ("detail", detail), ("instance", instance.as_ref())]
        {
            if let Some(text) = text {
                members.insert(name.to_owned(), text.as_str().into());
            }
        }
        Value::Object(members)
    }
}
