//! Ending a task, and where to go from it.

use serde_json::Value;

use super::super::{Doing, Frame, Progress};
use super::{Error, Flow, MAIN, Machine, Outcome};
use crate::workflow::{Kind, Next, Task, TaskRef};

impl<'a> Machine<'a> {
    /// Ends the innermost task of a branch: `output`, then `export`, then `then`.
    pub(super) fn leave(&mut self, number: u32, raw: Value, over: Option<Next>) -> Flow {
        let frame = self.top(number).clone();
        let Some(task) = self.task(&frame) else { return self.complete(raw) };
        match self.finished(number, task, raw) {
            Ok(output) => {
                self.let_go(number);
                let kept = self.trace(&output);
                self.note(&frame, Progress::Completed { output: kept });
                let thread = self.thread(number);
                thread.frames.pop();
                thread.data = output.into();
                self.go(number, &task.pointer, &Next::or(over, &task.then))
            }
            Err(error) => {
                // What a `try` makes of its own output is not for itself to catch.
                self.let_go(number);
                Flow::Raise(error)
            }
        }
    }

    fn finished(&mut self, number: u32, task: &Task, raw: Value) -> Result<Value, Error> {
        let output = self.shaped(number, &task.output, raw)?;
        Self::fits("the output", &output)?;
        task.output.check(&output, "output")?;
        if task.export.map.is_some() || task.export.schema.is_some() {
            let context = match &task.export.map {
                Some(map) => self.fill_with_output(number, map, &output)?,
                None => self.context.clone(),
            };
            Self::fits("the context", &context)?;
            task.export.check(&context, "export")?;
            self.context = context;
        }
        Ok(output)
    }

    /// Goes on after the task at `pointer`, which has just ended; the branch holds its output.
    pub(super) fn go(&mut self, number: u32, pointer: &str, next: &Next) -> Flow {
        let inside = !self.frames(number).is_empty();
        match (next, inside) {
            (Next::End, _) => {
                let output = std::mem::take(&mut self.thread(number).data);
                self.complete(output.into_inner())
            }
            (Next::Task(task), true) => Flow::Enter(*task),
            (Next::Continue, true) => match self.following(number, pointer) {
                Some(task) => Flow::Enter(task),
                None => self.list_over(number, false),
            },
            (Next::Exit, true) => self.list_over(number, true),
            (Next::Task(_) | Next::Continue | Next::Exit, false) => self.join(number),
        }
    }

    /// The task after `pointer` in the list that the innermost task of a branch runs.
    fn following(&self, number: u32, pointer: &str) -> Option<TaskRef> {
        let list = self.list_of(self.frames(number).last()?);
        let place = list.iter().position(|task| self.plan.tasks[*task].pointer == pointer)?;
        list.get(place + 1).copied()
    }

    fn list_of(&self, frame: &Frame) -> &'a [TaskRef] {
        let Some(task) = self.task(frame) else { return &self.plan.root };
        match &task.kind {
            Kind::Do(body) => body,
            Kind::For(each) => &each.body,
            Kind::Try(attempt) if frame.doing == Doing::Handling => &attempt.handler,
            Kind::Try(attempt) => &attempt.body,
            Kind::Set(_)
            | Kind::Switch(_)
            | Kind::Fork { .. }
            | Kind::Raise(_)
            | Kind::Wait(_)
            | Kind::Emit(_)
            | Kind::Call(_) => &[],
        }
    }

    /// The list inside the innermost task is over; `exit` in a loop's body ends the loop.
    fn list_over(&mut self, number: u32, exited: bool) -> Flow {
        let data = std::mem::take(&mut self.thread(number).data).into_inner();
        // Loops are long: their frames are not for copying.
        let (lap, handling) = match self.top(number).doing {
            Doing::Looping { at, .. } => (Some(at), false),
            Doing::Handling => (None, true),
            Doing::Listing
            | Doing::Trying { .. }
            | Doing::Pausing { .. }
            | Doing::Forked { .. }
            | Doing::Waiting(_) => (None, false),
        };
        let Some(task) = self.frames(number).last().and_then(|frame| self.task(frame)) else {
            return self.complete(data);
        };
        match (&task.kind, lap) {
            (Kind::For(each), Some(at)) if !exited => {
                self.iterate(number, each, at + 1, data).unwrap_or_else(Flow::Raise)
            }
            (Kind::Try(attempt), _) if handling => Flow::Leave(data, attempt.then.clone()),
            (
                Kind::Set(_)
                | Kind::Do(_)
                | Kind::Switch(_)
                | Kind::For(_)
                | Kind::Fork { .. }
                | Kind::Try(_)
                | Kind::Raise(_)
                | Kind::Wait(_)
                | Kind::Emit(_)
                | Kind::Call(_),
                _,
            ) => Flow::Leave(data, None),
        }
    }

    /// A forked branch is over: its result goes to the task that forked it.
    fn join(&mut self, number: u32) -> Flow {
        let thread = self.threads.remove(&number).expect("a branch that runs is there");
        let Some((parent, branch)) = thread.parent else {
            return self.complete(thread.data.into_inner());
        };
        let Some(task) = self.frames(parent).last().and_then(|frame| self.task(frame)) else {
            return Flow::Stop;
        };
        let compete = matches!(task.kind, Kind::Fork { compete: true, .. });
        let Doing::Forked { open, results } = &mut self.top(parent).doing else {
            return Flow::Stop;
        };
        open.retain(|child| *child != number);
        results[branch] = thread.data.into_inner();
        let output = if compete {
            let losers = std::mem::take(open);
            let won = results[branch].take();
            for loser in losers {
                self.drop_thread(loser);
            }
            won
        } else if open.is_empty() {
            Value::Array(std::mem::take(results).into_inner())
        } else {
            return Flow::Stop;
        };
        self.ready.push_back((parent, Flow::Leave(output, None)));
        Flow::Stop
    }

    /// The workflow itself is over.
    fn complete(&mut self, raw: Value) -> Flow {
        let plan = self.plan;
        // Its output sees what the workflow sees, wherever `end` was said.
        while self.frames(MAIN).len() > 1 {
            self.abandon(MAIN, Progress::Cancelled);
        }
        let shaped = self.shaped(MAIN, &plan.output, raw);
        let checked = shaped.and_then(|output| {
            Self::fits("the workflow's output", &output)?;
            plan.output.check(&output, "the workflow's output")?;
            Ok(output)
        });
        match checked {
            Ok(output) => self.end(Outcome::Completed(output)),
            Err(error) => self.end(Outcome::Faulted(error)),
        }
        Flow::Stop
    }
}
