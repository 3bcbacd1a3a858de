//! What must hold of the fleet in the end: each promise a pure function of what callers were told, what
//! the outside system saw, what went wrong, and the log.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use testkit::outside::Told;
use uuid::Uuid;

use super::Fault;
use super::history::{Op, Outcome, Why, Window};
use super::log::{Execution, Micros, Wait, What};
use crate::check::{Invariant, Violation};
use crate::history::Moment;

/// How long a fault may be felt after it is healed: until slices are shared out again.
pub(super) const SETTLES: Duration = Duration::from_secs(6);
/// How late a timer may be, whatever happens: a freeze, a lease that nobody renews, and more besides.
const LATEST: Micros = 60_000_000;

/// Everything that was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) ops: Vec<Op>,
    pub(super) windows: Vec<Window>,
    pub(super) executions: BTreeMap<Uuid, Execution>,
    pub(super) calls: Vec<Call>,
    /// Microseconds by the database's clock when the clock of moments stood at zero.
    pub(super) zero: Micros,
}

/// A call as the outside system saw it.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) execution: Uuid,
    pub(super) step: String,
    pub(super) key: String,
    pub(super) at: Moment,
    pub(super) told: Option<Told>,
}

/// What there is to say besides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// How many calls there were, and how many of them for a wait that had called already.
    pub(crate) calls: usize,
    pub(crate) extra: usize,
    /// How late timers were, in microseconds, those that no fault touched apart; in order.
    pub(crate) quiet: Vec<Micros>,
    pub(crate) touched: Vec<Micros>,
    /// How many requests a server that stopped has neither answered nor done.
    pub(crate) unread: usize,
}

/// Everything that does not hold, and what else there is to say.
pub(super) fn check(seen: &Seen) -> (Vec<Violation>, Figures) {
    let mut figures = Figures::default();
    let checks: [(Invariant, Vec<String>); 9] = [
        (Invariant::I1, lost(seen)),
        (Invariant::I2, phantoms(seen)),
        (Invariant::I16, answers(&seen.ops)),
        (Invariant::I10, ends(&seen.executions)),
        (Invariant::I11, keys(&seen.executions)),
        (Invariant::I11, children(&seen.executions)),
        (Invariant::I11, ledger(seen, &mut figures)),
        (Invariant::I12, timers(seen, &mut figures)),
        (Invariant::I22, cut_off(seen, &mut figures)),
    ];
    let each = |(invariant, found): (Invariant, Vec<String>)| {
        found.into_iter().map(move |what| Violation { invariant, what })
    };
    (checks.into_iter().flat_map(each).collect(), figures)
}

/// What was accepted: executions by key.
fn accepted(ops: &[Op]) -> impl Iterator<Item = (&str, Uuid)> {
    ops.iter().filter_map(|op| match op.outcome {
        Outcome::Ok(execution) => Some((op.ask.key.as_str(), execution)),
        Outcome::Fail(_) | Outcome::Info { .. } => None,
    })
}

/// I1: what was accepted is there.
fn lost(seen: &Seen) -> Vec<String> {
    let there = |id: &Uuid| seen.executions.get(id).is_some_and(|one| one.is_asked_for);
    let lost = accepted(&seen.ops).filter(|(_, id)| !there(id));
    lost.map(|(_, id)| format!("execution {id} was accepted and is not there")).collect()
}

/// I2: what is there was asked for, once for each key. (Whatever had no answer was asked again.)
fn phantoms(seen: &Seen) -> Vec<String> {
    let known: BTreeSet<Uuid> = accepted(&seen.ops).map(|(_, id)| id).collect();
    let asked_for = seen.executions.iter().filter(|(_, one)| one.is_asked_for);
    let phantoms = asked_for.filter(|(id, _)| !known.contains(*id));
    phantoms.map(|(id, one)| format!("nobody knows of execution {id} of {:?}", one.key)).collect()
}

