//! I1, I2 and I4: what was promised of appends.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::Event;
use crate::history::{History, Outcome, Refusal};

/// I1: every event of an acknowledged append is where the answer said, as it was sent.
pub(super) fn lost(history: &History, log: &[Event]) -> Vec<String> {
    let by_id: HashMap<Uuid, &Event> = log.iter().map(|event| (event.id, event)).collect();
    let mut wrong = vec![];
    for op in &history.ops {
        let Outcome::Ok { position, versions, .. } = &op.outcome else { continue };
        let mut last = None;
        for (part, version) in op.intent.parts.iter().zip(versions) {
            let first = version - i64::try_from(part.ids.len()).unwrap_or_default() + 1;
            for (id, version) in part.ids.iter().zip(first..) {
                match by_id.get(id) {
                    None => wrong.push(format!("acknowledged event {id} is not in the log")),
                    Some(event) if !event.is_intact => {
                        wrong.push(format!("event {id} has another body than was sent"));
                    }
                    Some(event) if (event.stream, event.version) != (part.stream, version) => {
                        wrong.push(format!(
                            "event {id} was promised as version {version} of {} and is {} of {}",
                            part.stream, event.version, event.stream
                        ));
                    }
                    Some(event) => last = last.max(Some(event.position)),
                }
            }
        }
        if let (Some(position), Some(last)) = (position, last)
            && *position != last
        {
            wrong.push(format!("an append was told position {position} and ends at {last}"));
        }
    }
    wrong
}

/// I2: every event was asked for, once, by somebody who was not refused.
pub(super) fn phantoms(history: &History, log: &[Event]) -> Vec<String> {
    let (mut possible, mut refused) = (HashSet::<&Uuid>::new(), HashSet::<&Uuid>::new());
    for op in &history.ops {
        let ids = op.intent.parts.iter().flat_map(|part| &part.ids);
        match op.outcome {
            Outcome::Fail(_) => refused.extend(ids),
            Outcome::Ok { .. } | Outcome::Info => possible.extend(ids),
        }
    }
    let (mut wrong, mut seen) = (vec![], HashSet::new());
    for Event { id, position, .. } in log {
        if !possible.contains(id) {
            let why = if refused.contains(id) { "was refused" } else { "was never asked for" };
            wrong.push(format!("event {id} at {position} {why}"));
        }
        if !seen.insert(id) {
            wrong.push(format!("event {id} is there again at {position}"));
        }
    }
    wrong
}

/// I4: of different appends that expect the same version of a stream, at most one is acknowledged;
/// and whoever is refused is told another version than the one expected.
pub(super) fn winners(history: &History) -> Vec<String> {
    let mut won: HashMap<(Uuid, i64), &[Uuid]> = HashMap::new();
    let mut wrong = vec![];
    for op in &history.ops {
        for part in &op.intent.parts {
            let Some(expected) = part.expected else { continue };
            match &op.outcome {
                Outcome::Ok { .. } => {
                    let before = won.insert((part.stream, expected), &part.ids);
                    if before.is_some_and(|ids| ids != part.ids) {
                        let stream = part.stream;
                        wrong.push(format!("two appends to {stream} at {expected} both won"));
                    }
                }
                Outcome::Fail(Refusal::Conflict { stream, actual })
                    if *stream == part.stream && *actual == expected =>
                {
                    wrong.push(format!("{stream} is at {actual}, as expected, and was refused"));
                }
                Outcome::Fail(_) | Outcome::Info => {}
            }
        }
    }
    wrong
}
