//! Opening and closing waits.

use serde_json::Value;

use super::super::{Closed, Doing, Ending, Execution, Frame, Purpose, Request, Wait, WaitId, What};
use super::{Machine, Next};
use crate::{Id, Timestamp};

impl Machine<'_> {
    /// Sets a timer for the innermost task of a branch.
    pub(super) fn open_timer(
        &mut self,
        number: u32,
        due_at: Timestamp,
        purpose: Purpose,
    ) -> WaitId {
        self.open(number, |_| What::Timer { due_at, purpose })
    }

    /// Lists a call for the innermost task of a branch. It uses the key of an earlier attempt
    /// whose outcome is unknown, if there was one.
    pub(super) fn open_call(&mut self, number: u32, request: Request) -> WaitId {
        let earlier = self.unsettled_key(number);
        self.open(number, |id| What::Call {
            key: earlier.unwrap_or_else(|| id.to_string()),
            request,
        })
    }

    fn open(&mut self, number: u32, what: impl FnOnce(WaitId) -> What) -> WaitId {
        let id = self.serial();
        let since = self.now;
        let frame = self.top(number);
        let wait = Wait { id, task: frame.task.clone(), run: frame.run, since, what: what(id) };
        self.waits.insert(id, wait.clone());
        self.turn.opened.push(wait);
        id
    }

    /// Closes a wait. One that this very turn opened never was.
    pub(super) fn close(&mut self, id: WaitId, how: Ending) {
        let Some(wait) = self.waits.remove(&id) else { return };
        if let Some(place) = self.turn.opened.iter().position(|opened| opened.id == id) {
            self.turn.opened.remove(place);
            return;
        }
        let child = match how {
            Ending::Dropped => child(self.start.id, &wait),
            Ending::Succeeded | Ending::Failed(_) | Ending::Unknown(_) | Ending::Fired => None,
        };
        self.turn.closed.push(Closed { wait: id, how, child });
    }

    /// Remembers a call's key, so that the next attempt of its task uses it again.
    pub(super) fn keep_key(&mut self, number: u32, wait: &Wait) {
        let What::Call { key, .. } = &wait.what else { return };
        let place = wait.task.clone();
        let value = Value::String(key.clone());
        if let Some(keys) = self.trying(number) {
            keys.insert(place, value);
        }
    }

    fn unsettled_key(&mut self, number: u32) -> Option<String> {
        let place = self.top(number).task.clone();
        match self.trying(number)?.remove(&place)? {
            Value::String(key) => Some(key),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => None,
        }
    }

    /// Keys kept by the innermost `try` around what a branch does, wherever it was forked from.
    fn trying(&mut self, number: u32) -> Option<&mut serde_json::Map<String, Value>> {
        let is_trying = |frame: &Frame| matches!(frame.doing, Doing::Trying { .. });
        let (mut at, mut found) = (Some(number), None);
        while let Some(current) = at {
            let thread = self.threads.get(&current)?;
            if let Some(depth) = thread.frames.iter().rposition(is_trying) {
                found = Some((current, depth));
                break;
            }
            at = thread.parent.map(|(parent, _)| parent);
        }
        let (current, depth) = found?;
        self.touched.insert(current);
        match &mut self.thread(current).frames[depth].doing {
            Doing::Trying { keys, .. } => Some(keys),
            Doing::Listing
            | Doing::Looping { .. }
            | Doing::Pausing { .. }
            | Doing::Handling
            | Doing::Forked { .. }
            | Doing::Waiting(_) => None,
        }
    }
}

impl Frame {
    /// The waits that this task holds.
    pub(super) fn held(&self) -> impl Iterator<Item = WaitId> + use<> {
        let own = match self.doing {
            Doing::Waiting(wait) => Some(wait),
            Doing::Pausing { until, .. } => Some(until),
            Doing::Trying { limit, .. } => limit,
            Doing::Listing | Doing::Looping { .. } | Doing::Handling | Doing::Forked { .. } => None,
        };
        own.into_iter().chain(self.timeout)
    }

    /// The branches that this task forked and that still run.
    pub(super) fn forked(&self) -> Vec<u32> {
        match &self.doing {
            Doing::Forked { open, .. } => open.clone(),
            Doing::Listing
            | Doing::Looping { .. }
            | Doing::Trying { .. }
            | Doing::Pausing { .. }
            | Doing::Handling
            | Doing::Waiting(_) => vec![],
        }
    }
}

/// The execution that was started for a wait, to be cancelled when nobody waits any more.
pub(super) fn child(id: Id<Execution>, wait: &Wait) -> Option<Id<Execution>> {
    match &wait.what {
        What::Call { key, request: Request::Workflow { .. } } => {
            Some(Id::derived(id.as_uuid(), key))
        }
        What::Call {
            request:
                Request::Http(_)
                | Request::Agent { .. }
                | Request::Integration { .. }
                | Request::Notify { .. },
            ..
        }
        | What::Timer { .. } => None,
    }
}

impl Next {
    /// This, unless the task says otherwise.
    pub(super) fn or(over: Option<Self>, own: &Self) -> Self {
        over.unwrap_or_else(|| own.clone())
    }
}