/// I16: a key stands for one execution, an execution for one key, and nobody is refused.
fn answers(ops: &[Op]) -> Vec<String> {
    let (mut keys, mut ids, mut found) = (BTreeMap::new(), BTreeMap::new(), vec![]);
    for (key, id) in accepted(ops) {
        let (first, first_key) = (*keys.entry(key).or_insert(id), *ids.entry(id).or_insert(key));
        if first != id || first_key != key {
            found.push(format!("key {key} is {first} and {id}, which is of {first_key}"));
        }
    }
    for op in ops {
        if let Outcome::Fail(Why::Refused(why)) = &op.outcome {
            found.push(format!("a right command was refused: {why}"));
        }
    }
    found
}

/// I10: each execution has one end, and nothing after it.
fn ends(executions: &BTreeMap<Uuid, Execution>) -> Vec<String> {
    let wrong = executions.iter().filter(|(_, one)| one.ends.len() != 1 || one.after_end > 0);
    wrong
        .map(|(id, one)| format!("{id} ends with {:?}, {} after", one.ends, one.after_end))
        .collect()
}

/// I11, in the log: after an attempt of which nobody knows what came, the key stays; otherwise each wait
/// has its own.
fn keys(executions: &BTreeMap<Uuid, Execution>) -> Vec<String> {
    let mut found = vec![];
    for (id, execution) in executions {
        let mut used = BTreeSet::new();
        let mut unsettled = BTreeMap::<&str, &str>::new();
        for wait in execution.waits.values() {
            let What::Http { key } = &wait.what else { continue };
            match unsettled.remove(wait.step.as_str()) {
                Some(earlier) if earlier != key => {
                    found.push(format!("{id}: {} had {earlier}, and now has {key}", wait.step));
                }
                None if used.contains(key) => found.push(format!("{id}: {key} is used again")),
                Some(_) | None => {}
            }
            used.insert(key);
            if wait.closed.as_ref().is_some_and(|(how, _)| how == "unknown" || how == "dropped") {
                unsettled.insert(&wait.step, key);
            }
        }
    }
    found
}

/// I11, of executions that others start: one for a wait, and none for no wait.
fn children(executions: &BTreeMap<Uuid, Execution>) -> Vec<String> {
    let (mut found, mut started) = (vec![], BTreeSet::new());
    for (id, execution) in executions.iter().filter(|(_, one)| !one.is_asked_for) {
        let wait =
            execution.parent.and_then(|(parent, wait)| executions.get(&parent)?.waits.get(&wait));
        if wait.is_none_or(|wait| wait.what != What::Workflow) || !started.insert(execution.parent)
        {
            found.push(format!(
                "{id} was started for {:?}, like another or for nothing",
                execution.parent
            ));
        }
    }
    found
}

/// I11, outside: each wait calls under its key and no other.
fn ledger(seen: &Seen, figures: &mut Figures) -> Vec<String> {
    let (mut found, mut by_key) = (vec![], BTreeMap::<&str, Vec<&Call>>::new());
    for call in &seen.calls {
        by_key.entry(&call.key).or_default().push(call);
    }
    figures.calls = seen.calls.len();
    for (id, execution) in &seen.executions {
        for (key, waits) in waits_by_key(execution) {
            let calls = by_key.remove(key).unwrap_or_default();
            figures.extra += calls.len().saturating_sub(waits.len());
            found.extend(calls_of(*id, &waits, &calls, &seen.windows));
        }
    }
    found.extend(by_key.into_keys().map(|key| format!("a call under {key}, which no wait has")));
    found
}

/// The waits of an execution for calls, by their idempotency keys.
fn waits_by_key(execution: &Execution) -> BTreeMap<&str, Vec<&Wait>> {
    let mut waits = BTreeMap::<&str, Vec<&Wait>>::new();
    for wait in execution.waits.values() {
        if let What::Http { key } = &wait.what {
            waits.entry(key).or_default().push(wait);
        }
    }
    waits
}

