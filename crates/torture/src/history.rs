//! What clients asked, what they were told, and what readers saw: JSON, one line a record, one file
//! a process. Lines are written at once, so that a process that is killed has left them behind.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Nanoseconds of the clock that all processes of this machine share and nobody sets.
pub(crate) type Moment = u64;

/// Reads that clock.
pub(crate) fn now() -> Moment {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every system has this clock");
    let part = |value: i64| u64::try_from(value).unwrap_or_default();
    part(time.tv_sec()) * 1_000_000_000 + part(time.tv_nsec())
}

/// A line of a history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Record {
    /// An append is about to be sent.
    Invoke { at: Moment, op: u64, intent: Intent },
    /// It is stored, says the store. Without a position, the client was not told one.
    Ok { at: Moment, op: u64, position: Option<i64>, versions: Vec<i64> },
    /// It is not, and never will be.
    Fail { at: Moment, op: u64, why: Refusal },
    /// Nobody knows.
    Info { at: Moment, op: u64, why: String },
    /// A reader that stood at `after` was given these.
    Saw { at: Moment, after: i64, events: Vec<(i64, Uuid)> },
}

/// What an append asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// The streams, each once.
    pub(crate) parts: Vec<Part>,
    /// The idempotency key of its command, and a number that stands for the command's body.
    pub(crate) key: Option<(String, u8)>,
}

/// Events for one stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// The stream.
    pub(crate) stream: Uuid,
    /// The version it must have; any, if there is none.
    pub(crate) expected: Option<i64>,
    /// The new events.
    pub(crate) ids: Vec<Uuid>,
}

/// Why an append was refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Refusal {
    /// The stream has this version.
    Conflict { stream: Uuid, actual: i64 },
    /// The idempotency key belongs to another command, or to this one in another shape.
    KeyUsed,
    /// Something else that promises no effect.
    Other(String),
}

/// Writes a history. Clones write to the same file.
#[derive(Debug, Clone)]
pub(crate) struct Writer(Arc<Mutex<File>>);

impl Writer {
    /// Begins a history.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create_new(true).append(true).open(path);
        let file = file.with_context(|| format!("making {}", path.display()))?;
        Ok(Self(Arc::new(Mutex::new(file))))
    }

    /// Adds a record with one system call: whatever happens to this process, the kernel has it.
    pub(crate) fn add(&self, record: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line).context("writing the history")
    }
}

/// One append with what came of it.
#[derive(Debug, Clone)]
pub(crate) struct Op {
    /// When it was sent.
    pub(crate) invoked: Moment,
    /// What it asked for.
    pub(crate) intent: Intent,
    /// What came of it.
    pub(crate) outcome: Outcome,
}

/// What came of an append.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// The store promised that it is there.
    Ok { answered: Moment, position: Option<i64>, versions: Vec<i64> },
    /// The store promised that it is not.
    Fail(Refusal),
    /// It may be there or not: the answer was lost, or its client was killed.
    Info,
}

/// What one incarnation of a reader was given, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tail {
    /// Whose it is.
    pub(crate) name: String,
    /// Its pages.
    pub(crate) pages: Vec<Page>,
}

/// What a reader was given at once.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    /// When it had it.
    pub(crate) at: Moment,
    /// Where it stood.
    pub(crate) after: i64,
    /// Positions and ids.
    pub(crate) events: Vec<(i64, Uuid)>,
}

/// Everything that was asked and seen in a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    /// All appends.
    pub(crate) ops: Vec<Op>,
    /// All readers.
    pub(crate) tails: Vec<Tail>,
}

impl History {
    /// Reads all histories in a directory.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let mut history = Self::default();
        let mut paths: Vec<_> = fs::read_dir(dir)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        paths.retain(|path| path.extension().is_some_and(|end| end == "jsonl"));
        paths.sort();
        for path in paths {
            let text = fs::read_to_string(&path)?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            history.add(&name, &text).with_context(|| format!("reading {}", path.display()))?;
        }
        Ok(history)
    }

    /// As it was at a moment: answers that came later had not been given.
    pub(crate) fn before(mut self, moment: Moment) -> Self {
        for op in &mut self.ops {
            if matches!(op.outcome, Outcome::Ok { answered, .. } if answered >= moment) {
                op.outcome = Outcome::Info;
            }
        }
        for tail in &mut self.tails {
            tail.pages.retain(|page| page.at < moment);
        }
        self
    }

    /// Adds what one process wrote. A last line without an end is one that it was killed over.
    pub(crate) fn add(&mut self, name: &str, text: &str) -> Result<()> {
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut open: HashMap<u64, usize> = HashMap::new();
        let mut tail = Tail { name: name.to_owned(), pages: vec![] };
        for (line, nth) in whole.lines().zip(1..) {
            let record = serde_json::from_str(line).with_context(|| format!("line {nth}"))?;
            let (op, outcome) = match record {
                Record::Invoke { at, op, intent } => {
                    open.insert(op, self.ops.len());
                    self.ops.push(Op { invoked: at, intent, outcome: Outcome::Info });
                    continue;
                }
                Record::Saw { at, after, events } => {
                    tail.pages.push(Page { at, after, events });
                    continue;
                }
                Record::Ok { at, op, position, versions } => {
                    (op, Outcome::Ok { answered: at, position, versions })
                }
                Record::Fail { op, why, .. } => (op, Outcome::Fail(why)),
                Record::Info { op, .. } => (op, Outcome::Info),
            };
            let place = open.remove(&op).with_context(|| format!("line {nth}: never asked"))?;
            self.ops[place].outcome = outcome;
        }
        if !tail.pages.is_empty() {
            self.tails.push(tail);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_append_without_an_answer_is_unknown_and_a_torn_line_is_left_out() {
        let intent = Intent { parts: vec![], key: None };
        let line =
            |record: &Record| serde_json::to_string(record).expect("it is plain data") + "\n";
        let mut text = line(&Record::Invoke { at: 1, op: 1, intent: intent.clone() });
        text += &line(&Record::Invoke { at: 2, op: 2, intent });
        text += &line(&Record::Ok { at: 3, op: 1, position: Some(7), versions: vec![] });
        text += "{\"type\":\"ok\",\"at\":4,\"op\":2,";
        let mut history = History::default();
        history.add("one", &text).expect("it can be read");
        let outcomes: Vec<_> = history.ops.into_iter().map(|op| op.outcome).collect();
        let ok = Outcome::Ok { answered: 3, position: Some(7), versions: vec![] };
        assert_eq!(outcomes, [ok, Outcome::Info]);
    }

    #[test]
    fn answers_and_pages_after_a_moment_had_not_been_given_at_it() {
        let ok = |answered| Outcome::Ok { answered, position: None, versions: vec![] };
        let op = |answered| {
            let intent = Intent { parts: vec![], key: None };
            Op { invoked: 1, intent, outcome: ok(answered) }
        };
        let page = |at| Page { at, after: 0, events: vec![] };
        let tails = vec![Tail { name: "one".to_owned(), pages: vec![page(4), page(5)] }];
        let history = History { ops: vec![op(4), op(5)], tails }.before(5);
        let outcomes: Vec<_> = history.ops.iter().map(|op| op.outcome.clone()).collect();
        assert_eq!(outcomes, [ok(4), Outcome::Info]);
        assert_eq!(history.tails[0].pages.len(), 1);
    }

    #[test]
    fn an_answer_to_nothing_is_no_history() {
        let text = "{\"type\":\"info\",\"at\":4,\"op\":2,\"why\":\"x\"}\n";
        assert!(History::default().add("one", text).is_err());
    }
}
