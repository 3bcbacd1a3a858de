use serde_json::Value;

use super::{FailureClass, Report};
use crate::Id;
use crate::agent::Agent;
use crate::execution::Caller;
use crate::prompt::Prompt;
use crate::subject::Subject;

/// What one may ask of an invocation.
#[derive(Debug, Clone)]
pub enum Command {
    /// Ask.
    Request(NewInvocation),
    /// Take the answer.
    Complete {
        /// The answer.
        output: Value,
        /// How it went.
        report: Report,
    },
    /// Note that there is no answer.
    Fail {
        /// Which sort of failure.
        class: FailureClass,
        /// What happened.
        detail: String,
        /// How it went.
        report: Report,
    },
}

/// What is asked, with agent and prompt pinned.
#[derive(Debug, Clone, PartialEq)]
pub struct NewInvocation {
    /// The agent.
    pub agent: Id<Agent>,
    /// Its revision.
    pub revision: u32,
    /// The prompt and its version, if the agent has one.
    pub prompt: Option<(Id<Prompt>, u32)>,
    /// What the agent is given.
    pub input: Value,
    /// Whose data these are, if somebody's.
    pub subject: Option<Id<Subject>>,
    /// The task of an execution that waits for the answer.
    pub caller: Option<Caller>,
}
