//! `OpenAI`'s chat completions, and the many servers that speak the same (non-streaming).

#[cfg(test)]
pub(super) mod double;
mod failure;
mod strict;
#[cfg(test)]
mod tests;
mod wire;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::port::{ChatAnswer, ChatError, ChatRequest, Model};
use crate::egress::{Egress, Method, OutboundRequest};

/// A server that speaks `OpenAI`'s chat protocol.
#[derive(Debug)]
pub(super) struct OpenAiChat {
    pub(super) egress: Egress,
    pub(super) endpoint: String,
    pub(super) api_key: Option<SecretString>,
    pub(super) default_model: String,
    pub(super) dialect: Dialect,
}

/// Where servers that speak the protocol differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dialect {
    /// How the limit of output tokens is called.
    pub max_tokens: MaxTokensField,
    /// Which role instructions have.
    pub system: SystemRole,
    /// Schemas are rewritten to the subset that `OpenAI` enforces ("strict"); else sent as they are.
    pub strict_schemas: bool,
}

/// How the limit of output tokens is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensField {
    /// `max_completion_tokens`: `OpenAI` today.
    MaxCompletionTokens,
    /// `max_tokens`: everybody else.
    MaxTokens,
}

/// Which role instructions have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SystemRole {
    /// `developer`: `OpenAI` today.
    Developer,
    /// `system`: everybody else.
    System,
}

impl Dialect {
    /// What `OpenAI` itself speaks.
    #[must_use]
    pub const fn openai() -> Self {
        Self {
            max_tokens: MaxTokensField::MaxCompletionTokens,
            system: SystemRole::Developer,
            strict_schemas: true,
        }
    }

    /// What local servers and other providers understand.
    #[must_use]
    pub const fn compatible() -> Self {
        Self {
            max_tokens: MaxTokensField::MaxTokens,
            system: SystemRole::System,
            strict_schemas: false,
        }
    }

    /// What the server at this URL most likely speaks.
    #[must_use]
    pub fn of(base_url: &Url) -> Self {
        match base_url.host() {
            Some(Host::Domain("api.openai.com")) => Self::openai(),
            Some(_) | None => Self::compatible(),
        }
    }
}

#[async_trait]
impl Model for OpenAiChat {
    async fn chat(&self, request: &ChatRequest) -> Result<ChatAnswer, ChatError> {
        let schema = request.schema.as_ref().map(|schema| self.dialect.profile(schema));
        let body = wire::request(request, schema.as_ref(), self);
        let mut call = OutboundRequest::new(Method::POST, &self.endpoint)
            .header("accept", "application/json")
            .header("idempotency-key", &request.idempotency_key)
            .json(&body);
        call.timeout = request.timeout;
        if let Some(key) = &self.api_key {
            call = call.header("authorization", format!("Bearer {}", key.expose_secret().trim()));
        }
        let answer = self.egress.send(call).await.map_err(|error| failure::not_answered(&error))?;
        let mut answer = wire::answer(&answer, request)?;
        if let (Some(author), Some(Profile { rewritten: true, .. })) = (&request.schema, &schema) {
            answer.text = strict::undo(&answer.text, author);
        }
        Ok(answer)
    }
}

/// A schema as it goes over the wire.
struct Profile {
    schema: serde_json::Value,
    /// The provider shall enforce it.
    strict: bool,
    /// It is not what the author wrote, so neither is the answer's form.
    rewritten: bool,
}

impl Dialect {
    /// What the rewriting cannot express goes out as it is, as a wish: the caller checks the
    /// answer against the author's schema anyway.
    fn profile(self, schema: &serde_json::Value) -> Profile {
        let as_it_is = |strict| Profile { schema: schema.clone(), strict, rewritten: false };
        if !self.strict_schemas {
            return as_it_is(true);
        }
        match strict::rewrite(schema) {
            Some(schema) => Profile { schema, strict: true, rewritten: true },
            None => as_it_is(false),
        }
    }
}
