//! I7: what tail readers saw.

use super::Event;
use crate::history::{History, Page, Tail};

/// I7: each reader was given exactly the events of the log from where it began to where it ended,
/// each page going on where the last one ended.
pub(super) fn skips(history: &History, log: &[Event]) -> Vec<String> {
    history.tails.iter().filter_map(|tail| skipped(tail, log)).collect()
}

fn skipped(tail: &Tail, log: &[Event]) -> Option<String> {
    let name = &tail.name;
    let mut at = tail.pages.first()?.after;
    let mut place = log.partition_point(|event| event.position <= at);
    for Page { after, events, .. } in &tail.pages {
        if *after != at {
            return Some(format!("reader {name} stood at {at} and went on from {after}"));
        }
        for (position, id) in events {
            let due = log.get(place).map(|event| (event.position, event.id));
            if due != Some((*position, *id)) {
                let due = due.map_or(0, |(due, _)| due);
                return Some(format!("reader {name} was given {position} when {due} was due"));
            }
            (at, place) = (*position, place + 1);
        }
    }
    None
}
