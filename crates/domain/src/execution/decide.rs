use super::machine::{self, Machine, Measured, Outcome};
use super::{
    Answer, Caller, Cause, Command, DEPTH_LIMIT, Event, Execution, INLINE_LIMIT, INPUT_LIMIT,
    NewExecution, Phase, RUN_LIMIT, Refusal, Standard, TURN_LIMIT, Turn, Wait, WaitId, What,
};
use crate::personal;
use crate::subject::Subject;
use crate::workflow::Plan;
use crate::{Actor, Aggregate, Id, Timestamp};

impl Aggregate for Execution {
    const NAME: &'static str = "execution";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: &Command, now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Start(new) => self.start(new, now),
            Command::Answer { plan, wait, answer } => Ok(self.answered(plan, *wait, answer, now)),
            Command::Fire { plan, wait } => Ok(self.fired(plan, *wait, now)),
            Command::Cancel { by, reason } => self.cancel(by, reason),
        }
    }

    fn evolve(&mut self, event: &Event) {
        self.note(event);
    }

    fn subject(&self) -> Option<Id<Subject>> {
        Self::subject(self)
    }

    fn snapshot(&self) -> Option<String> {
        // What is over is not decided on again.
        (!self.is_over()).then(|| serde_json::to_string(self).ok()).flatten()
    }

    fn restore(snapshot: &str) -> Option<Self> {
        serde_json::from_str(snapshot).ok()
    }
}

impl Execution {
    fn start(&self, new: &NewExecution, now: Timestamp) -> Result<Vec<Event>, Refusal> {
        if self.phase != Phase::Unborn {
            return Err(Refusal::AlreadyStarted);
        }
        let size = machine::size(&new.input);
        if size > INPUT_LIMIT {
            return Err(Refusal::InputTooLarge { size });
        }
        let started = Event::Started {
            id: new.id,
            workflow: new.workflow,
            revision: new.revision,
            version: new.plan.version.clone(),
            input: new.input.clone().into(),
            subject: new.subject,
            trigger: new.trigger.clone(),
        };
        let mut state = Self::default();
        state.note(&started);
        let turn = Machine::new(&state, &new.plan, now).start();
        Ok(std::iter::once(started).chain(state.turn(turn)).collect())
    }

    /// Late and repeated answers are ignored: whoever makes calls may make them again.
    fn answered(&self, plan: &Plan, wait: WaitId, answer: &Answer, now: Timestamp) -> Vec<Event> {
        let called = |wait: &Wait| match wait.what {
            What::Call { .. } => true,
            What::Timer { .. } => false,
        };
        if self.is_over() || !self.waits.get(&wait).is_some_and(called) {
            return vec![];
        }
        if self.is_erased() {
            return self.forget();
        }
        self.turn(Machine::new(self, plan, now).answer(wait, answer))
    }

    /// A timer fires once, however often somebody says that it is due, and never early.
    fn fired(&self, plan: &Plan, wait: WaitId, now: Timestamp) -> Vec<Event> {
        let due = |wait: &Wait| match &wait.what {
            What::Timer { due_at, .. } => *due_at <= now,
            What::Call { .. } => false,
        };
        if self.is_over() || !self.waits.get(&wait).is_some_and(due) {
            return vec![];
        }
        if self.is_erased() {
            return self.forget();
        }
        self.turn(Machine::new(self, plan, now).fire(wait))
    }

    /// Stops every branch at once; what was called may still answer, and nobody listens.
    fn cancel(&self, by: &Actor, reason: &str) -> Result<Vec<Event>, Refusal> {
        match &self.phase {
            Phase::Unborn => Err(Refusal::NotFound),
            Phase::Running => Ok(self.stopped(by, reason)),
            Phase::Cancelled => Ok(vec![]),
            Phase::Completed(_) | Phase::Faulted(_) => Err(Refusal::Finished),
        }
    }

    fn stopped(&self, by: &Actor, reason: &str) -> Vec<Event> {
        let stopped = Event::TurnTaken(Box::new(machine::stop(self)));
        let (by, reason) = (by.clone(), reason.to_owned().into());
        vec![stopped, Event::Cancelled { by, reason, parent: self.parent() }]
    }

    /// What has lost its data does not go on with nothing in their place.
    fn forget(&self) -> Vec<Event> {
        self.stopped(&Actor::System, "its data were erased")
    }

    fn parent(&self) -> Option<Caller> {
        self.start.as_ref().and_then(|start| start.parent)
    }

    /// A turn and, if the execution is over with it, its end.
    ///
    /// An event that the log would not take must not leave the execution stuck: data that
    /// outgrow it end the execution with an error that says so. So does going on for ever.
    fn turn(&self, (turn, outcome): (Turn, Outcome)) -> Vec<Event> {
        let parent = self.parent();
        let runs = turn.runs.saturating_sub(self.rested());
        let endless = runs > RUN_LIMIT && matches!(outcome, Outcome::Waiting);
        let end = match outcome {
            Outcome::Waiting => None,
            Outcome::Completed(output) => Some(Event::Completed { output: output.into(), parent }),
            Outcome::Faulted(error) => Some(Event::Faulted { error, parent }),
        };
        let taken = Event::TurnTaken(Box::new(turn));
        let events: Vec<Event> = std::iter::once(taken).chain(end).collect();
        let error = if let Some(detail) = events.iter().find_map(too_large) {
            Standard::Runtime.error(detail).with_status(413)
        } else if endless {
            Standard::Runtime.error(format!(
                "this execution has run {RUN_LIMIT} tasks without waiting for anything: it has no end"
            ))
        } else {
            return events;
        };
        let stopped = Turn { cause: cause_of(&events), ..machine::stop(self) };
        vec![Event::TurnTaken(Box::new(stopped)), Event::Faulted { error, parent }]
    }
}

/// Why the log would not take an event, if it would not.
fn too_large(event: &Event) -> Option<String> {
    let Measured { size, deepest } = machine::measure(event);
    let what = "of this execution in one turn";
    if size > TURN_LIMIT {
        return Some(format!("the data {what} have {size} bytes; the limit is {TURN_LIMIT}"));
    }
    if deepest > DEPTH_LIMIT {
        return Some(format!("the data {what} nest {deepest} deep; the limit is {DEPTH_LIMIT}"));
    }
    if size <= INLINE_LIMIT {
        return None;
    }
    let json = serde_json::to_string(event).unwrap_or_default();
    let small = personal::inline_size(&json);
    (small > INLINE_LIMIT)
        .then(|| format!("the small values {what} have {small} bytes; the limit is {INLINE_LIMIT}"))
}

fn cause_of(events: &[Event]) -> Cause {
    match events.first() {
        Some(Event::TurnTaken(turn)) => turn.cause.clone(),
        Some(
            Event::Started { .. }
            | Event::Completed { .. }
            | Event::Faulted { .. }
            | Event::Cancelled { .. },
        )
        | None => Cause::Started,
    }
}
