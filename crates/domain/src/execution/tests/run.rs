//! Drives one execution in memory: its clock is virtual, its answers come from the test.

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::invariants;
use crate::execution::{
    Answer, Command, Error, Event, Execution, NewExecution, Phase, Progress, Purpose, Refusal,
    Request, Standard, Step, Trigger, Turn, Wait, WaitId, What,
};
use crate::scenario::NOON;
use crate::workflow::Plan;
use crate::{Actor, Aggregate as _, Id, Timestamp};

const HEAD: &str = "document: {dsl: '1.0.3', namespace: test, name: sample, version: '1.0.0'}\n";

/// An execution and everything that happened to it.
pub(super) struct Run {
    pub(super) plan: Arc<Plan>,
    pub(super) state: Execution,
    pub(super) history: Vec<Event>,
    pub(super) now: Timestamp,
}

/// Starts the workflow that `rest` describes after its head; it may be indented as one block.
#[track_caller]
pub(super) fn start(rest: &str, input: Value) -> Run {
    Run::new(rest, input).unwrap()
}

/// The error of a call that was definitely not carried out.
pub(super) fn broken(status: u16) -> Error {
    Standard::Communication.error("the other side said no").with_status(status)
}

/// A definite failure of a call.
pub(super) fn failure(status: u16) -> Answer {
    Answer::Failure(broken(status))
}

/// An answer of which nobody knows what became of the call.
pub(super) fn unknown() -> Answer {
    Answer::Unknown(Standard::Communication.error("the connection was reset"))
}

/// The names of tasks that ended well, in that order, one line.
pub(super) fn names(steps: &[Step]) -> String {
    let ended = |step: &&Step| matches!(step.what, Progress::Completed { .. });
    steps.iter().filter(ended).map(|step| name(&step.task)).collect::<Vec<_>>().join(" ")
}

fn name(task: &str) -> &str {
    task.rsplit('/').next().unwrap_or_default()
}

fn outdented(text: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let filled = || text.lines().filter(|line| !line.trim().is_empty());
    let least = filled().map(indent).min().unwrap_or_default();
    filled().flat_map(|line| [&line[least..], "\n"]).collect()
}

impl Run {
    #[track_caller]
    pub(super) fn new(rest: &str, input: Value) -> Result<Self, Refusal> {
        let text = format!("{HEAD}{}", outdented(rest));
        let plan = Plan::compile(&text).unwrap_or_else(|faults| panic!("{text}\n{faults:#?}"));
        let (state, history) = (Execution::default(), vec![]);
        let mut run = Self { plan: Arc::new(plan), state, history, now: NOON };
        let start = Command::Start(Box::new(NewExecution {
            id: id(),
            workflow: Id::from_uuid(Uuid::from_u128(2)),
            revision: 1,
            plan: Arc::clone(&run.plan),
            input,
            subject: None,
            trigger: Trigger::Api,
        }));
        run.tell(&start)?;
        Ok(run)
    }

    /// Decides, writes down as the log would, folds; gives how many events there were.
    #[track_caller]
    pub(super) fn tell(&mut self, command: &Command) -> Result<usize, Refusal> {
        let events = self.state.decide(command, self.now)?;
        assert_eq!(self.state.decide(command, self.now).as_ref(), Ok(&events), "decided anew");
        for event in &events {
            let stored = serde_json::to_vec(event).unwrap();
            let event: Event = serde_json::from_slice(&stored).unwrap();
            self.state.evolve(&event);
            self.history.push(event);
        }
        invariants::check(&self.state, &self.history);
        Ok(events.len())
    }

    /// The open waits for answers.
    pub(super) fn calls(&self) -> impl Iterator<Item = &Wait> {
        self.state.waits().filter(|wait| matches!(wait.what, What::Call { .. }))
    }

    /// The open timers of a sort.
    pub(super) fn timers(&self, wanted: Purpose) -> Vec<&Wait> {
        let is = |wait: &&Wait| match wait.what {
            What::Timer { purpose, .. } => purpose == wanted,
            What::Call { .. } => false,
        };
        self.state.waits().filter(is).collect()
    }

    /// The names of the tasks that wait for an answer, one line.
    pub(super) fn calling(&self) -> String {
        self.calls().map(|wait| name(&wait.task)).collect::<Vec<_>>().join(" ")
    }

    /// The call that a task waits for.
    #[track_caller]
    pub(super) fn call(&self, task: &str) -> &Wait {
        let mut found = self.calls().filter(|wait| name(&wait.task) == task);
        let wait = found.next().unwrap_or_else(|| panic!("{task} calls nobody: {:?}", self.state));
        assert!(found.next().is_none(), "{task} waits several times");
        wait
    }

    #[track_caller]
    pub(super) fn key(&self, task: &str) -> String {
        match &self.call(task).what {
            What::Call { key, .. } => key.clone(),
            What::Timer { .. } => unreachable!("a call"),
        }
    }

