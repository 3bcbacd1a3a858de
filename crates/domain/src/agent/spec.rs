use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Fault, name};

/// The longest that one call of a model may take, in milliseconds.
const LONGEST_TIMEOUT_MS: u32 = 600_000;

/// The longest name of a provider or a model, in bytes.
const LONGEST_WORD: usize = 200;

/// All settings of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The configured provider that serves it, such as `openai` or `sandbox`; the deployment's
    /// default provider if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The model, by the provider's name for it; the provider's default if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The prompt that makes messages of an input; without one the input itself is the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<PromptRef>,
    /// A JSON Schema (2020-12) that the answer must satisfy; without one the answer is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// Sampling temperature, 0 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// The most tokens an answer may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// How long one call of the model may take, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u32>,
}

/// A prompt of the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptRef {
    /// Its name.
    pub name: String,
    /// One of its versions; the newest at each invocation if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
}

impl Spec {
    /// Everything that is wrong with it.
    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut faults = vec![];
        let mut fault = |pointer: &str, code: &str, detail: String| {
            faults.push(Fault::new(pointer, code, detail));
        };
        if let Some(schema) = &self.output_schema
            && let Err(error) = super::schema::compile(schema)
        {
            fault("/output_schema", "malformed_schema", format!("it is no JSON Schema: {error}"));
        }
        for (pointer, text) in [("/provider", &self.provider), ("/model", &self.model)] {
            if text.as_ref().is_some_and(|text| !is_word(text)) {
                let detail = format!("it must have 1 to {LONGEST_WORD} characters, none blank");
                fault(pointer, "malformed_name", detail);
            }
        }
        if self.prompt.as_ref().is_some_and(|prompt| !name::is_good(&prompt.name)) {
            fault("/prompt/name", "malformed_name", "it is no name of a prompt".to_owned());
        }
        if self.prompt.as_ref().is_some_and(|prompt| prompt.version == Some(0)) {
            fault("/prompt/version", "out_of_range", "it must be at least 1".to_owned());
        }
        if self.temperature.is_some_and(|temperature| !(0.0..=2.0).contains(&temperature)) {
            fault("/temperature", "out_of_range", "it must be from 0 to 2".to_owned());
        }
        if self.max_output_tokens == Some(0) {
            fault("/max_output_tokens", "out_of_range", "it must be at least 1".to_owned());
        }
        if self.timeout_ms.is_some_and(|ms| !(1..=LONGEST_TIMEOUT_MS).contains(&ms)) {
            let detail = format!("it must be from 1 to {LONGEST_TIMEOUT_MS}");
            fault("/timeout_ms", "out_of_range", detail);
        }
        faults
    }
}

fn is_word(text: &str) -> bool {
    (1..=LONGEST_WORD).contains(&text.len())
        && !text.contains(|c: char| c.is_control() || c.is_whitespace())
}
