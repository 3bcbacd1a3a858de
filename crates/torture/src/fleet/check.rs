//! What must hold of the fleet in the end: each promise a pure function of what callers were told, what
//! the outside system saw, what went wrong, and the log.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use testkit::outside::Told;
use uuid::Uuid;

use super::Fault;
use super::history::{Op, Outcome, Why, Window};
use super::log::{Execution, Micros, What};
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
        (Invariant::I22, cut_off(seen)),
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

/// I11, outside: a call for each wait that was answered, under its key and no other; a further call only
/// if something went wrong since the one before.
fn ledger(seen: &Seen, figures: &mut Figures) -> Vec<String> {
    let (mut found, mut by_key) = (vec![], BTreeMap::<&str, Vec<&Call>>::new());
    for call in &seen.calls {
        by_key.entry(&call.key).or_default().push(call);
    }
    figures.calls = seen.calls.len();
    for (id, execution) in &seen.executions {
        // How many waits there were under each key, and how many of them were answered.
        let mut waits = BTreeMap::<(&str, &str), (usize, usize)>::new();
        for wait in execution.waits.values() {
            let What::Http { key } = &wait.what else { continue };
            let (all, answered) = waits.entry((key, &wait.step)).or_default();
            *all += 1;
            *answered +=
                usize::from(wait.closed.as_ref().is_some_and(|(how, _)| how == "succeeded"));
        }
        for ((key, step), (all, answered)) in waits {
            let calls = by_key.remove(key).unwrap_or_default();
            let is_strange = |call: &&Call| call.execution != *id || call.step != step;
            if calls.iter().any(is_strange) {
                found.push(format!("{key} of {step} came from elsewhere: {calls:?}"));
            }
            let successes = calls.iter().filter(|call| call.told == Some(Told::Success)).count();
            if successes < answered {
                found.push(format!("{key} of {step} is done, and nobody was called"));
            }
            figures.extra += calls.len().saturating_sub(all);
            let mut untouched = calls.windows(2).filter(|pair| {
                let [before, after] = [pair[0], pair[1]];
                // After "unavailable" or nothing the next attempt calls again, as it should.
                before.told.is_none_or(|told| told == Told::Success)
                    && !is_touched(&seen.windows, before.at, after.at)
            });
            if let Some(pair) = untouched.next() {
                found.push(format!("{key} of {step} is called again for no reason: {pair:?}"));
            }
        }
    }
    found.extend(by_key.into_keys().map(|key| format!("a call under {key}, which no wait has")));
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

/// I12: no timer before its time by the database's clock, and none long after it.
fn timers(seen: &Seen, figures: &mut Figures) -> Vec<String> {
    let mut found = vec![];
    let moment =
        |time: Micros| u64::try_from((time - seen.zero).max(0)).unwrap_or_default() * 1_000;
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
            if is_touched(&seen.windows, moment(*due), moment(*at)) {
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

/// I22: whoever is asked to stop answers what it was asked, unless it was killed before, or had no
/// Postgres.
fn cut_off(seen: &Seen) -> Vec<String> {
    let overlaps = |op: &Op, window: &Window| op.invoked <= window.until && window.from <= op.ended;
    let is_of = |op: &Op, window: &Window| window.target.is_none_or(|target| target == op.server);
    let unanswered = seen.ops.iter().filter_map(|op| match &op.outcome {
        Outcome::Info { is_answered: false, why } => Some((op, why)),
        Outcome::Ok(_) | Outcome::Fail(_) | Outcome::Info { .. } => None,
    });
    unanswered
        .filter(|(op, _)| {
            let during = |fault: Fault| {
                let windows = seen.windows.iter().filter(|window| window.fault == fault);
                windows.filter(|window| is_of(op, window)).any(|window| overlaps(op, window))
            };
            during(Fault::StopServer) && !during(Fault::KillServer) && !during(Fault::KillPostgres)
        })
        .map(|(op, why)| {
            format!("server {} stopped and left {} cut off: {why}", op.server, op.ask.key)
        })
        .collect()
}
