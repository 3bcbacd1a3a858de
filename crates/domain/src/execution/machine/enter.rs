//! Beginning a task.

use serde_json::{Map, Value};

use super::super::{Doing, Frame, Progress, Purpose, Standard, Thread};
use super::{COST_A_TURN, Error, Flow, Machine, TRACE_A_TURN, size};
use crate::Personal;
use crate::workflow::{Case, For, Kind, RaisedError, Task, TaskRef, Try, canonical_type};

impl<'a> Machine<'a> {
    /// Begins a task: `if`, then `input`, then what its kind does.
    pub(super) fn enter(&mut self, number: u32, task: TaskRef) -> Flow {
        let plan = self.plan;
        let task = &plan.tasks[task];
        self.push(number, task);
        let is_full =
            self.steps_left == 0 || self.written >= TRACE_A_TURN || self.spent.get() >= COST_A_TURN;
        if is_full {
            return self.breathe(number);
        }
        self.steps_left -= 1;
        self.begin(number, task).unwrap_or_else(Flow::Raise)
    }

    fn push(&mut self, number: u32, task: &Task) {
        self.turn.runs += 1;
        let (run, started_at) = (self.turn.runs, self.now);
        let thread = self.thread(number);
        let raw = std::mem::take(&mut thread.data);
        thread.frames.push(Frame {
            task: task.pointer.clone(),
            run,
            started_at,
            input: raw,
            vars: Personal::default(),
            timeout: None,
            doing: Doing::Listing,
        });
    }

    /// Ends this turn in front of a task; the next turn begins at once and with it.
    fn breathe(&mut self, number: u32) -> Flow {
        let wait = self.open_timer(number, self.now, Purpose::Breath);
        self.top(number).doing = Doing::Waiting(wait);
        Flow::Stop
    }

    /// Begins the innermost task, whose frame holds the raw input.
    pub(super) fn begin(&mut self, number: u32, task: &'a Task) -> Result<Flow, Error> {
        let raw = self.top(number).input.clone().into_inner();
        if let Some(condition) = &task.condition
            && !self.holds(number, condition, &raw)?
        {
            return Ok(self.skip(number, task, raw));
        }
        task.input.check(&raw, "input")?;
        let input = self.shaped(number, &task.input, raw)?;
        if task.input.map.is_some() {
            Self::fits("the input", &input)?;
        }
        self.top(number).input = input.clone().into();
        let frame = self.top(number).clone();
        let input_kept = self.trace(&input);
        self.note(&frame, Progress::Started { input: input_kept });
        if let Some(span) = &task.timeout {
            let due_at = self.after(number, span, &input)?;
            let timer = self.open_timer(number, due_at, Purpose::TaskTimeout);
            self.top(number).timeout = Some(timer);
        }
        self.perform(number, task, input)
    }

    /// A task whose `if` says no is passed over: its data flow on, its `then` does not count.
    fn skip(&mut self, number: u32, task: &Task, raw: Value) -> Flow {
        let thread = self.thread(number);
        let frame = thread.frames.pop().expect("the task was just begun");
        thread.data = raw.into();
        self.note(&frame, Progress::Skipped);
        self.go(number, &task.pointer, &crate::workflow::Next::Continue)
    }

    fn perform(&mut self, number: u32, task: &'a Task, input: Value) -> Result<Flow, Error> {
        match &task.kind {
            Kind::Set(template) => Ok(Flow::Leave(self.fill(number, template, &input)?, None)),
            Kind::Do(body) => Ok(self.list(number, body, input)),
            Kind::Switch(cases) => self.switch(number, cases, input),
            Kind::For(each) => self.start_loop(number, each, &input),
            Kind::Fork { branches, .. } => Ok(self.fork(number, branches, &input)),
            Kind::Try(attempt) => self.start_try(number, attempt, input),
            Kind::Raise(error) => Err(self.raised(number, error, &input)?),
            Kind::Wait(span) => {
                let due_at = self.after(number, span, &input)?;
                let timer = self.open_timer(number, due_at, Purpose::Wait);
                self.top(number).doing = Doing::Waiting(timer);
                Ok(Flow::Stop)
            }
            Kind::Emit(template) => {
                let event = self.emitted(number, template, &input)?;
                Self::fits("the event", &event)?;
                self.written += size(&event);
                self.turn.emitted.push(event.clone().into());
                Ok(Flow::Leave(event, None))
            }
            Kind::Call(call) => {
                let request = self.request(number, call, &input)?;
                Self::fits("the request", &request)?;
                let wait = self.open_call(number, request);
                self.top(number).doing = Doing::Waiting(wait);
                Ok(Flow::Stop)
            }
        }
    }

