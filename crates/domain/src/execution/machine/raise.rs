//! Errors: who catches them, and whether what failed is tried again.

use chrono::TimeDelta;
use serde_json::Value;

use super::super::{Doing, Ending, Frame, Progress, Purpose};
use super::span::backoff;
use super::{Error, Flow, Machine, Outcome};
use crate::Timestamp;
use crate::workflow::{Kind, Retry, Try};

impl<'a> Machine<'a> {
    /// Raises an error in the innermost task of a branch and looks outwards for who catches it.
    pub(super) fn raise(&mut self, number: u32, mut error: Error) -> Flow {
        while let Some(frame) = self.frames(number).last().cloned() {
            let task = self.task(&frame);
            if task.is_some() && error.instance.is_none() {
                error.instance = Some(frame.task.clone());
            }
            if let (Some(Kind::Try(attempt)), Doing::Trying { .. }) =
                (task.map(|task| &task.kind), &frame.doing)
            {
                match self.catch(number, attempt, &frame, &error) {
                    Ok(Some(flow)) => return flow,
                    Ok(None) => {}
                    Err(worse) => error = Error { instance: error.instance, ..worse },
                }
            }
            self.abandon(number, Progress::Faulted(error.clone()));
        }
        self.raise_in_parent(number, error)
    }

    /// An error that leaves a branch fails the `fork`, unless others still compete.
    fn raise_in_parent(&mut self, number: u32, error: Error) -> Flow {
        let parent = self.threads.remove(&number).and_then(|thread| thread.parent);
        let Some((parent, _)) = parent else {
            self.end(Outcome::Faulted(error));
            return Flow::Stop;
        };
        let task = self.frames(parent).last().and_then(|frame| self.task(frame));
        let compete =
            task.is_some_and(|task| matches!(task.kind, Kind::Fork { compete: true, .. }));
        if let Doing::Forked { open, .. } = &mut self.top(parent).doing {
            open.retain(|child| *child != number);
            if compete && !open.is_empty() {
                return Flow::Stop;
            }
            // At once: what they would still do or fail at must not reach the branch that forked.
            for sibling in std::mem::take(open) {
                self.drop_thread(sibling);
            }
        }
        self.ready.push_back((parent, Flow::Raise(error)));
        Flow::Stop
    }

    /// What a `try` does about an error of its body: nothing if it does not catch it.
    fn catch(
        &mut self,
        number: u32,
        attempt: &'a Try,
        frame: &Frame,
        error: &Error,
    ) -> Result<Option<Flow>, Error> {
        let value = error.to_value();
        if !attempt.filter.iter().all(|(member, wanted)| value.get(member) == Some(wanted)) {
            return Ok(None);
        }
        self.top(number).vars.insert(attempt.variable.clone(), value);
        let input = frame.input.clone().into_inner();
        let caught = match &attempt.when {
            Some(when) => self.holds(number, when, &input)?,
            None => true,
        } && match &attempt.except {
            Some(except) => !self.holds(number, except, &input)?,
            None => true,
        };
        if !caught {
            self.top(number).vars.remove(&attempt.variable);
            return Ok(None);
        }
        for wait in frame.held().filter(|wait| Some(*wait) != frame.timeout) {
            self.close(wait, Ending::Dropped);
        }
        if let Some(retry) = &attempt.retry
            && let Some(flow) = self.again(number, (retry, &attempt.variable), frame, error)?
        {
            return Ok(Some(flow));
        }
        let tried = std::mem::replace(&mut self.top(number).doing, Doing::Handling);
        self.hand_on_keys(number, tried);
        if attempt.handler.is_empty() {
            return Ok(Some(Flow::Leave(input, attempt.then.clone())));
        }
        Ok(Some(self.list(number, &attempt.handler, input)))
    }

    /// Sets the timer of the next attempt, if there is to be one.
    fn again(
        &mut self,
        number: u32,
        (retry, variable): (&Retry, &str),
        frame: &Frame,
        error: &Error,
    ) -> Result<Option<Flow>, Error> {
        let Doing::Trying { attempt, since, .. } = frame.doing else { return Ok(None) };
        if !self.may_retry(number, retry, &frame.input)? {
            return Ok(None);
        }
        if retry.attempts.is_some_and(|most| attempt >= most) {
            return Ok(None);
        }
        let at = self.next_attempt(number, retry, attempt, &frame.input)?;
        if let Some(span) = &retry.duration {
            let longest = self.length(number, span, &frame.input)?;
            if at - since > longest {
                return Ok(None);
            }
        }
        let next = attempt.saturating_add(1);
        let until = self.open_timer(number, at, Purpose::Retry);
        let frame_now = self.top(number);
        let keys = frame_now.doing.take_keys();
        frame_now.doing = Doing::Pausing { attempt: next, since, until, keys: keys.into() };
        // The next attempt sees what the first one saw.
        frame_now.vars.remove(variable);
        self.note(frame, Progress::Retrying { error: error.clone(), attempt: next, at });
        Ok(Some(Flow::Stop))
    }

    fn may_retry(&mut self, number: u32, retry: &Retry, input: &Value) -> Result<bool, Error> {
        let wanted = match &retry.when {
            Some(when) => self.holds(number, when, input)?,
            None => true,
        };
        let excepted = match &retry.except {
            Some(except) => self.holds(number, except, input)?,
            None => false,
        };
        Ok(wanted && !excepted)
    }

    fn next_attempt(
        &mut self,
        number: u32,
        retry: &Retry,
        attempt: u32,
        input: &Value,
    ) -> Result<Timestamp, Error> {
        let delay = match &retry.delay {
            Some(span) => self.length(number, span, input)?,
            None => TimeDelta::zero(),
        };
        let jitter = match &retry.jitter {
            Some((from, to)) => {
                let (from, to) =
                    (self.length(number, from, input)?, self.length(number, to, input)?);
                self.jitter(from, to)
            }
            None => TimeDelta::zero(),
        };
        Ok(self.now + backoff(retry.backoff, delay, attempt) + jitter)
    }
}
