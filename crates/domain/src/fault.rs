//! One thing that is wrong with what somebody sent, and where.

use serde::{Deserialize, Serialize};

/// A fault in a document or a request body: enough for a person to find it and mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Where, as a JSON Pointer (RFC 6901); empty for the whole.
    pub pointer: String,
    /// The line in the text that was sent, from 1, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// A stable name for this sort of fault, such as `unknown_field`.
    pub code: String,
    /// What is wrong.
    pub detail: String,
    /// What to do about it, when that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Fault {
    /// A fault without a line or a hint.
    #[must_use]
    pub fn new(pointer: impl Into<String>, code: &str, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            line: None,
            code: code.to_owned(),
            detail: detail.into(),
            hint: None,
        }
    }

    /// The same fault with advice.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The same fault at a line of the text.
    #[must_use]
    pub fn at_line(self, line: u32) -> Self {
        Self { line: Some(line), ..self }
    }
}
