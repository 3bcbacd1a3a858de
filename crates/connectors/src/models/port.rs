//! The port: a conversation goes to a model, one answer comes back.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use domain::invocation::FailureClass;
use serde_json::Value;

/// A language model, or a family of them behind one endpoint.
#[async_trait]
pub trait Model: fmt::Debug + Send + Sync {
    /// Asks once; never repeats a request by itself.
    async fn chat(&self, request: &ChatRequest) -> Result<ChatAnswer, ChatError>;
}

/// A conversation to be continued by the model.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// The model, by the provider's name for it; the provider's default if none.
    pub model: Option<String>,
    /// What was said so far, oldest first.
    pub messages: Vec<Message>,
    /// A JSON Schema that the answer should satisfy. The provider is asked for it; whether the
    /// answer really does is for the caller to check.
    pub schema: Option<Value>,
    /// Sampling temperature, 0 to 2; the provider's default if none.
    pub temperature: Option<f64>,
    /// The most tokens that the answer may have; the provider's limit if none.
    pub max_output_tokens: Option<u32>,
    /// How long the call may take.
    pub timeout: Duration,
    /// Stays the same while it is unknown whether an earlier call was carried out.
    pub idempotency_key: String,
}

/// A part of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Whose words they are.
    pub role: Role,
    /// The words.
    pub content: String,
}

impl Message {
    /// What the platform tells the model to do.
    #[must_use]
    pub fn system(content: impl Into<String>) -> Self {
        Self { role: Role::System, content: content.into() }
    }

    /// What the model is asked.
    #[must_use]
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: Role::User, content: content.into() }
    }

    /// What the model said before.
    #[must_use]
    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: Role::Assistant, content: content.into() }
    }
}

/// Whose words a message holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The platform's.
    System,
    /// The asker's.
    User,
    /// The model's own.
    Assistant,
}

/// What the model said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatAnswer {
    /// The words, or JSON if a schema was given. Not empty.
    pub text: String,
    /// The model that answered, by the provider's word.
    pub model: String,
    /// Why it stopped.
    pub finish: Finish,
    /// Tokens of the conversation: the provider's count, or an estimate where it gives none.
    pub input_tokens: u64,
    /// Tokens of the answer: the provider's count, or an estimate where it gives none.
    pub output_tokens: u64,
}

/// Why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// It had said everything.
    Stop,
    /// It ran into the limit of tokens; the answer is cut off.
    Length,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct ChatError {
    /// Which sort of failure.
    pub class: FailureClass,
    /// What happened, for people; holds no secret and none of the provider's own words.
    pub detail: String,
    /// How long the provider asks to be left alone, if it says so.
    pub retry_after: Option<Duration>,
}

impl ChatError {
    pub(super) fn new(class: FailureClass, detail: impl Into<String>) -> Self {
        Self { class, detail: detail.into(), retry_after: None }
    }
}

/// About as many tokens as these words have: a little more than most tokenizers make of English.
pub(super) fn estimated_tokens(bytes: usize) -> u64 {
    u64::try_from(bytes.saturating_mul(2).div_ceil(7)).unwrap_or(u64::MAX)
}
