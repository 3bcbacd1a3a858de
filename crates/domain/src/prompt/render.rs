//! Making messages of an input.

use serde_json::{Map, Value};

use crate::RenderError;
use crate::jinja::{self, Escape};

/// The messages a prompt makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The system message, if the prompt has one.
    pub system: Option<String>,
    /// The user message.
    pub user: String,
}

/// Fills a prompt: `input` is what the agent is given, and its members, if it is an object, are
/// variables of their own.
pub fn render(system: Option<&str>, user: &str, input: &Value) -> Result<Rendered, RenderError> {
    let mut values = match input {
        Value::Object(members) => members.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    };
    values.insert("input".to_owned(), input.clone());
    let values = Value::Object(values);
    let system = system.map(|text| jinja::render(text, &values, Escape::Plain)).transpose()?;
    Ok(Rendered { system, user: jinja::render(user, &values, Escape::Plain)? })
}

/// The message of an agent without a prompt: text as it is, anything else as JSON.
#[must_use]
pub fn plain(input: &Value) -> String {
    input.as_str().map_or_else(|| input.to_string(), str::to_owned)
}
