//! What wakes an execution: its start, an answer, a timer.

use super::super::{
    Answer, Cause, Doing, Ending, Error, Frame, Progress, Purpose, Standard, Thread, Turn, Wait,
    WaitId, What,
};
use super::{Flow, MAIN, Machine, Outcome};
use crate::Personal;
use crate::workflow::Kind;

impl Machine<'_> {
    /// The first turn: the workflow's own `input`, then its first task.
    pub(in super::super) fn start(mut self) -> (Turn, Outcome) {
        let root = Frame {
            task: String::new(),
            run: 0,
            started_at: self.now,
            input: self.start.input.clone().into(),
            vars: Personal::default(),
            timeout: None,
            doing: Doing::Listing,
        };
        let thread = Thread { parent: None, frames: vec![root], data: Personal::default() };
        self.threads.insert(MAIN, thread);
        let flow = self.begin_workflow().unwrap_or_else(Flow::Raise);
        self.ready.push_back((MAIN, flow));
        self.run()
    }

    fn begin_workflow(&mut self) -> Result<Flow, Error> {
        let plan = self.plan;
        let raw = self.start.input.clone();
        plan.input.check(&raw, "the workflow's input")?;
        let input = self.shaped(MAIN, &plan.input, raw)?;
        self.top(MAIN).input = input.clone().into();
        if let Some(span) = &plan.timeout {
            let due_at = self.after(MAIN, span, &input)?;
            let timer = self.open_timer(MAIN, due_at, Purpose::WorkflowTimeout);
            self.top(MAIN).timeout = Some(timer);
        }
        Ok(self.list(MAIN, &plan.root, input))
    }

    /// A call came back.
    pub(in super::super) fn answer(mut self, wait: WaitId, answer: &Answer) -> (Turn, Outcome) {
        self.turn.cause = Cause::Answered(wait);
        let known = self.waits.get(&wait).cloned();
        if let (Some(known), Some(number)) = (known, self.waiting(wait)) {
            let (how, flow) = match answer {
                Answer::Success(value) => (Ending::Succeeded, Flow::Leave(value.clone(), None)),
                Answer::Failure(error) => {
                    (Ending::Failed(error.clone()), Flow::Raise(from_outside(error)))
                }
                Answer::Unknown(error) => {
                    self.keep_key(number, &known);
                    (Ending::Unknown(error.clone()), Flow::Raise(from_outside(error)))
                }
            };
            self.close(wait, how);
            self.ready.push_back((number, flow));
        }
        self.run()
    }

    /// A timer is due.
    pub(in super::super) fn fire(mut self, wait: WaitId) -> (Turn, Outcome) {
        self.turn.cause = Cause::Fired(wait);
        if let Some(Wait { what: What::Timer { purpose, .. }, .. }) = self.waits.get(&wait) {
            let purpose = *purpose;
            let waiting = self.waiting(wait);
            self.close(wait, Ending::Fired);
            match (purpose, waiting) {
                (Purpose::Wait, Some(number)) => {
                    let input = self.top(number).input.clone().into_inner();
                    self.ready.push_back((number, Flow::Leave(input, None)));
                }
                (Purpose::Breath, Some(number)) => self.breathed(number),
                (Purpose::Retry, Some(number)) => self.try_again(number),
                (Purpose::TaskTimeout | Purpose::WorkflowTimeout, _) => self.time_out(wait),
                (Purpose::Wait | Purpose::Breath | Purpose::Retry, None) => {}
            }
        }
        self.run()
    }

    /// The branch whose innermost task waits for this.
    pub(super) fn waiting(&self, wait: WaitId) -> Option<u32> {
        let waits = |frame: &Frame| match frame.doing {
            Doing::Waiting(held) => held == wait,
            Doing::Pausing { until, .. } => until == wait,
            Doing::Listing
            | Doing::Looping { .. }
            | Doing::Trying { .. }
            | Doing::Handling
            | Doing::Forked { .. } => false,
        };
        let found = |thread: &Thread| thread.frames.last().is_some_and(waits);
        self.threads.iter().find(|(_, thread)| found(thread)).map(|(number, _)| *number)
    }

    /// Begins the task that the last turn stopped in front of.
    fn breathed(&mut self, number: u32) {
        let now = self.now;
        let frame = self.top(number);
        (frame.doing, frame.started_at) = (Doing::Listing, now);
        let frame = frame.clone();
        if let Some(task) = self.task(&frame) {
            let flow = self.begin(number, task).unwrap_or_else(Flow::Raise);
            self.ready.push_back((number, flow));
        }
    }

    /// Begins the next attempt of a `try`.
    fn try_again(&mut self, number: u32) {
        let frame = self.top(number).clone();
        let (Some(task), Doing::Pausing { attempt, since, keys, .. }) =
            (self.task(&frame), frame.doing)
        else {
            return;
        };
        let Kind::Try(tried) = &task.kind else { return };
        let flow = match self.attempt(number, tried, (attempt, since), keys) {
            Ok(()) => self.list(number, &tried.body, frame.input.into_inner()),
            Err(error) => Flow::Raise(error),
        };
        self.ready.push_back((number, flow));
    }

    /// Stops what takes too long: everything inside of the task, then the task itself, unless the
    /// limit was that of one attempt, which the `try` may catch.
    fn time_out(&mut self, wait: WaitId) {
        let Some((number, depth)) = self.limited_by(wait) else { return };
        while self.frames(number).len() > depth + 1 {
            self.abandon(number, Progress::Cancelled);
        }
        let frame = self.top(number).clone();
        let what = if frame.task.is_empty() { "the workflow" } else { frame.task.as_str() };
        let error = Standard::Timeout.error(format!("{what} took longer than its timeout"));
        if frame.timeout == Some(wait) {
            // The timeout of a `try` is not for itself to catch.
            self.let_go(number);
        }
        self.ready.push_back((number, Flow::Raise(error)));
    }

    /// The task that a timer limits: its branch and its depth in it.
    fn limited_by(&self, wait: WaitId) -> Option<(u32, usize)> {
        let limits = |frame: &Frame| match frame.doing {
            Doing::Trying { limit, .. } if limit == Some(wait) => true,
            Doing::Trying { .. }
            | Doing::Listing
            | Doing::Looping { .. }
            | Doing::Pausing { .. }
            | Doing::Handling
            | Doing::Forked { .. }
            | Doing::Waiting(_) => frame.timeout == Some(wait),
        };
        self.threads.iter().find_map(|(number, thread)| {
            thread.frames.iter().position(limits).map(|depth| (*number, depth))
        })
    }
}

/// An error as the task raises it that made the call: the place that another execution names is
/// none of this document.
fn from_outside(error: &Error) -> Error {
    Error { instance: None, ..error.clone() }
}
