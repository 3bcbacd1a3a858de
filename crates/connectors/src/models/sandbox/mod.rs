//! A stand-in for a model, for trying things out without one: it says so in every answer.
//!
//! It understands nothing. The same conversation always gets the same answer. For a schema it
//! makes an instance: of an enumeration the value whose words occur in the last user message,
//! strings that begin with `[sandbox]` as far as their schema lets them.

mod generate;
mod pattern;
#[cfg(test)]
mod tests;

use async_trait::async_trait;
use domain::invocation::FailureClass;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::port::{ChatAnswer, ChatError, ChatRequest, Finish, Model, Role, estimated_tokens};
use generate::Generator;

/// The stand-in.
#[derive(Debug, Clone, Copy)]
pub struct Sandbox;

/// How every text of the stand-in begins.
const MARK: &str = "[sandbox]";

impl Sandbox {
    /// The name it reports as the model's.
    pub const MODEL: &str = "sandbox";
}

#[async_trait]
impl Model for Sandbox {
    async fn chat(&self, request: &ChatRequest) -> Result<ChatAnswer, ChatError> {
        let asked = request.messages.iter().rev().find(|message| message.role == Role::User);
        let input = asked.map(|message| message.content.as_str()).unwrap_or_default();
        let text = match &request.schema {
            Some(schema) => instance(schema, input, seed(request))?.to_string(),
            None => format!(
                "{MARK} A stand-in answered, not a language model. The question began: {}",
                excerpt(input)
            ),
        };
        let (text, finish) = cut(text, request.max_output_tokens);
        let said = request.messages.iter().map(|message| message.content.len()).sum();
        Ok(ChatAnswer {
            model: Self::MODEL.to_owned(),
            finish,
            input_tokens: estimated_tokens(said),
            output_tokens: estimated_tokens(text.len()),
            text,
        })
    }
}

/// Depends on the whole conversation, so that a repair is another try.
fn seed(request: &ChatRequest) -> [u8; 32] {
    let mut hash = Sha256::new();
    for message in &request.messages {
        hash.update(message.content.len().to_be_bytes());
        hash.update(&message.content);
    }
    hash.finalize().into()
}

/// A valid instance of the schema. Some schemas need luck (`oneOf`, `not`), hence several tries.
fn instance(schema: &Value, input: &str, seed: [u8; 32]) -> Result<Value, ChatError> {
    let refused = |detail: String| ChatError::new(FailureClass::InvalidRequest, detail);
    let validator = jsonschema::options()
        .should_validate_formats(true)
        .build(schema)
        .map_err(|error| refused(format!("the schema cannot be used: {error}")))?;
    (0..24)
        .filter_map(|attempt| Generator::new(schema, input, seed, attempt).generate())
        .find(|instance| validator.is_valid(instance))
        .ok_or_else(|| refused("the sandbox finds no instance of this schema".to_owned()))
}

/// The beginning of the input in one line.
fn excerpt(input: &str) -> String {
    let words: Vec<_> = input.split_whitespace().take(12).collect();
    words.join(" ").chars().take(80).collect()
}

/// Like a model that runs out of tokens; the mark stays.
fn cut(text: String, limit: Option<u32>) -> (String, Finish) {
    let bytes = limit.map_or(usize::MAX, |tokens| (tokens as usize).saturating_mul(7) / 2);
    if text.len() <= bytes {
        return (text, Finish::Stop);
    }
    let mut end = bytes.max(MARK.len()).min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (text[..end].to_owned(), Finish::Length)
}
