//! What happened to each execution, as the log tells it, and what of it must not have.

use std::collections::BTreeMap;

use domain::execution::{
    Cause, Closed, Ending, Event, Phase, Request, Trigger, Turn, Wait, WaitId, What,
};
use domain::{Fact, Timestamp};
use eventstore::{Position, Recorded, Version};
use serde_json::Value;
use uuid::Uuid;

/// All executions by their ids, and what was seen that must not be.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) executions: BTreeMap<Uuid, Story>,
    pub(super) wrongs: Vec<String>,
}

/// What happened to an execution.
#[derive(Debug)]
pub(super) struct Story {
    /// Its `n`.
    pub(super) number: u64,
    pub(super) trigger: Option<Trigger>,
    pub(super) phase: Phase,
    version: Version,
    /// Everything it has ever waited for.
    pub(super) waits: BTreeMap<WaitId, Waited>,
    /// Whether somebody stopped it who was not the engine.
    pub(super) is_cancelled: bool,
}

/// Something that an execution waits or waited for.
#[derive(Debug)]
pub(super) struct Waited {
    pub(super) wait: Wait,
    pub(super) opened: Position,
    pub(super) ending: Option<Ending>,
}

impl Waited {
    pub(super) fn is_open(&self) -> bool {
        self.ending.is_none()
    }

    /// When there is something to do about it.
    pub(super) fn due_at(&self) -> Timestamp {
        match &self.wait.what {
            What::Timer { due_at, .. } => *due_at,
            What::Call { .. } => self.wait.since,
        }
    }

    /// The key and the request, of a call.
    pub(super) fn call(&self) -> Option<(&str, &Request)> {
        match &self.wait.what {
            What::Timer { .. } => None,
            What::Call { key, request } => Some((key, request)),
        }
    }
}

impl Record {
    pub(super) fn wrong(&mut self, what: String) {
        self.wrongs.push(what);
    }

    /// Takes down an event; what it says, for people.
    pub(super) fn note(&mut self, row: &Recorded, fact: &Fact, now: Timestamp) -> String {
        let Fact::Execution(event) = fact else { return row.name.clone() };
        let story = self.executions.entry(row.stream).or_default();
        let wrong = story.note(row, event, now);
        let short = short(row.stream);
        self.wrongs.extend(wrong.map(|wrong| format!("{short} at {}: {wrong}", row.version)));
        let detail = match event {
            Event::Started { .. } => format!("with {}", story.number),
            Event::TurnTaken(turn) => told(turn),
            Event::Completed { .. } | Event::Faulted { .. } | Event::Cancelled { .. } => {
                String::new()
            }
        };
        format!("{short}/{} {} {detail}", row.version, row.name)
    }

    /// How many events all executions have.
    pub(super) fn length(&self) -> Version {
        self.executions.values().map(|story| story.version).sum()
    }

    /// What is open: the execution, and what it waits for.
    pub(super) fn open(&self) -> impl Iterator<Item = (Uuid, &Waited)> {
        self.executions
            .iter()
            .flat_map(|(id, story)| story.waits.values().map(|waited| (*id, waited)))
            .filter(|(_, waited)| waited.is_open())
    }
}

impl Default for Story {
    fn default() -> Self {
        Self {
            number: 0,
            trigger: None,
            phase: Phase::Unborn,
            version: 0,
            waits: BTreeMap::new(),
            is_cancelled: false,
        }
    }
}

impl Story {
    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Completed(_) | Phase::Faulted(_) | Phase::Cancelled)
    }

    /// What is wrong with the event, if something is.
    fn note(&mut self, row: &Recorded, event: &Event, now: Timestamp) -> Option<String> {
        self.version += 1;
        if row.version != self.version {
            return Some(format!("version {} follows {}", row.version, self.version - 1));
        }
        if self.is_over() {
            return Some(format!("{} after its end", row.name));
        }
        let is_first = matches!(event, Event::Started { .. });
        if is_first != (row.version == 1) {
            return Some(format!("{} is not its place", row.name));
        }
        match event {
            Event::Started { input, trigger, .. } => {
                self.phase = Phase::Running;
                self.number = input.get("n").and_then(Value::as_u64).unwrap_or_default();
                self.trigger = Some(trigger.clone());
                None
            }
            Event::TurnTaken(turn) => self.take(row.position, turn, now),
            Event::Completed { output, .. } => {
                self.end(Phase::Completed(output.clone().into_inner()))
            }
            Event::Faulted { error, .. } => self.end(Phase::Faulted(error.clone())),
            Event::Cancelled { .. } => {
                self.is_cancelled = true;
                self.end(Phase::Cancelled)
            }
        }
    }

    fn take(&mut self, position: Position, turn: &Turn, now: Timestamp) -> Option<String> {
        let wrong = self.woken(&turn.cause, now);
        for Closed { wait, how, .. } in &turn.closed {
            match self.waits.get_mut(wait) {
                Some(waited) if waited.is_open() => waited.ending = Some(how.clone()),
                _ => return Some(format!("wait {wait} was closed and not open")),
            }
        }
        for wait in &turn.opened {
            let waited = Waited { wait: wait.clone(), opened: position, ending: None };
            if self.waits.insert(wait.id, waited).is_some() {
                return Some(format!("wait {} was opened again", wait.id));
            }
        }
        wrong
    }

    /// What is wrong with what woke it: each wait is answered once, and no timer fires early.
    fn woken(&self, cause: &Cause, now: Timestamp) -> Option<String> {
        let (Cause::Answered(id) | Cause::Fired(id)) = cause else { return None };
        let Some(waited) = self.waits.get(id).filter(|waited| waited.is_open()) else {
            return Some(format!("wait {id} was answered and not open"));
        };
        match (cause, &waited.wait.what) {
            (Cause::Fired(_), What::Timer { due_at, .. }) if *due_at > now => {
                Some(format!("timer {id} fired {} early", *due_at - now))
            }
            (Cause::Fired(_), What::Call { .. }) | (Cause::Answered(_), What::Timer { .. }) => {
                Some(format!("wait {id} is of another sort"))
            }
            _ => None,
        }
    }

    /// Nothing is waited for after the end.
    fn end(&mut self, phase: Phase) -> Option<String> {
        let open = self.waits.values().find(|waited| waited.is_open());
        let wrong = open.map(|waited| format!("it ended with wait {} open", waited.wait.id));
        self.phase = phase;
        wrong
    }
}

/// A turn, for people.
fn told(turn: &Turn) -> String {
    let closed = turn.closed.iter().map(|closed| match &closed.how {
        Ending::Succeeded => format!("{} succeeded", closed.wait),
        Ending::Failed(error) => format!("{} failed ({})", closed.wait, error.status),
        Ending::Unknown(_) => format!("{} unknown", closed.wait),
        Ending::Fired => format!("{} fired", closed.wait),
        Ending::Dropped => format!("{} dropped", closed.wait),
    });
    let opened = turn.opened.iter().map(|wait| match &wait.what {
        What::Timer { purpose, .. } => format!("{} opened: {purpose:?}", wait.id),
        What::Call { key, .. } => format!("{} opened: call under {key}", wait.id),
    });
    format!("{:?}: {}", turn.cause, closed.chain(opened).collect::<Vec<_>>().join(", "))
}

/// An id that people can tell from others.
pub(super) fn short(id: Uuid) -> String {
    id.simple().to_string()[..6].to_owned()
}
