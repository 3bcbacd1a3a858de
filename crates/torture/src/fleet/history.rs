//! What callers asked of the fleet, what they were told, and what went wrong when: a line a record, in
//! the manner of [`crate::history`].

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Fault;
use super::documents::Kind;
use crate::history::Moment;

/// A line of the history.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Record {
    /// A server is about to be asked.
    Invoke { at: Moment, op: u64, server: usize, ask: Ask },
    /// It accepted; this execution is what came of it.
    Ok { at: Moment, op: u64, execution: Uuid },
    /// Nothing was done, and nothing will be.
    Fail { at: Moment, op: u64, why: Why },
    /// Nobody knows whether anything was done.
    Info { at: Moment, op: u64, is_answered: bool, why: String },
    /// Something went wrong, on purpose.
    Fault(Window),
}

/// An execution that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ask {
    /// The idempotency key.
    pub(super) key: String,
    pub(super) kind: Kind,
}

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Why {
    /// Nobody listened: nothing was sent.
    NobodyThere,
    /// It was refused, which a right command never is.
    Refused(String),
}

/// A fault, from before it was done until it was healed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    pub(super) fault: Fault,
    /// Which engine or server, if one.
    pub(super) target: Option<usize>,
    pub(super) from: Moment,
    pub(super) until: Moment,
}

/// A request with what came of it.
#[derive(Debug, Clone)]
pub(super) struct Op {
    pub(super) invoked: Moment,
    /// When it was answered or given up.
    pub(super) ended: Moment,
    pub(super) server: usize,
    pub(super) ask: Ask,
    pub(super) outcome: Outcome,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Ok(Uuid),
    Fail(Why),
    Info { is_answered: bool, why: String },
}

/// All that was written.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) ops: Vec<Op>,
    pub(super) windows: Vec<Window>,
}

impl History {
    pub(super) fn read(path: &Path) -> Result<Self> {
        Self::parse(&std::fs::read_to_string(path)?)
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        let (mut history, mut open) = (Self::default(), HashMap::new());
        for (line, nth) in text.lines().zip(1..) {
            let record = serde_json::from_str(line).with_context(|| format!("line {nth}"))?;
            let (at, op, outcome) = match record {
                Record::Invoke { at, op, server, ask } => {
                    open.insert(op, history.ops.len());
                    let why = "no answer was noted".to_owned();
                    let outcome = Outcome::Info { is_answered: false, why };
                    history.ops.push(Op { invoked: at, ended: Moment::MAX, server, ask, outcome });
                    continue;
                }
                Record::Fault(window) => {
                    history.windows.push(window);
                    continue;
                }
                Record::Ok { at, op, execution } => (at, op, Outcome::Ok(execution)),
                Record::Fail { at, op, why } => (at, op, Outcome::Fail(why)),
                Record::Info { at, op, is_answered, why } => {
                    (at, op, Outcome::Info { is_answered, why })
                }
            };
            let place = open.remove(&op).with_context(|| format!("line {nth}: never asked"))?;
            history.ops[place].ended = at;
            history.ops[place].outcome = outcome;
        }
        Ok(history)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_answer_is_unknown_and_what_went_wrong_is_kept() {
        let ask = Ask { key: "k".to_owned(), kind: Kind::Plain };
        let window = Window { fault: Fault::KillPostgres, target: None, from: 1, until: 2 };
        let records = [
            Record::Invoke { at: 1, op: 1, server: 0, ask: ask.clone() },
            Record::Invoke { at: 2, op: 2, server: 1, ask },
            Record::Fault(window),
            Record::Ok { at: 3, op: 2, execution: Uuid::nil() },
        ];
        let lines = records.map(|record| serde_json::to_string(&record).expect("plain data"));
        let history = History::parse(&lines.join("\n")).expect("it can be read");
        assert!(matches!(history.ops[0].outcome, Outcome::Info { is_answered: false, .. }));
        assert_eq!(history.ops[1].outcome, Outcome::Ok(Uuid::nil()));
        assert_eq!(history.windows, [window]);
    }
}
