//! I3, I5 and I6: versions and positions.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::Event;
use crate::history::{History, Moment, Outcome};

/// I3: the versions of each stream are 1, 2, 3 and so on, in the order of positions.
pub(super) fn versions(log: &[Event]) -> Vec<String> {
    let mut last: HashMap<Uuid, i64> = HashMap::new();
    let mut wrong = vec![];
    for Event { stream, version, position, .. } in log {
        let last = last.entry(*stream).or_default();
        if *version != *last + 1 {
            wrong.push(format!("{stream} has version {version} after {last}, at {position}"));
        }
        *last = *version;
    }
    wrong
}

/// I5: positions are 1, 2, 3 and so on.
pub(super) fn gaps(log: &[Event]) -> Vec<String> {
    let pairs = log.iter().zip(std::iter::once(0).chain(log.iter().map(|event| event.position)));
    let gaps = pairs.filter(|(event, before)| event.position != before + 1);
    gaps.map(|(event, before)| format!("position {} follows {before}", event.position)).collect()
}

/// I6: an append that was sent after the answer to another has the greater position. One that is
/// sent several times counts from its first sending to its first answer.
pub(super) fn real_time(history: &History) -> Vec<String> {
    // By its first event: when it was sent, when it was answered, and its position.
    let mut appends: BTreeMap<Uuid, (Moment, Option<(Moment, i64)>)> = BTreeMap::new();
    for op in &history.ops {
        let Some(id) = op.intent.parts.iter().find_map(|part| part.ids.first()) else { continue };
        let (invoked, answer) = appends.entry(*id).or_insert((op.invoked, None));
        *invoked = op.invoked.min(*invoked);
        if let Outcome::Ok { answered, position: Some(position), .. } = op.outcome {
            let earlier = answer.is_none_or(|(before, _)| answered < before);
            *answer = if earlier { Some((answered, position)) } else { *answer };
        }
    }
    let done = appends.into_values().filter_map(|(invoked, answer)| Some((invoked, answer?)));
    let mut sent: Vec<(Moment, (Moment, i64))> = done.collect();
    sent.sort_unstable();
    let mut answers: Vec<(Moment, i64)> = sent.iter().map(|(_, answer)| *answer).collect();
    answers.sort_unstable();
    let mut answers = answers.into_iter().peekable();
    let (mut highest, mut wrong) = (0, vec![]);
    for (invoked, (_, position)) in sent {
        while let Some((_, before)) = answers.next_if(|(answered, _)| *answered < invoked) {
            highest = highest.max(before);
        }
        if position <= highest {
            wrong.push(format!("{position} was given to an append sent after {highest} was told"));
        }
    }
    wrong
}
