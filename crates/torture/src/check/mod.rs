//! What must hold of a history and the log that is there at the end. Each invariant is a pure
//! function; their numbers are those of docs/reliability.md.

mod appends;
mod keys;
mod order;
mod readers;
#[cfg(test)]
mod tests;

use std::fmt;

use uuid::Uuid;

use crate::history::History;

/// An event of the log at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its place in the log.
    pub(crate) position: i64,
    /// Its stream.
    pub(crate) stream: Uuid,
    /// Its place there.
    pub(crate) version: i64,
    /// Its identity.
    pub(crate) id: Uuid,
    /// Whether its body is what was sent.
    pub(crate) is_intact: bool,
}

/// The promises that are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Invariant {
    /// No acknowledged append is lost.
    I1,
    /// Nothing is there that nobody asked for, or that was refused.
    I2,
    /// The versions of a stream are contiguous from 1.
    I3,
    /// Of those who expect the same version, one wins.
    I4,
    /// Positions have no gaps.
    I5,
    /// Positions are in the order of acknowledgement.
    I6,
    /// No reader skips, repeats or reorders.
    I7,
    /// What a reader is told is what the log says, and so is what a second fold of it makes.
    I8,
    /// No read model claims to be further than the log.
    I9,
    /// Whatever was started ends, once.
    I10,
    /// A step takes effect once inside; outside it is called at least once, under one key for as long
    /// as nobody knows what came of it.
    I11,
    /// No timer fires before its time by the database's clock, and none is forgotten.
    I12,
    /// A key stands for one command, with one effect and one answer.
    I16,
    /// Nothing is written for a slice by who has it no more.
    I17,
    /// No tenant is told of another's.
    I18,
    /// The audit verifies what was not tampered with, and names what was.
    I20,
    /// What was accepted has completed, faulted, been cancelled or still runs, and all count alike.
    I21,
    /// Who is told to stop answers what it was asked.
    I22,
}

impl fmt::Display for Invariant {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, out)
    }
}

/// Those that are checked of the log alone.
pub(crate) const OF_LOGS: [Invariant; 8] = [
    Invariant::I1,
    Invariant::I2,
    Invariant::I3,
    Invariant::I4,
    Invariant::I5,
    Invariant::I6,
    Invariant::I7,
    Invariant::I16,
];

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Which.
    pub(crate) invariant: Invariant,
    /// Where, and how.
    pub(crate) what: String,
}

/// Everything that does not hold. `log` is in the order of positions.
pub(crate) fn check(history: &History, log: &[Event]) -> Vec<Violation> {
    let checks: [(Invariant, Vec<String>); 8] = [
        (Invariant::I1, appends::lost(history, log)),
        (Invariant::I2, appends::phantoms(history, log)),
        (Invariant::I3, order::versions(log)),
        (Invariant::I4, appends::winners(history)),
        (Invariant::I5, order::gaps(log)),
        (Invariant::I6, order::real_time(history)),
        (Invariant::I7, readers::skips(history, log)),
        (Invariant::I16, keys::answers(history, log)),
    ];
    let each = |(invariant, found): (Invariant, Vec<String>)| {
        found.into_iter().map(move |what| Violation { invariant, what })
    };
    checks.into_iter().flat_map(each).collect()
}
