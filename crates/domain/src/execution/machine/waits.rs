//! Opening and closing waits.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

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
        let earlier = self.unsettled_key(number, &request);
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
        let Some(wait) = self.waits.get(&id).cloned() else { return };
        let dropped = how == Ending::Dropped;
        let child = if dropped { child(self.start.id, &wait) } else { None };
        // A child is cancelled; what became of any other call that is dropped is unknown.
        if dropped
            && child.is_none()
            && let Some(number) = self.waiting(id)
        {
            self.keep_key(number, &wait);
        }
        self.waits.remove(&id);
        if let Some(place) = self.turn.opened.iter().position(|opened| opened.id == id) {
            self.turn.opened.remove(place);
            return;
        }
        self.turn.closed.push(Closed { wait: id, how, child });
    }

    /// Remembers the key of a call that a branch makes, so that the next attempt of its task uses
    /// it again.
    pub(super) fn keep_key(&mut self, number: u32, wait: &Wait) {
        let What::Call { key, request } = &wait.what else { return };
        let place = self.place(number, request);
        if let Some(keys) = self.tried(number) {
            keys.insert(place, Value::String(key.clone()));
        }
    }

    /// Gives the keys that a `try` has kept to the next one around the innermost task.
    pub(super) fn hand_on_keys(&mut self, number: u32, mut tried: Doing) {
        let kept = tried.take_keys();
        if !kept.is_empty()
            && let Some(keys) = self.tried(number)
        {
            keys.extend(kept);
        }
    }

    /// The key that a `try` around a call has kept for it, taken out.
    fn unsettled_key(&mut self, number: u32, request: &Request) -> Option<String> {
        let around = self.trying(number);
        let keys = |machine: &Self, (at, depth): (u32, usize)| {
            machine.frames(at)[depth].doing.keys().is_some_and(|keys| !keys.is_empty())
        };
        if !around.iter().any(|place| keys(self, *place)) {
            return None;
        }
        let place = self.place(number, request);
        let take = |(at, depth): (u32, usize)| {
            self.thread(at).frames[depth].doing.keys_mut()?.remove(&place)
        };
        around.into_iter().find_map(take)?.as_str().map(str::to_owned)
    }

    /// What makes two calls one and the same across attempts: the task, where the loops around it
    /// are, and what is asked. A key must not be used again for anything else.
    fn place(&self, number: u32, request: &Request) -> String {
        let mut laps = vec![];
        let mut at = Some(number);
        while let Some(thread) = at.and_then(|current| self.threads.get(&current)) {
            laps.extend(thread.frames.iter().rev().filter_map(|frame| match frame.doing {
                Doing::Looping { at, .. } => Some(format!("@{at}")),
                Doing::Listing
                | Doing::Trying { .. }
                | Doing::Pausing { .. }
                | Doing::Handling
                | Doing::Forked { .. }
                | Doing::Waiting(_) => None,
            }));
            at = thread.parent.map(|(parent, _)| parent);
        }
        let task = self.frames(number).last().map_or("", |frame| frame.task.as_str());
        let asked = serde_json::to_vec(request).unwrap_or_default();
        let digest = hex::encode(&Sha256::digest(asked)[..16]);
        format!("{task}{}#{digest}", laps.concat())
    }

    /// Keys kept by the innermost `try` around what a branch does.
    fn tried(&mut self, number: u32) -> Option<&mut Map<String, Value>> {
        let (at, depth) = self.trying(number).first().copied()?;
        self.thread(at).frames[depth].doing.keys_mut()
    }

    /// Each `try` around what a branch does, innermost first, wherever it was forked from: its
    /// branch and its depth there.
    fn trying(&self, number: u32) -> Vec<(u32, usize)> {
        let is_trying = |frame: &Frame| matches!(frame.doing, Doing::Trying { .. });
        let (mut found, mut next) = (vec![], Some(number));
        while let Some((at, thread)) = next.and_then(|at| Some((at, self.threads.get(&at)?))) {
            let depths = (0..thread.frames.len()).rev();
            let depths = depths.filter(|depth| is_trying(&thread.frames[*depth]));
            found.extend(depths.map(|depth| (at, depth)));
            next = thread.parent.map(|(parent, _)| parent);
        }
        found
    }
}

impl Doing {
    fn keys(&self) -> Option<&Map<String, Value>> {
        match self {
            Self::Trying { keys, .. } | Self::Pausing { keys, .. } => Some(keys),
            Self::Listing
            | Self::Looping { .. }
            | Self::Handling
            | Self::Forked { .. }
            | Self::Waiting(_) => None,
        }
    }

    fn keys_mut(&mut self) -> Option<&mut Map<String, Value>> {
        match self {
            Self::Trying { keys, .. } | Self::Pausing { keys, .. } => Some(keys),
            Self::Listing
            | Self::Looping { .. }
            | Self::Handling
            | Self::Forked { .. }
            | Self::Waiting(_) => None,
        }
    }

    /// The keys that a `try` has kept; none of anything else.
    pub(super) fn take_keys(&mut self) -> Map<String, Value> {
        self.keys_mut().map(std::mem::take).unwrap_or_default()
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

/// The execution that was started for a wait, to be cancelled when nobody waits any more; one
/// that nobody ever waited for the end of goes on.
pub(super) fn child(id: Id<Execution>, wait: &Wait) -> Option<Id<Execution>> {
    match &wait.what {
        What::Call { key, request: Request::Workflow { r#await: true, .. } } => {
            Some(Id::derived(id.as_uuid(), key))
        }
        What::Call {
            request:
                Request::Http(_)
                | Request::Agent { .. }
                | Request::Integration { .. }
                | Request::Notify { .. }
                | Request::Workflow { .. },
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
