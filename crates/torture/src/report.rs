//! What rounds came to, for people.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::check::{self, Invariant, Violation};
use crate::history::{History, Outcome};
use crate::nemesis::Fault;

/// How many violations of a round are told in full.
pub(crate) const TOLD: usize = 5;

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
        let read = pages.map(|page| page.events.len()).sum();
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
        let faults = self.0.iter().flat_map(|round| &round.faults);
        let faults = faults.map(|(fault, count)| (format!("{} {fault:?}", fault.number()), *count));
        let broken: Vec<_> = self.0.iter().map(Round::broken).collect();
        out.write_str(&tables(faults, &check::OF_LOGS, &broken))
    }
}

/// Which faults happened how often, and in how many rounds which promises were broken.
pub(crate) fn tables(
    happened: impl Iterator<Item = (String, u32)>,
    invariants: &[Invariant],
    broken: &[Vec<Invariant>],
) -> String {
    let mut faults = BTreeMap::<String, u32>::new();
    for (fault, count) in happened {
        *faults.entry(fault).or_default() += count;
    }
    let rounds = broken.len();
    let mut lines = vec![];
    if !faults.is_empty() {
        lines.extend(["| fault | injected |", "|---|---:|"].map(str::to_owned));
        lines.extend(faults.iter().map(|(fault, count)| format!("| {fault} | {count} |")));
        lines.push(String::new());
    }
    lines.extend(["| invariant | broken | of rounds |", "|---|---:|---:|"].map(str::to_owned));
    lines.extend(invariants.iter().map(|invariant| {
        let broken = broken.iter().filter(|round| round.contains(invariant)).count();
        format!("| {invariant} | {broken} | {rounds} |")
    }));
    lines.join("\n") + "\n"
}
