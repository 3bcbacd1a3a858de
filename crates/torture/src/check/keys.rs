//! I16: idempotency keys.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::Event;
use crate::history::{History, Outcome};

/// I16: whoever sends a command again under its key gets the same answer, whoever sends another
/// under the key is refused, and of all that was sent under a key one thing is in the log.
pub(super) fn answers(history: &History, log: &[Event]) -> Vec<String> {
    type Answer<'a> = (u8, Option<i64>, &'a [i64]);
    let stored: HashSet<Uuid> = log.iter().map(|event| event.id).collect();
    let mut answers: HashMap<&str, Answer<'_>> = HashMap::new();
    let mut effects: HashMap<&str, HashSet<Uuid>> = HashMap::new();
    let mut wrong = vec![];
    for op in &history.ops {
        let Some((key, body)) = &op.intent.key else { continue };
        let first = op.intent.parts.iter().find_map(|part| part.ids.first());
        if let Some(id) = first.filter(|id| stored.contains(id)) {
            effects.entry(key).or_default().insert(*id);
        }
        let Outcome::Ok { position, versions, .. } = &op.outcome else { continue };
        let answer = (*body, *position, &**versions);
        let before = answers.entry(key).or_insert(answer);
        if *before != answer {
            wrong.push(format!("key {key} was answered {before:?} and then {answer:?}"));
        }
    }
    let twice = effects.into_iter().filter(|(_, ids)| ids.len() > 1);
    wrong.extend(twice.map(|(key, ids)| format!("key {key} had {} effects", ids.len())));
    wrong
}