/// What is wrong with the calls under one key: none although a wait was answered, one that comes from
/// elsewhere, or a further one though nothing went wrong since the one before.
fn calls_of(id: Uuid, waits: &[&Wait], calls: &[&Call], windows: &[Window]) -> Vec<String> {
    let step = waits.first().map(|wait| wait.step.as_str()).unwrap_or_default();
    let mut found = vec![];
    if let Some(strange) = calls.iter().find(|call| call.execution != id || call.step != step) {
        found.push(format!("{step} of {id} has the key of {strange:?}"));
    }
    let is_done = |wait: &&&Wait| wait.closed.as_ref().is_some_and(|(how, _)| how == "succeeded");
    let successes = calls.iter().filter(|call| call.told == Some(Told::Success)).count();
    if successes < waits.iter().filter(is_done).count() {
        found.push(format!("{step} of {id} is done, and nobody was called"));
    }
    let is_groundless = |pair: &&[&Call]| {
        // After "unavailable" or nothing the next attempt calls again, as it should.
        pair[0].told.is_none_or(|told| told == Told::Success)
            && !is_touched(windows, pair[0].at, pair[1].at)
    };
    if let Some(pair) = calls.windows(2).find(is_groundless) {
        found.push(format!("{step} of {id} is called again for no reason: {pair:?}"));
    }
    found
}

/// Whether engines may have felt a fault at some time.
fn is_touched(windows: &[Window], from: Moment, until: Moment) -> bool {
    let settles = u64::try_from(SETTLES.as_nanos()).unwrap_or(u64::MAX);
    windows.iter().any(|window| {
        window.fault.concerns_engines()
            && window.from <= until
            && from <= window.until.saturating_add(settles)
    })
}

/// When the database's clock said so.
fn moment(seen: &Seen, time: Micros) -> Moment {
    u64::try_from(time - seen.zero).unwrap_or_default() * 1_000
}

/// I12: no timer before its time by the database's clock, and none long after it.
fn timers(seen: &Seen, figures: &mut Figures) -> Vec<String> {
    let mut found = vec![];
    for (id, execution) in &seen.executions {
        for (number, wait) in &execution.waits {
            let (What::Timer { due }, Some((how, at))) = (&wait.what, &wait.closed) else {
                continue;
            };
            if how != "fired" {
                continue;
            }
            let late = at - due;
            if !(0..LATEST).contains(&late) {
                found.push(format!("timer {number} of {id} fired {late} µs after its time"));
            }
            if is_touched(&seen.windows, moment(seen, *due), moment(seen, *at)) {
                figures.touched.push(late);
            } else {
                figures.quiet.push(late);
            }
        }
    }
    figures.quiet.sort_unstable();
    figures.touched.sort_unstable();
    found
}

/// I22: whoever is asked to stop answers what it does, unless it was killed before, or had no Postgres.
/// What came on an idle connection just as that was closed was neither answered nor done; no client can
/// tell that from the others, but the log can.
fn cut_off(seen: &Seen, figures: &mut Figures) -> Vec<String> {
    let of_key: BTreeMap<&str, Uuid> = accepted(&seen.ops).collect();
    let mut found = vec![];
    for op in seen.ops.iter().filter(|op| is_cut_off(op, &seen.windows)) {
        let execution = of_key.get(op.ask.key.as_str()).and_then(|id| seen.executions.get(id));
        // It was started while somebody waited for this answer: not when they asked again, and not by
        // whom they had asked the same before.
        let is_only = |other: &Op| {
            std::ptr::eq(other, op) || other.ask.key != op.ask.key || other.invoked > op.ended
        };
        if execution.is_some_and(|one| moment(seen, one.started) <= op.ended)
            && seen.ops.iter().all(is_only)
        {
            let (server, key) = (op.server, &op.ask.key);
            found.push(format!("server {server} did {key} and stopped: {:?}", op.outcome));
        } else {
            figures.unread += 1;
        }
    }
    found
}

/// Whether a server was asked to stop while this was asked of it, nothing else was wrong, and there was
/// no answer.
fn is_cut_off(op: &Op, windows: &[Window]) -> bool {
    let is_its = |window: &&Window| {
        let is_of = window.target.is_none_or(|target| target == op.server);
        is_of && op.invoked <= window.until && window.from <= op.ended
    };
    let during = |fault| windows.iter().filter(is_its).any(|window| window.fault == fault);
    matches!(op.outcome, Outcome::Info { is_answered: false, .. })
        && during(Fault::StopServer)
        && !during(Fault::KillServer)
        && !during(Fault::KillPostgres)
}
