//! Where the branches of an execution stand.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::WaitId;
use crate::{Personal, Timestamp};

/// One branch of an execution: a stack of the tasks it is inside of, outermost first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Thread {
    /// The branch it was forked from and the number of its branch there; none for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<(u32, usize)>,
    /// The tasks it is inside of, outermost first.
    pub frames: Vec<Frame>,
    /// The data that flows: raw input of the next task. `null` while the branch waits.
    #[serde(default, skip_serializing_if = "Personal::is_default")]
    pub data: Personal<Value>,
}

/// A task that a branch is inside of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// The task, as a JSON Pointer into the document; empty for the workflow itself.
    pub task: String,
    /// The run of the task.
    pub run: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// Its transformed input, `$input`.
    #[serde(default, skip_serializing_if = "Personal::is_default")]
    pub input: Personal<Value>,
    /// Variables it brings into scope, such as `$item` and `$error`.
    #[serde(default, skip_serializing_if = "Personal::is_default")]
    pub vars: Personal<Map<String, Value>>,
    /// The timer of its timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<WaitId>,
    /// What it is doing.
    pub doing: Doing,
}

/// What a task is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// Running a list of tasks: `do`, a branch of a `fork`, or the workflow.
    Listing,
    /// Looping.
    Looping {
        /// All items.
        items: Personal<Vec<Value>>,
        /// The one that is being worked on.
        at: usize,
    },
    /// Trying.
    Trying {
        /// Which attempt, from 1.
        attempt: u32,
        /// When the first attempt began.
        since: Timestamp,
        /// The timer of this attempt's own limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<WaitId>,
        /// Idempotency keys of calls whose outcome is unknown, by what makes a call the same
        /// one: its task, the laps of the loops around it and what it asks.
        #[serde(default, skip_serializing_if = "Personal::is_default")]
        keys: Personal<Map<String, Value>>,
    },
    /// Pausing before the next attempt.
    Pausing {
        /// Which attempt comes next.
        attempt: u32,
        /// When the first attempt began.
        since: Timestamp,
        /// The timer.
        until: WaitId,
        /// As in `Trying`.
        #[serde(default, skip_serializing_if = "Personal::is_default")]
        keys: Personal<Map<String, Value>>,
    },
    /// Handling a caught error.
    Handling,
    /// Waiting for forked branches.
    Forked {
        /// The branches that still run, by thread.
        open: Vec<u32>,
        /// What each branch gave, in the order of the document; null while it has not.
        results: Personal<Vec<Value>>,
    },
    /// Waiting for an answer or a timer.
    Waiting(WaitId),
}
