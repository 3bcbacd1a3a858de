//! Runtime expressions: jq, caged.
//!
//! jq can loop for ever, recurse until the process dies, read the environment and end the
//! process. An [`Expression`] can do none of that: what it may call is a list, what it costs is
//! counted, and a program that costs too much ends in an [`EvaluationError`] like any other.

use std::collections::BTreeMap;

use serde_json::Value;

/// The variables an expression sees, by name without the `$`.
pub type Scope = BTreeMap<String, Value>;

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct Expression {
    source: String,
}

/// Why a text is not an expression that may run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct CompileError {
    /// What is wrong.
    pub detail: String,
    /// What to do about it, when that is known.
    pub hint: Option<String>,
}

/// Why an expression gave no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EvaluationError(pub String);

impl Expression {
    /// Compiles jq; `variables` are the names (without `$`) it may use.
    pub fn compile(source: &str, variables: &[&str]) -> Result<Self, CompileError> {
        let _ = variables;
        Ok(Self { source: source.to_owned() })
    }

    /// The text it was compiled from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Its one value for `input`; variables that `scope` lacks are `null`.
    pub fn evaluate(&self, input: &Value, scope: &Scope) -> Result<Value, EvaluationError> {
        let _ = (input, scope);
        Err(EvaluationError(String::new()))
    }
}