    /// Begins a list of tasks inside the innermost task; an empty one is over at once.
    pub(super) fn list(&mut self, number: u32, body: &[TaskRef], data: Value) -> Flow {
        match body.first() {
            Some(first) => {
                self.thread(number).data = data.into();
                Flow::Enter(*first)
            }
            None => Flow::Leave(data, None),
        }
    }

    fn switch(&mut self, number: u32, cases: &[Case], input: Value) -> Result<Flow, Error> {
        for case in cases {
            let chosen = match &case.when {
                Some(when) => self.holds(number, when, &input)?,
                None => true,
            };
            if chosen {
                return Ok(Flow::Leave(input, Some(case.then.clone())));
            }
        }
        Ok(Flow::Leave(input, None))
    }

    fn start_loop(&mut self, number: u32, each: &For, input: &Value) -> Result<Flow, Error> {
        let items = match self.fill(number, &each.items, input)? {
            Value::Array(items) => items,
            Value::Null => vec![],
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                return Err(Standard::Validation.error("`for.in` must give an array"));
            }
        };
        Self::fits("what `for.in` gives", &items)?;
        self.top(number).doing = Doing::Looping { items: items.into(), at: 0 };
        self.iterate(number, each, 0, input.clone())
    }

    /// Begins the iteration `at`, or ends the loop.
    pub(super) fn iterate(
        &mut self,
        number: u32,
        each: &For,
        at: usize,
        data: Value,
    ) -> Result<Flow, Error> {
        let frame = self.top(number);
        let item = match &mut frame.doing {
            Doing::Looping { items, at: place } => {
                *place = at;
                items.get(at).cloned()
            }
            Doing::Listing
            | Doing::Trying { .. }
            | Doing::Pausing { .. }
            | Doing::Handling
            | Doing::Forked { .. }
            | Doing::Waiting(_) => None,
        };
        let Some(item) = item else { return Ok(Flow::Leave(data, None)) };
        frame.vars.insert(each.each.clone(), item);
        frame.vars.insert(each.at.clone(), at.into());
        if let Some(condition) = &each.condition
            && !self.holds(number, condition, &data)?
        {
            return Ok(Flow::Leave(data, None));
        }
        Ok(self.list(number, &each.body, data))
    }

    fn fork(&mut self, number: u32, branches: &[TaskRef], input: &Value) -> Flow {
        let mut open = Vec::with_capacity(branches.len());
        for (branch, task) in branches.iter().enumerate() {
            let child = self.serial();
            let parent = Some((number, branch));
            self.threads
                .insert(child, Thread { parent, frames: vec![], data: input.clone().into() });
            self.ready.push_back((child, Flow::Enter(*task)));
            open.push(child);
        }
        let results = vec![Value::Null; branches.len()].into();
        self.top(number).doing = Doing::Forked { open, results };
        Flow::Stop
    }

    fn start_try(&mut self, number: u32, attempt: &Try, input: Value) -> Result<Flow, Error> {
        let since = self.now;
        self.attempt(number, attempt, (1, since), Personal::default())?;
        Ok(self.list(number, &attempt.body, input))
    }

    /// Notes that attempt `nth` of a `try` begins, with the timer of its own limit.
    pub(super) fn attempt(
        &mut self,
        number: u32,
        attempt: &Try,
        (nth, since): (u32, crate::Timestamp),
        keys: Personal<Map<String, Value>>,
    ) -> Result<(), Error> {
        let span = attempt.retry.as_ref().and_then(|retry| retry.attempt_timeout.as_ref());
        let limit = match span {
            Some(span) => {
                let input = self.top(number).input.clone();
                let due_at = self.after(number, span, &input)?;
                Some(self.open_timer(number, due_at, Purpose::TaskTimeout))
            }
            None => None,
        };
        self.top(number).doing = Doing::Trying { attempt: nth, since, limit, keys };
        Ok(())
    }

    fn raised(&mut self, number: u32, error: &RaisedError, input: &Value) -> Result<Error, Error> {
        let kind = canonical_type(&self.text(number, &error.kind, input)?);
        let status = self.fill(number, &error.status, input)?;
        let status = status.as_u64().and_then(|status| u16::try_from(status).ok());
        let status = status
            .ok_or_else(|| Standard::Validation.error("`status` of an error must be a number"))?;
        let title = error.title.as_ref().map(|text| self.text(number, text, input)).transpose()?;
        let detail =
            error.detail.as_ref().map(|text| self.text(number, text, input)).transpose()?;
        Self::fits("the detail", &detail)?;
        let detail = detail.map(Personal::from);
        Ok(Error { kind, status, title, detail, instance: None })
    }
}
