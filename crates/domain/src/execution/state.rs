use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Caller, Error, Event, Purpose, Thread, Trigger, Turn, Wait, WaitId, What};
use crate::Id;
use crate::subject::Subject;
use crate::workflow::Workflow;

/// Where one run stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Execution {
    pub(super) phase: Phase,
    /// What it was started as; none before the start.
    pub(super) start: Option<Start>,
    /// `$context`.
    pub(super) context: Value,
    /// Its branches.
    pub(super) threads: BTreeMap<u32, Thread>,
    /// What it waits for.
    pub(super) waits: BTreeMap<WaitId, Wait>,
    /// How many runs of tasks there have been.
    pub(super) runs: u32,
    /// How many there had been when it last waited for anything.
    pub(super) rested: u32,
    /// The last number given to a wait or a thread.
    pub(super) serial: u32,
}

/// What an execution was started as.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Start {
    pub(super) id: Id<Execution>,
    pub(super) workflow: Id<Workflow>,
    pub(super) revision: u32,
    pub(super) input: Value,
    /// Whether its data were erased before they were read here.
    pub(super) is_erased: bool,
    pub(super) subject: Option<Id<Subject>>,
    pub(super) parent: Option<Caller>,
}

/// The phases of an execution.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It has not begun.
    #[default]
    Unborn,
    /// It runs, or waits.
    Running,
    /// It came to its end.
    Completed(Value),
    /// An error ended it.
    Faulted(Error),
    /// Somebody stopped it.
    Cancelled,
}

impl Execution {
    /// Its phase, with what it gave.
    #[must_use]
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self.phase {
            Phase::Unborn | Phase::Running => false,
            Phase::Completed(_) | Phase::Faulted(_) | Phase::Cancelled => true,
        }
    }

    /// The workflow and the pinned version it runs, if it was started.
    #[must_use]
    pub fn pinned(&self) -> Option<(Id<Workflow>, u32)> {
        self.start.as_ref().map(|start| (start.workflow, start.revision))
    }

    /// Whose data it works on, if somebody's.
    #[must_use]
    pub fn subject(&self) -> Option<Id<Subject>> {
        self.start.as_ref().and_then(|start| start.subject)
    }

    /// Whether its data are gone: it cannot go on, and is cancelled when it is woken.
    pub(super) fn is_erased(&self) -> bool {
        self.start.as_ref().is_some_and(|start| start.is_erased)
    }

    /// What it waits for.
    pub fn waits(&self) -> impl Iterator<Item = &Wait> {
        self.waits.values()
    }

    /// One of the things it waits for.
    #[must_use]
    pub fn wait(&self, id: WaitId) -> Option<&Wait> {
        self.waits.get(&id)
    }

    /// How many runs of tasks there had been when it last waited, seen from its next turn: while a
    /// branch merely lets others have their turn the execution as a whole does not wait.
    pub(super) fn rested(&self) -> u32 {
        let goes_on = self.waits.values().any(|wait| match wait.what {
            What::Timer { purpose: Purpose::Breath, .. } => true,
            What::Timer { .. } | What::Call { .. } => false,
        });
        if goes_on { self.rested } else { self.runs }
    }

    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Started { id, workflow, revision, version: _, input, subject, trigger } => {
                self.phase = Phase::Running;
                let parent = match trigger {
                    Trigger::Api | Trigger::Webhook(_) => None,
                    Trigger::Workflow(caller) => Some(*caller),
                };
                self.start = Some(Start {
                    id: *id,
                    workflow: *workflow,
                    revision: *revision,
                    is_erased: input.is_erased(),
                    input: input.clone().into_inner(),
                    subject: *subject,
                    parent,
                });
            }
            Event::TurnTaken(turn) => self.take(turn),
            Event::Completed { output, parent: _ } => {
                self.end(Phase::Completed(output.clone().into_inner()));
            }
            Event::Faulted { error, parent: _ } => self.end(Phase::Faulted(error.clone())),
            Event::Cancelled { .. } => self.end(Phase::Cancelled),
        }
    }

    /// Copies what a turn changed.
    fn take(&mut self, turn: &Turn) {
        self.rested = self.rested();
        for (number, thread) in &turn.threads {
            match thread {
                Some(thread) => self.threads.insert(*number, thread.clone()),
                None => self.threads.remove(number),
            };
        }
        if let Some(context) = &turn.context {
            self.context = context.clone().into_inner();
        }
        for closed in &turn.closed {
            self.waits.remove(&closed.wait);
        }
        self.waits.extend(turn.opened.iter().map(|wait| (wait.id, wait.clone())));
        (self.runs, self.serial) = (turn.runs, turn.serial);
    }

    fn end(&mut self, phase: Phase) {
        self.phase = phase;
        self.threads.clear();
        self.waits.clear();
    }
}