    #[track_caller]
    pub(super) fn request(&self, task: &str) -> &Request {
        match &self.call(task).what {
            What::Call { request, .. } => request,
            What::Timer { .. } => unreachable!("a call"),
        }
    }

    #[track_caller]
    pub(super) fn answer(&mut self, task: &str, answer: Answer) -> &mut Self {
        let wait = self.call(task).id;
        assert_ne!(self.answer_wait(wait, answer), 0, "nobody listened");
        self
    }

    #[track_caller]
    pub(super) fn succeed(&mut self, task: &str, value: Value) -> &mut Self {
        self.answer(task, Answer::Success(value))
    }

    /// Answers a wait, open or not; gives how many events that was.
    #[track_caller]
    pub(super) fn answer_wait(&mut self, wait: WaitId, answer: Answer) -> usize {
        self.tell(&Command::Answer { plan: Arc::clone(&self.plan), wait, answer }).unwrap()
    }

    #[track_caller]
    pub(super) fn fire(&mut self, wait: WaitId) -> usize {
        self.tell(&Command::Fire { plan: Arc::clone(&self.plan), wait }).unwrap()
    }

    /// When the next timer is due and which it is.
    pub(super) fn next_timer(&self) -> Option<(Timestamp, WaitId)> {
        let due = |wait: &Wait| match wait.what {
            What::Timer { due_at, .. } => Some((due_at, wait.id)),
            What::Call { .. } => None,
        };
        self.state.waits().filter_map(due).min()
    }

    /// Lets time pass; timers fire when they are due.
    #[track_caller]
    pub(super) fn pass(&mut self, millis: i64) -> &mut Self {
        let until = self.now + TimeDelta::milliseconds(millis);
        while let Some((due_at, wait)) = self.next_timer().filter(|(due_at, _)| *due_at <= until) {
            self.now = self.now.max(due_at);
            assert_ne!(self.fire(wait), 0, "a timer that is due fires");
        }
        self.now = until;
        self
    }

    /// Milliseconds until the next timer.
    #[track_caller]
    pub(super) fn pause(&self) -> i64 {
        let (due_at, _) = self.next_timer().expect("a timer is set");
        (due_at - self.now).num_milliseconds()
    }

    #[track_caller]
    pub(super) fn cancel(&mut self) -> Result<usize, Refusal> {
        self.tell(&Command::Cancel { by: Actor::System, reason: "enough".to_owned() })
    }

    #[track_caller]
    pub(super) fn gives(&self, output: &Value) {
        assert_eq!(self.state.phase(), &Phase::Completed(output.clone()));
    }

    #[track_caller]
    pub(super) fn output(&self) -> &Value {
        match self.state.phase() {
            Phase::Completed(output) => output,
            other @ (Phase::Unborn | Phase::Running | Phase::Faulted(_) | Phase::Cancelled) => {
                panic!("not completed: {other:#?}")
            }
        }
    }

    /// The error it ended with.
    #[track_caller]
    pub(super) fn error(&self) -> &Error {
        match self.state.phase() {
            Phase::Faulted(error) => error,
            other @ (Phase::Unborn | Phase::Running | Phase::Completed(_) | Phase::Cancelled) => {
                panic!("not faulted: {other:#?}")
            }
        }
    }

    /// Expects that it ended with a standard error of one task.
    #[track_caller]
    pub(super) fn faults(&self, sort: Standard, instance: &str) {
        let error = self.error();
        assert_eq!(error.kind, sort.uri(), "{error:#?}");
        assert_eq!(error.instance.as_deref(), Some(instance), "{error:#?}");
    }

    pub(super) fn turns(&self) -> impl Iterator<Item = &Turn> {
        invariants::turns(&self.history)
    }

    pub(super) fn steps(&self) -> Vec<Step> {
        self.turns().flat_map(|turn| turn.steps.iter().cloned()).collect()
    }

    /// The names of tasks that ended well, in that order, one line.
    pub(super) fn done(&self) -> String {
        names(&self.steps())
    }

    /// What happened to the runs of a task, in words.
    pub(super) fn fate(&self, task: &str) -> String {
        let of_task = |step: &&Step| name(&step.task) == task;
        let words = self.steps().iter().filter(of_task).map(word).collect::<Vec<_>>();
        words.join(" ")
    }

    /// `CloudEvents` that were published.
    pub(super) fn emitted(&self) -> Vec<&Value> {
        self.turns().flat_map(|turn| turn.emitted.iter().map(|event| &**event)).collect()
    }
}

fn word(step: &Step) -> &'static str {
    match step.what {
        Progress::Started { .. } => "started",
        Progress::Completed { .. } => "completed",
        Progress::Faulted(_) => "faulted",
        Progress::Retrying { .. } => "retrying",
        Progress::Skipped => "skipped",
        Progress::Cancelled => "cancelled",
    }
}

/// The id of every execution of these tests.
pub(super) fn id() -> Id<Execution> {
    Id::from_uuid(Uuid::from_u128(1))
}

/// An object from pairs.
pub(super) fn object<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// No input to speak of.
pub(super) fn nothing() -> Value {
    json!({})
}
