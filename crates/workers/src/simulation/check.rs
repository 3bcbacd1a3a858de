//! What must be true when everything has come to its end. Whatever can be told while it happens is
//! checked in `record`.

use std::collections::{BTreeMap, BTreeSet};

use domain::execution::{Ending, Phase, Request, Trigger};
use uuid::Uuid;

use super::record::{Story, Waited, short};
use super::run::Run;
use super::world::State;

/// How each execution must end, by its number.
pub(super) type Ends = BTreeMap<u64, Phase>;

impl Run<'_> {
    /// How what was started has ended.
    pub(super) fn ends(&self) -> Ends {
        let state = self.world.state();
        let tops = state.record.executions.values().filter(|story| story.is_top());
        tops.map(|story| (story.number, story.phase.clone())).collect()
    }

    /// Holds the run against the one without crashes, and the ledger of the outside against the log.
    pub(super) fn check(&self, expected: &Ends) {
        let mut wrongs = self.each_was_started_once();
        let mut state = self.world.state();
        for (id, story) in &state.record.executions {
            let top = self.started.iter().find(|one| story.is_top() && one.n == story.number);
            if let Some(started) = top
                && !started.document.is_race
                && !(started.is_unwanted && story.is_cancelled)
                && expected.get(&story.number) != Some(&story.phase)
            {
                let expected = expected.get(&story.number);
                wrongs.push(format!("{} ended as {:?}, not {expected:?}", short(*id), story.phase));
            }
            wrongs.extend(keys(story).map(|wrong| format!("{}: {wrong}", short(*id))));
        }
        wrongs.extend(ledger(&state));
        state.record.wrongs.extend(wrongs);
    }

    fn each_was_started_once(&self) -> Vec<String> {
        let state = self.world.state();
        let tops = |n| {
            let all = state.record.executions.values();
            all.filter(|story| story.is_top() && story.number == n).count()
        };
        let wrong = self.started.iter().map(|started| (started.n, tops(started.n)));
        let wrong = wrong.filter(|(_, times)| *times != 1);
        wrong.map(|(n, times)| format!("the client's {n} was started {times} times")).collect()
    }
}

impl Story {
    /// Whether a client started it.
    pub(super) fn is_top(&self) -> bool {
        matches!(self.trigger, Some(Trigger::Api))
    }
}

/// The calls that are one and the same across attempts, in order.
fn attempts(story: &Story) -> impl Iterator<Item = Vec<&Waited>> {
    let mut same = BTreeMap::<(&str, String), Vec<&Waited>>::new();
    for waited in story.waits.values() {
        if let Some((_, request)) = waited.call() {
            let asked = serde_json::to_string(request).expect("plain data");
            same.entry((&waited.wait.task, asked)).or_default().push(waited);
        }
    }
    same.into_values()
}

/// The same key while the outcome is unknown, a new one after a definite failure, and never one
/// that anything else has.
fn keys(story: &Story) -> impl Iterator<Item = String> {
    let mut wrongs = vec![];
    let mut taken = BTreeSet::new();
    for attempts in attempts(story) {
        let mut own = BTreeSet::new();
        for pair in attempts.windows(2) {
            let [(before, request), (after, _)] =
                [pair[0], pair[1]].map(|w| w.call().expect("one"));
            let is_child = matches!(request, Request::Workflow { r#await: true, .. });
            let is_unknown = match &pair[0].ending {
                Some(Ending::Unknown(_)) => true,
                Some(Ending::Dropped) => !is_child,
                _ => false,
            };
            if is_unknown != (before == after) {
                let (id, next) = (pair[0].wait.id, pair[1].wait.id);
                let how = if is_unknown { "another key" } else { "the same key" };
                wrongs.push(format!(
                    "wait {next} has {how} as {id}, which ended {:?}",
                    pair[0].ending
                ));
            }
        }
        own.extend(attempts.iter().filter_map(|waited| waited.call()).map(|(key, _)| key));
        wrongs.extend(own.intersection(&taken).map(|key| format!("two calls have the key {key}")));
        taken.extend(own);
    }
    wrongs.into_iter()
}

/// What arrived outside is what the log says was asked for, and whatever was answered arrived.
fn ledger(state: &State) -> Vec<String> {
    let mut wrongs = vec![];
    let mut arrived = BTreeMap::<(Uuid, u32), bool>::new();
    for made in &state.outside.ledger {
        let (execution, wait) = made.wait;
        *arrived.entry(made.wait).or_default() |= made.is_done;
        let story = state.record.executions.get(&execution);
        let Some(waited) = story.and_then(|story| story.waits.get(&wait)) else {
            wrongs.push(format!("nobody asked for the call under {}", made.key));
            continue;
        };
        let key = waited.call().map(|(key, _)| format!("{execution}.{key}"));
        if key.as_deref() != Some(&made.key) {
            wrongs.push(format!("a call of wait {wait} came under {}, not {key:?}", made.key));
        }
        if waited.opened > made.head {
            wrongs.push(format!("the call under {} was made before it was in the log", made.key));
        }
    }
    for (id, story) in &state.record.executions {
        for waited in story.waits.values() {
            let is_http = matches!(waited.call(), Some((_, Request::Http(_))));
            let done = arrived.get(&(*id, waited.wait.id));
            let is_missing = match &waited.ending {
                Some(Ending::Succeeded) => done != Some(&true),
                Some(Ending::Failed(_)) => done.is_none(),
                _ => false,
            };
            if is_http && is_missing {
                wrongs.push(format!("{}: wait {} was never made", short(*id), waited.wait.id));
            }
        }
    }
    wrongs
}
