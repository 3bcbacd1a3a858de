use std::sync::Arc;

use serde_json::Value;

use super::{Answer, Execution, Trigger, WaitId};
use crate::subject::Subject;
use crate::workflow::{Plan, Workflow};
use crate::{Actor, Id};

/// What one may ask of an execution.
#[derive(Debug, Clone)]
pub enum Command {
    /// Begin, and run the first turn.
    Start(Box<NewExecution>),
    /// Take the answer to a call. An answer nobody waits for is ignored.
    Answer {
        /// The pinned version, compiled.
        plan: Arc<Plan>,
        /// The wait that is answered.
        wait: WaitId,
        /// The answer.
        answer: Answer,
    },
    /// A timer is due. A timer that is not set any more is ignored.
    Fire {
        /// The pinned version, compiled.
        plan: Arc<Plan>,
        /// The timer.
        wait: WaitId,
    },
    /// Stop.
    Cancel {
        /// Who wants it.
        by: Actor,
        /// Why, in their words.
        reason: String,
    },
}

/// What an execution begins with.
#[derive(Debug, Clone)]
pub struct NewExecution {
    /// Its id.
    pub id: Id<Execution>,
    /// The workflow.
    pub workflow: Id<Workflow>,
    /// The version to pin, by its number from 1.
    pub revision: u32,
    /// That version, compiled.
    pub plan: Arc<Plan>,
    /// What it is started with.
    pub input: Value,
    /// Whose data it works on, if somebody's.
    pub subject: Option<Id<Subject>>,
    /// What makes it start.
    pub trigger: Trigger,
}
