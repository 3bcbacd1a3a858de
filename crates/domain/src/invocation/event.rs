use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::agent::Agent;
use crate::execution::Caller;
use crate::prompt::Prompt;
use crate::subject::Subject;
use crate::{Id, Personal, Upcast};

/// What can have happened to an invocation of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Event {
    /// Somebody asked; agent and prompt are pinned from here on.
    #[serde(rename = "invocation.requested")]
    Requested {
        /// The agent.
        agent: Id<Agent>,
        /// Its pinned revision.
        revision: u32,
        /// The prompt and its pinned version, if the agent has one.
        prompt: Option<(Id<Prompt>, u32)>,
        /// What the agent is given.
        input: Personal<Value>,
        /// Whose data these are, if somebody's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<Id<Subject>>,
        /// The task of an execution that waits for the answer.
        caller: Option<Caller>,
    },
    /// The model answered, and the answer is valid.
    #[serde(rename = "invocation.completed")]
    Completed {
        /// JSON that satisfies the agent's schema, or text.
        output: Personal<Value>,
        /// How it went.
        report: Report,
        /// The task of an execution that waits for the answer.
        caller: Option<Caller>,
    },
    /// There is no valid answer.
    #[serde(rename = "invocation.failed")]
    Failed {
        /// Which sort of failure.
        class: FailureClass,
        /// What happened; never a secret, never a provider's raw answer.
        detail: Personal<String>,
        /// How it went.
        report: Report,
        /// The task of an execution that waits for the answer.
        caller: Option<Caller>,
    },
}

impl crate::Event for Event {
    crate::event::fact!(Invocation);

    /// From their second version on, personal values are marked; the mark is not needed for
    /// reading.
    const UPCASTS: &'static [Upcast] = &[
        Upcast { event: "invocation.requested", from: 1, apply: |body| body },
        Upcast { event: "invocation.completed", from: 1, apply: |body| body },
        Upcast { event: "invocation.failed", from: 1, apply: |body| body },
    ];
}

/// What calling the model took.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The provider that was called.
    pub provider: String,
    /// The model that answered, by the provider's word.
    pub model: String,
    /// How often the model was called: 1, or 2 when an invalid answer was sent back for repair.
    pub calls: u32,
    /// Tokens that went in, over all calls.
    pub input_tokens: u64,
    /// Tokens that came out, over all calls.
    pub output_tokens: u64,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// Which sort of failure ended an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The answer did not satisfy the schema, even after one repair.
    OutputInvalid,
    /// The provider refused the request as such.
    InvalidRequest,
    /// The provider's credentials were refused.
    Auth,
    /// The provider asked for patience.
    RateLimited,
    /// The provider's quota is spent; patience does not help.
    QuotaExhausted,
    /// The model refused to answer.
    ContentPolicy,
    /// No such provider or model.
    Unavailable,
    /// The provider failed or could not be reached.
    Transient,
    /// There was no answer in time.
    Timeout,
}
