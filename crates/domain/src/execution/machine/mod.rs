//! Running one turn: from a wake-up until every branch waits or the execution ends.
//!
//! The machine works on a copy of the execution's branches and waits, and writes down in a
//! [`Turn`] what changed. It is split by what happens to a task: [`enter`], [`leave`] and
//! [`raise`]; [`scope`] gives expressions their variables and [`call`] builds requests.

mod call;
mod enter;
mod leave;
mod raise;
mod scope;
mod span;
mod waits;
mod wake;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;
use serde_json::Value;

use super::state::Start;
use super::{
    Cause, Closed, Ending, Error, Execution, Frame, Progress, Step, TRACE_LIMIT, Thread, Turn,
    Wait, WaitId,
};
use crate::Timestamp;
use crate::workflow::{Next, Plan, Task, TaskRef};

/// After this many tasks a turn ends and the next one begins at once, so that a long loop neither
/// fills an event nor keeps others waiting.
const STEPS_A_TURN: u32 = 500;

/// The first branch.
const MAIN: u32 = 0;

/// Where a turn left the execution.
pub(super) enum Outcome {
    /// It waits.
    Waiting,
    /// It came to its end.
    Completed(Value),
    /// An error ended it.
    Faulted(Error),
}

/// What a branch does next.
enum Flow {
    /// Begin a task with the branch's data.
    Enter(TaskRef),
    /// End the innermost task with this raw output; go where the second says, or where the task
    /// itself says.
    Leave(Value, Option<Next>),
    /// Raise an error in the innermost task.
    Raise(Error),
    /// Wait, or be over.
    Stop,
}

/// One turn in the making.
pub(super) struct Machine<'a> {
    plan: &'a Plan,
    now: Timestamp,
    start: &'a Start,
    context: Value,
    threads: BTreeMap<u32, Thread>,
    waits: BTreeMap<WaitId, Wait>,
    /// Branches that can go on, with what they do next.
    ready: VecDeque<(u32, Flow)>,
    /// Branches that changed.
    touched: BTreeSet<u32>,
    turn: Turn,
    steps_left: u32,
    outcome: Outcome,
}

impl<'a> Machine<'a> {
    /// A machine on an execution that was started.
    pub(super) fn new(state: &'a Execution, plan: &'a Plan, now: Timestamp) -> Self {
        Self {
            plan,
            now,
            start: state.start.as_ref().expect("only what was started takes turns"),
            context: state.context.clone(),
            threads: state.threads.clone(),
            waits: state.waits.clone(),
            ready: VecDeque::new(),
            touched: BTreeSet::new(),
            turn: blank(state, Cause::Started),
            steps_left: STEPS_A_TURN,
            outcome: Outcome::Waiting,
        }
    }

    /// Lets every branch go on until it waits.
    fn run(mut self) -> (Turn, Outcome) {
        while let Some((number, mut flow)) = self.ready.pop_front() {
            while self.threads.contains_key(&number) && self.is_going_on() {
                self.touched.insert(number);
                flow = match flow {
                    Flow::Enter(task) => self.enter(number, task),
                    Flow::Leave(output, then) => self.leave(number, output, then),
                    Flow::Raise(error) => self.raise(number, error),
                    Flow::Stop => break,
                };
            }
        }
        self.finish()
    }

    fn is_going_on(&self) -> bool {
        matches!(self.outcome, Outcome::Waiting)
    }

    /// Writes down the branches as they now are.
    fn finish(mut self) -> (Turn, Outcome) {
        for number in std::mem::take(&mut self.touched) {
            let thread = self.threads.remove(&number);
            self.turn.threads.insert(number, thread);
        }
        (self.turn, self.outcome)
    }

    /// Ends the execution: nothing runs and nothing is waited for any more.
    fn end(&mut self, outcome: Outcome) {
        let numbers: Vec<u32> = self.threads.keys().copied().collect();
        for number in numbers {
            self.drop_thread(number);
        }
        let waits: Vec<WaitId> = self.waits.keys().copied().collect();
        for wait in waits {
            self.close(wait, Ending::Dropped);
        }
        self.outcome = outcome;
    }

    /// Stops a branch and all that were forked from it.
    fn drop_thread(&mut self, number: u32) {
        let Some(thread) = self.threads.remove(&number) else { return };
        self.touched.insert(number);
        for frame in thread.frames.into_iter().rev() {
            self.abandon(&frame, Progress::Cancelled);
        }
    }

    /// Lets go of all that a task held: its waits and the branches it forked.
    fn abandon(&mut self, frame: &Frame, progress: Progress) {
        for wait in frame.held() {
            self.close(wait, Ending::Dropped);
        }
        for number in frame.forked() {
            self.drop_thread(number);
        }
        self.note(frame, progress);
    }

    fn note(&mut self, frame: &Frame, what: Progress) {
        if !frame.task.is_empty() {
            self.turn.steps.push(Step { run: frame.run, task: frame.task.clone(), what });
        }
    }

    fn task(&self, frame: &Frame) -> Option<&'a Task> {
        self.plan.by_pointer.get(&frame.task).map(|&task| &self.plan.tasks[task])
    }

    fn thread(&mut self, number: u32) -> &mut Thread {
        self.threads.get_mut(&number).expect("a branch that runs is there")
    }

    fn frames(&self, number: u32) -> &[Frame] {
        self.threads.get(&number).map_or(&[], |thread| &thread.frames)
    }

    fn top(&mut self, number: u32) -> &mut Frame {
        self.thread(number).frames.last_mut().expect("a branch that runs is inside of a task")
    }

    fn serial(&mut self) -> u32 {
        self.turn.serial += 1;
        self.turn.serial
    }
}

/// The turn that stops everything an execution does.
pub(super) fn stop(state: &Execution) -> Turn {
    let mut turn = blank(state, Cause::Cancelled);
    let frames = state.threads.values().flat_map(|thread| thread.frames.iter().rev());
    turn.steps = frames
        .filter(|frame| !frame.task.is_empty())
        .map(|frame| Step { run: frame.run, task: frame.task.clone(), what: Progress::Cancelled })
        .collect();
    turn.threads = state.threads.keys().map(|number| (*number, None)).collect();
    let id = state.start.as_ref().map(|start| start.id);
    let close = |wait: &Wait| Closed {
        wait: wait.id,
        how: Ending::Dropped,
        child: id.and_then(|id| waits::child(id, wait)),
    };
    turn.closed = state.waits.values().map(close).collect();
    turn
}

/// Size as JSON, in bytes.
pub(super) fn size(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |bytes| bytes.len())
}

fn blank(state: &Execution, cause: Cause) -> Turn {
    Turn {
        cause,
        steps: vec![],
        threads: BTreeMap::new(),
        context: None,
        opened: vec![],
        closed: vec![],
        emitted: vec![],
        runs: state.runs,
        serial: state.serial,
    }
}

/// What a step keeps of a value.
fn trace(value: &Value) -> Option<Value> {
    (size(value) <= TRACE_LIMIT).then(|| value.clone())
}
