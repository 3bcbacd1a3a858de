//! Whenever this happens, do that.
//!
//! A policy is pure and has no memory: what needs memory across events is an aggregate. What it
//! asks for is carried out at least once, so it must be harmless when done again.

mod answer_invocation;
mod answer_parent;
mod cancel_children;
mod erase_subject;
mod start_on_webhook;
#[cfg(test)]
mod tests;

use serde_json::Value;
use uuid::Uuid;

use crate::execution::{Answer, Execution, Trigger, WaitId};
use crate::integration::WorkflowRef;
use crate::subject::Subject;
use crate::{Fact, Id, Tenant};

/// A fact, where it was recorded.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Whose it is.
    pub tenant: Id<Tenant>,
    /// The stream it belongs to.
    pub stream: Uuid,
    /// The event's id.
    pub event_id: Uuid,
    /// What happened.
    pub fact: &'a Fact,
}

/// What a policy may ask for.
#[derive(Debug, Clone, PartialEq)]
pub enum Do {
    /// Start an execution of the newest version of a workflow.
    StartExecution {
        /// Its id.
        id: Id<Execution>,
        /// The workflow.
        workflow: WorkflowRef,
        /// Its input.
        input: Value,
        /// Whose data it works on, if somebody's.
        subject: Option<Id<Subject>>,
        /// What made it start.
        trigger: Trigger,
    },
    /// Answer a wait of an execution.
    Answer {
        /// The execution.
        execution: Id<Execution>,
        /// The wait.
        wait: WaitId,
        /// The answer.
        answer: Answer,
    },
    /// Destroy the key of a subject, stop what works on their data, and say that they are erased.
    EraseSubject {
        /// The subject.
        id: Id<Subject>,
    },
    /// Cancel an execution, if it is there.
    CancelExecution {
        /// The execution.
        id: Id<Execution>,
        /// Why.
        reason: String,
    },
}

/// A policy: a fact in, things to do out.
pub type Policy = fn(&Seen<'_>) -> Vec<Do>;

/// Every policy by its name.
pub const POLICIES: &[(&str, Policy)] = &[
    ("answer_invocation", answer_invocation::policy),
    ("answer_parent", answer_parent::policy),
    ("cancel_children", cancel_children::policy),
    ("erase_subject", erase_subject::policy),
    ("start_on_webhook", start_on_webhook::policy),
];
