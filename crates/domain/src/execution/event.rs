use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Execution, Thread, Wait, WaitId};
use crate::storable::even_null;
use crate::subject::Subject;
use crate::webhook::Delivery;
use crate::workflow::Workflow;
use crate::{Actor, Id, Personal, Upcast};

/// What can have happened to an execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Event {
    /// The run began, pinned to one version of its workflow.
    #[serde(rename = "execution.started")]
    Started {
        /// Its own id: keys of its calls and `$workflow.id` come from it.
        id: Id<Execution>,
        /// The workflow being run.
        workflow: Id<Workflow>,
        /// The pinned version, by its number from 1.
        revision: u32,
        /// The pinned version, as the document calls it.
        version: String,
        /// What it was started with.
        input: Personal<Value>,
        /// Whose data it works on, if somebody's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<Id<Subject>>,
        /// What made it start.
        trigger: Trigger,
    },
    /// It was woken, ran until every branch waited or it ended, and this is what changed.
    #[serde(rename = "execution.turn_taken")]
    TurnTaken(Box<Turn>),
    /// It came to its end.
    #[serde(rename = "execution.completed")]
    Completed {
        /// What it produced.
        output: Personal<Value>,
        /// The task of another execution that waits for this one.
        parent: Option<Caller>,
    },
    /// An error that nothing caught ended it.
    #[serde(rename = "execution.faulted")]
    Faulted {
        /// The error.
        error: Error,
        /// The task of another execution that waits for this one.
        parent: Option<Caller>,
    },
    /// Somebody stopped it.
    #[serde(rename = "execution.cancelled")]
    Cancelled {
        /// Who.
        by: Actor,
        /// Why, in their words.
        reason: Personal<String>,
        /// The task of another execution that waits for this one.
        parent: Option<Caller>,
    },
}

impl crate::Event for Event {
    crate::event::fact!(Execution);

    /// From their second version on, personal values are marked; the mark is not needed for
    /// reading.
    const UPCASTS: &'static [Upcast] = &[
        Upcast { event: "execution.started", from: 1, apply: |body| body },
        Upcast { event: "execution.turn_taken", from: 1, apply: |body| body },
        Upcast { event: "execution.completed", from: 1, apply: |body| body },
        Upcast { event: "execution.faulted", from: 1, apply: |body| body },
        Upcast { event: "execution.cancelled", from: 1, apply: |body| body },
    ];
}

impl Event {
    /// Whether nothing can happen after it.
    #[must_use]
    pub fn is_end(&self) -> bool {
        match self {
            Self::Started { .. } | Self::TurnTaken(_) => false,
            Self::Completed { .. } | Self::Faulted { .. } | Self::Cancelled { .. } => true,
        }
    }
}

/// What made an execution start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// Somebody asked for it through the API.
    Api,
    /// A webhook delivery.
    Webhook(Id<Delivery>),
    /// A `run: workflow` task.
    Workflow(Caller),
}

/// A wait of an execution that somebody else is to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The execution that waits.
    pub execution: Id<Execution>,
    /// Which of its waits.
    pub wait: WaitId,
}

/// All that one turn changed. Folding it copies values; it never evaluates an expression, so a
/// newer evaluator cannot change history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// What woke the execution.
    pub cause: Cause,
    /// What tasks did, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// Branches that changed, as they now are; `None` for one that is over.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub threads: BTreeMap<u32, Option<Thread>>,
    /// The new `$context`, if it changed.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "even_null")]
    pub context: Option<Personal<Value>>,
    /// What it waits for from now on: calls listed here are made after this event is stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub opened: Vec<Wait>,
    /// What it no longer waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub closed: Vec<Closed>,
    /// `CloudEvents` that `emit` tasks published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emitted: Vec<Personal<Value>>,
    /// How many task runs there have been so far.
    pub runs: u32,
    /// How many waits and threads have been numbered so far.
    pub serial: u32,
}

/// What woke an execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It was just started.
    Started,
    /// A call came back.
    Answered(WaitId),
    /// A timer fired.
    Fired(WaitId),
    /// Somebody stopped it.
    Cancelled,
}

/// A wait that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Closed {
    /// Which.
    pub wait: WaitId,
    /// How it ended.
    pub how: Ending,
    /// The execution that was started for it and that nobody waits for any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<Id<Execution>>,
}

/// How a wait ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The call succeeded.
    Succeeded,
    /// The call failed, and what it was asked to do was not done.
    Failed(Error),
    /// Nobody knows whether the call was carried out.
    Unknown(Error),
    /// The timer fired.
    Fired,
    /// Nobody waits for it any more; a late answer is ignored.
    Dropped,
}

/// Something that happened to one run of one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Which run of a task, counted over the whole execution from 1 in the order they began.
    pub run: u32,
    /// The task, as a JSON Pointer into the document, such as `/do/0/classify`.
    pub task: String,
    /// What happened to it.
    pub what: Progress,
}

/// What can happen to a run of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// It began; the input it transformed to, unless that is large.
    Started {
        /// The transformed input; absent when it exceeds [`super::TRACE_LIMIT`] bytes as JSON or
        /// when the turn is full.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "even_null")]
        input: Option<Personal<Value>>,
    },
    /// It ended; the output it transformed to, unless that is large.
    Completed {
        /// The transformed output; absent likewise.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "even_null")]
        output: Option<Personal<Value>>,
    },
    /// It raised an error, caught further out or not at all.
    Faulted(Error),
    /// Its body failed and will be tried again.
    Retrying {
        /// What failed.
        error: Error,
        /// The attempt that comes next, from 2.
        attempt: u32,
        /// When.
        at: crate::Timestamp,
    },
    /// Its `if` said no.
    Skipped,
    /// It was stopped: a sibling won, a timeout passed, or the execution ended.
    Cancelled,
}

/// An error as workflows see it: a problem detail (RFC 9457) with the task that raised it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Error {
    /// What sort, as a URI.
    #[serde(rename = "type")]
    pub kind: String,
    /// HTTP-like status.
    pub status: u16,
    /// The sort, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What happened this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Personal<String>>,
    /// The task that raised it, as a JSON Pointer into the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}
