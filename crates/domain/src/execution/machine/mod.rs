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

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use serde_json::Value;

use super::state::Start;
use super::{
    Cause, Closed, Doing, Ending, Error, Execution, Frame, Progress, Standard, Step, TRACE_LIMIT,
    Thread, Turn, VALUE_LIMIT, Wait, WaitId,
};
use crate::expression::STEPS;
use crate::workflow::{Next, Plan, Task, TaskRef};
use crate::{Personal, Timestamp};

/// After this many tasks a turn ends and the next one begins at once, so that a long loop neither
/// fills an event nor keeps others waiting.
const STEPS_A_TURN: u32 = 500;

/// After this many bytes of steps and emitted events a turn ends likewise: what was done must not
/// fill an event that data have to fit into.
const TRACE_A_TURN: usize = 48 * 1024;

/// After this many steps of expressions a turn ends likewise: they are computed where others wait
/// for their turn, and take up to a tenth of a second.
const COST_A_TURN: u64 = STEPS;

/// This many steps a single task may cost besides; what needs more has to be several tasks.
const COST_A_TASK: u64 = 8 * STEPS;

/// From this many bytes on, steps keep no values: tasks that end one inside the other do not wait
/// for the next turn.
const TRACE_FULL: usize = 96 * 1024;

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
    /// The execution before this turn.
    before: &'a Execution,
    start: &'a Start,
    context: Value,
    threads: BTreeMap<u32, Thread>,
    waits: BTreeMap<WaitId, Wait>,
    /// Branches that can go on, with what they do next.
    ready: VecDeque<(u32, Flow)>,
    turn: Turn,
    steps_left: u32,
    /// Bytes of steps and emitted events so far.
    written: usize,
    /// Steps of expressions so far.
    spent: Cell<u64>,
    outcome: Outcome,
}

impl<'a> Machine<'a> {
    /// A machine on an execution that was started.
    pub(super) fn new(state: &'a Execution, plan: &'a Plan, now: Timestamp) -> Self {
        Self {
            plan,
            now,
            before: state,
            start: state.start.as_ref().expect("only what was started takes turns"),
            context: state.context.clone(),
            threads: state.threads.clone(),
            waits: state.waits.clone(),
            ready: VecDeque::new(),
            turn: blank(state, Cause::Started),
            steps_left: STEPS_A_TURN,
            written: 0,
            spent: Cell::new(0),
            outcome: Outcome::Waiting,
        }
    }

    /// Lets every branch go on until it waits.
    fn run(mut self) -> (Turn, Outcome) {
        while let Some((number, mut flow)) = self.ready.pop_front() {
            while self.threads.contains_key(&number) && self.is_going_on() {
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

    /// Writes down what is not as it was.
    fn finish(mut self) -> (Turn, Outcome) {
        let before = self.before;
        let over = before.threads.keys().filter(|number| !self.threads.contains_key(number));
        self.turn.threads = over.map(|number| (*number, None)).collect();
        self.threads.retain(|number, thread| before.threads.get(number) != Some(thread));
        let changed = self.threads.into_iter().map(|(number, thread)| (number, Some(thread)));
        self.turn.threads.extend(changed);
        if self.context != before.context {
            self.turn.context = Some(self.context.into());
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
        while !self.frames(number).is_empty() {
            self.abandon(number, Progress::Cancelled);
        }
        self.threads.remove(&number);
    }

    /// Gives up the innermost task of a branch.
    fn abandon(&mut self, number: u32, progress: Progress) {
        self.let_go(number);
        if let Some(frame) = self.thread(number).frames.pop() {
            self.note(&frame, progress);
        }
    }

    /// Lets go of all that the innermost task holds: its waits, the branches it forked and, if it
    /// is a `try`, what it would have caught. Keys of calls whose outcome is unknown go to the
    /// next `try` around, which may come here again.
    fn let_go(&mut self, number: u32) {
        let frame = self.top(number).clone();
        for wait in frame.held() {
            self.close(wait, Ending::Dropped);
        }
        for child in frame.forked() {
            self.drop_thread(child);
        }
        let doing = std::mem::replace(&mut self.top(number).doing, Doing::Listing);
        self.hand_on_keys(number, doing);
    }

    fn note(&mut self, frame: &Frame, what: Progress) {
        if !frame.task.is_empty() {
            let step = Step { run: frame.run, task: frame.task.clone(), what };
            self.written += size(&step);
            self.turn.steps.push(step);
        }
    }

    /// Fails the innermost task for data that are larger than data may be.
    fn fits(what: &str, value: &impl Serialize) -> Result<(), Error> {
        if !exceeds(value, VALUE_LIMIT) {
            return Ok(());
        }
        let size = size(value);
        let detail =
            format!("payload too large: {what} has {size} bytes; the limit is {VALUE_LIMIT}");
        Err(Standard::Validation.error(detail).with_status(413))
    }

    /// What a step keeps of a value.
    fn trace(&self, value: &Value) -> Option<Personal<Value>> {
        (self.written < TRACE_FULL && !exceeds(value, TRACE_LIMIT)).then(|| value.clone().into())
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
    let frames = state.threads.values().rev().flat_map(|thread| thread.frames.iter().rev());
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
    measure(value).size
}

/// Size and depth as JSON.
pub(super) fn measure(value: &impl Serialize) -> Measured {
    let mut ruler = Ruler::default();
    if serde_json::to_writer(&mut ruler, value).is_err() {
        return Measured { size: usize::MAX, deepest: usize::MAX };
    }
    ruler.measured
}

/// Whether its JSON has more bytes than that; no more of it is written than tells.
fn exceeds(value: &impl Serialize, most: usize) -> bool {
    serde_json::to_writer(Ruler { most, ..Ruler::default() }, value).is_err()
}

/// What the log has to hold of a value.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Measured {
    /// Bytes of JSON.
    pub(super) size: usize,
    /// How many arrays and objects are open at once, at most.
    pub(super) deepest: usize,
}

/// Measures the JSON that is written to it.
struct Ruler {
    measured: Measured,
    /// It takes no more bytes than these.
    most: usize,
    open: usize,
    quoted: bool,
    escaped: bool,
}

impl Default for Ruler {
    fn default() -> Self {
        let measured = Measured::default();
        Self { measured, most: usize::MAX, open: 0, quoted: false, escaped: false }
    }
}

impl std::io::Write for Ruler {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.measured.size += bytes.len();
        if self.measured.size > self.most {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        for byte in bytes {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.quoted => self.escaped = true,
                b'"' => self.quoted = !self.quoted,
                b'{' | b'[' if !self.quoted => {
                    self.open += 1;
                    self.measured.deepest = self.measured.deepest.max(self.open);
                }
                b'}' | b']' if !self.quoted => self.open = self.open.saturating_sub(1),
                _ => {}
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
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
