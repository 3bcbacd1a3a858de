//! What rounds came to, for people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::check::{self, Invariant, Violation};
use crate::history::{History, Outcome};
use crate::nemesis::Fault;

/// How many violations of a round are told in full.
const TOLD: usize = 5;

/// What one round came to.
#[derive(Debug)]
pub(crate) struct Round {
    seed: u64,
    ok: usize,
    fail: usize,
    unknown: usize,
    read: usize,
    events: usize,
    faults: BTreeMap<Fault, u32>,
    cuts: u64,
    violations: Vec<Violation>,
}

impl Round {
    /// Counts a round.
    pub(crate) fn of(
        seed: u64,
        history: &History,
        events: usize,
        (faults, cuts): (BTreeMap<Fault, u32>, u64),
        violations: Vec<Violation>,
    ) -> Self {
        let (mut ok, mut fail, mut unknown) = (0, 0, 0);
        for op in &history.ops {
            match op.outcome {
                Outcome::Ok { .. } => ok += 1,
                Outcome::Fail(_) => fail += 1,
                Outcome::Info => unknown += 1,
            }
        }
        let pages = history.tails.iter().flat_map(|tail| &tail.pages);
        let read = pages.map(|(_, events)| events.len()).sum();
        Self { seed, ok, fail, unknown, read, events, faults, cuts, violations }
    }

    /// What was broken in it.
    pub(crate) fn broken(&self) -> Vec<Invariant> {
        let broken: BTreeSet<_> = self.violations.iter().map(|found| found.invariant).collect();
        broken.into_iter().collect()
    }
}

impl fmt::Display for Round {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, ok, fail, unknown, read, events, cuts, .. } = self;
        let faults: u32 = self.faults.values().sum();
        write!(
            out,
            "seed {seed}: {ok} appends stored, {fail} refused, {unknown} unknown; {events} events, \
             {read} reads of one; {faults} faults, {cuts} appends cut; {} violations",
            self.violations.len()
        )?;
        for Violation { invariant, what } in self.violations.iter().take(TOLD) {
            write!(out, "\n  {invariant}: {what}")?;
        }
        Ok(())
    }
}

/// What all rounds came to.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Round>);

impl Report {
    pub(crate) fn add(&mut self, round: Round) {
        self.0.push(round);
    }

    /// Whether every promise was kept, and something was promised.
    pub(crate) fn is_clean(&self) -> bool {
        self.0.iter().all(|round| round.violations.is_empty() && round.ok > 0 && round.read > 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = |count: fn(&Round) -> usize| self.0.iter().map(count).sum::<usize>();
        writeln!(
            out,
            "\n{} rounds: {} appends stored, {} refused, {} unknown; {} events\n",
            self.0.len(),
            total(|round| round.ok),
            total(|round| round.fail),
            total(|round| round.unknown),
            total(|round| round.events),
        )?;
        writeln!(out, "| fault | injected |\n|---|---:|")?;
        let mut faults = BTreeMap::<Fault, u32>::new();
        for (fault, count) in self.0.iter().flat_map(|round| &round.faults) {
            *faults.entry(*fault).or_default() += count;
        }
        for (fault, count) in faults {
            writeln!(out, "| {} {fault:?} | {count} |", fault.number())?;
        }
        writeln!(out, "\n| invariant | broken | of rounds |\n|---|---:|---:|")?;
        for invariant in check::ALL {
            let broken = self.0.iter().filter(|round| round.broken().contains(&invariant)).count();
            writeln!(out, "| {invariant} | {broken} | {} |", self.0.len())?;
        }
        Ok(())
    }
}
