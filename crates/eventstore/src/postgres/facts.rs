//! What events say, as it was decided here: remembered for less long than the events, because it takes more room.

use std::collections::VecDeque;
use std::sync::Arc;

use domain::Fact;

use crate::Position;

/// How many bytes facts have at most.
const MOST_BYTES: usize = 32 * 1024 * 1024;
/// What an object of one member takes, at most: a node of a `BTreeMap` has room for eleven.
const OBJECT: usize = 640;
/// What another member or item takes.
const ITEM: usize = 64;

/// The facts of some events, in the order of their positions.
#[derive(Debug, Default)]
pub(super) struct Facts {
    facts: VecDeque<Kept>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    position: Position,
    fact: Arc<Fact>,
    bytes: usize,
}

impl Facts {
    /// Keeps what the newest event says, whose fields are this JSON.
    pub(super) fn push(&mut self, position: Position, fact: Arc<Fact>, json: &str) {
        let bytes = room(json);
        self.bytes += bytes;
        self.facts.push_back(Kept { position, fact, bytes });
        while self.bytes > MOST_BYTES {
            self.forget_first();
        }
    }

    /// What the event at a position says, if that is still known.
    pub(super) fn at(&self, position: Position) -> Option<Arc<Fact>> {
        let nth = self.facts.binary_search_by_key(&position, |kept| kept.position).ok()?;
        Some(self.facts[nth].fact.clone())
    }

    /// Forgets what events up to a position say.
    pub(super) fn forget_upto(&mut self, position: Position) {
        while self.facts.front().is_some_and(|first| first.position <= position) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(first) = self.facts.pop_front() {
            self.bytes -= first.bytes;
        }
    }
}

/// How many bytes the tree of a JSON text takes, at most.
pub(super) fn room(json: &str) -> usize {
    let of = |byte| match byte {
        b'{' => OBJECT,
        b',' | b'[' => ITEM,
        _ => 1,
    };
    json.bytes().map(of).sum()
}

#[cfg(test)]
mod tests {
    use domain::subject;

    use super::*;

    fn fact() -> Arc<Fact> {
        Arc::new(Fact::Subject(subject::Event::Erased {}))
    }

    fn known(facts: &Facts) -> Vec<Position> {
        (0..10).filter(|position| facts.at(*position).is_some()).collect()
    }

    #[test]
    fn what_an_event_said_is_known_by_its_position_until_it_is_forgotten() {
        let mut facts = Facts::default();
        for position in [2, 3, 5, 6] {
            facts.push(position, fact(), "{}");
        }
        assert_eq!(known(&facts), [2, 3, 5, 6]);
        facts.forget_upto(4);
        assert_eq!(known(&facts), [5, 6]);
    }

    #[test]
    fn trees_are_counted_by_what_they_take_and_not_by_their_text() {
        let mut facts = Facts::default();
        let objects = format!("[{}]", vec!["{}"; MOST_BYTES / OBJECT / 3].join(","));
        assert!(objects.len() < MOST_BYTES / 500);
        for position in 1..=9 {
            facts.push(position, fact(), &objects);
        }
        assert_eq!(known(&facts), [8, 9]);
    }
}
