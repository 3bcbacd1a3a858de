//! Bugs that are put in on purpose: a simulation that has never found anything proves nothing.

use eventstore::{Append, Expected, Recorded};
use serde_json::{Value, value::RawValue};

use super::{House, Options, run};

/// A bug, and where it is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// The log does not ask for the epoch of a lease.
    NoEpochs,
    /// The log does not ask for the version that an append was decided on.
    NoVersions,
    /// Whoever sends a request makes a key for it, each time.
    NewKeyForEachSending,
    /// The engine makes a key for each attempt, also while the outcome of the last one is unknown.
    NewKeyForEachAttempt,
    /// Workers ask the clock of their machine what time it is.
    OwnClocks,
    /// Whoever folds an execution forgets that a wait was answered.
    AnswersTwice,
    /// Whoever is given a slice trusts what they remember from before.
    OldMemories,
}

impl Bug {
    /// What the log makes of an append.
    pub(super) fn spoil(bug: Option<Self>, mut append: Append) -> Append {
        match bug {
            Some(Self::NoEpochs) => append.fence = None,
            Some(Self::NoVersions) => {
                for part in &mut append.streams {
                    part.expected = Expected::Any;
                }
            }
            Some(Self::NewKeyForEachAttempt) => {
                for draft in append.streams.iter_mut().flat_map(|part| &mut part.events) {
                    rewrite(&mut draft.body, name_keys);
                }
            }
            Some(
                Self::NewKeyForEachSending
                | Self::OwnClocks
                | Self::AnswersTwice
                | Self::OldMemories,
            )
            | None => {}
        }
        append
    }

    /// What a reader makes of events.
    pub(super) fn misread(bug: Option<Self>, mut rows: Vec<Recorded>) -> Vec<Recorded> {
        if bug == Some(Self::AnswersTwice) {
            for row in &mut rows {
                let mut body = row.body.get().to_owned();
                rewrite(&mut body, forget_answers);
                row.body = RawValue::from_string(body).expect("JSON");
            }
        }
        rows
    }
}

fn rewrite(body: &mut String, change: impl Fn(&mut Value)) {
    let mut value = serde_json::from_str(body).expect("JSON");
    change(&mut value);
    *body = value.to_string();
}

fn name_keys(turn: &mut Value) {
    let opened = turn.get_mut("opened").and_then(Value::as_array_mut);
    for wait in opened.into_iter().flatten() {
        let id = wait["id"].to_string();
        if let Some(key) = wait.pointer_mut("/what/call/key") {
            *key = Value::String(id);
        }
    }
}

fn forget_answers(turn: &mut Value) {
    if turn.pointer("/cause/answered").is_some() {
        turn["closed"] = Value::Array(vec![]);
    }
}

/// Looks for a bug by the seeds, in their order, until it shows in the way that is expected.
fn found(bug: Bug, most: u64, how: &str) {
    let house = House::build();
    let found = (0..most).find_map(|seed| {
        let wrongs = run(&house, &Options { seed, bug: Some(bug), is_told: false }).wrongs;
        wrongs.into_iter().find(|wrong| wrong.contains(how)).map(|wrong| (seed, wrong))
    });
    let (seed, wrong) = found.unwrap_or_else(|| panic!("{bug:?} is not found by {most} seeds"));
    println!("{bug:?} is found by seed {seed}: {wrong}");
}

#[test]
fn a_log_that_does_not_ask_for_epochs_is_found() {
    found(Bug::NoEpochs, 500, "which somebody else has by now");
}

#[test]
fn a_log_that_does_not_ask_for_versions_is_found() {
    found(Bug::NoVersions, 500, "and not open");
}

#[test]
fn a_new_key_for_each_sending_is_found() {
    found(Bug::NewKeyForEachSending, 500, "came under");
}

#[test]
fn a_new_key_while_the_outcome_is_unknown_is_found() {
    found(Bug::NewKeyForEachAttempt, 500, "has another key");
}

#[test]
fn timers_by_the_clocks_of_workers_are_found() {
    found(Bug::OwnClocks, 500, "early");
}

#[test]
fn an_answer_that_is_taken_twice_is_found() {
    found(Bug::AnswersTwice, 500, "and not open");
}
