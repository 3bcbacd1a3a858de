//! The newest events of the log, kept in memory: all who follow it in one process ask for them within
//! the same second, and what is once in the log never changes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::{Position, Recorded};

/// How many events are kept at most.
const MOST: usize = 10_000;
/// How many bytes their bodies have at most.
const MOST_BYTES: usize = 16 * 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Kept>);

/// Events that follow each other without a gap.
#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Arc<Recorded>>,
    bytes: usize,
}

impl Recent {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What comes right after a position, up to another, as far as it is kept; nothing if the log ends
    /// before what is kept.
    pub(super) fn events(&self, after: Position, upto: Position, head: Position) -> Vec<Recorded> {
        let found: Vec<Arc<Recorded>> = {
            let kept = self.lock();
            if kept.events.back().is_none_or(|last| last.position > head) {
                return vec![];
            }
            kept.between(after, upto).cloned().collect()
        };
        found.iter().map(|event| Recorded::clone(event)).collect()
    }

    /// The streams of the events after a position up to another, one for each event, if all are kept.
    pub(super) fn streams(&self, after: Position, upto: Position) -> Option<Vec<Uuid>> {
        let streams: Vec<Uuid> =
            self.lock().between(after, upto).map(|event| event.stream).collect();
        let wanted = usize::try_from(upto.saturating_sub(after)).ok()?;
        (streams.len() == wanted).then_some(streams)
    }

    /// Keeps nothing any more: it was not what the log has.
    pub(super) fn forget(&self) {
        *self.lock() = Kept::default();
    }

    /// Keeps what was read at the end of the log.
    pub(super) fn keep(&self, events: &[Recorded]) {
        let mut kept = self.lock();
        for event in events {
            kept.add(event);
        }
        while kept.events.len() > MOST || kept.bytes > MOST_BYTES {
            let Some(oldest) = kept.events.pop_front() else { return };
            kept.bytes -= oldest.body.get().len();
        }
    }
}

impl Kept {
    fn between(&self, after: Position, upto: Position) -> impl Iterator<Item = &Arc<Recorded>> {
        let first = self.events.front().map_or(Position::MAX, |event| event.position);
        let skipped = (after + 1).checked_sub(first).and_then(|skip| usize::try_from(skip).ok());
        let count = usize::try_from(upto.saturating_sub(after)).unwrap_or(usize::MAX);
        self.events.iter().skip(skipped.unwrap_or(usize::MAX)).take(count)
    }

    fn add(&mut self, event: &Recorded) {
        match self.events.back().map(|last| last.position + 1) {
            Some(next) if event.position < next => return,
            Some(next) if event.position > next => *self = Self::default(),
            Some(_) | None => {}
        }
        self.bytes += event.body.get().len();
        self.events.push_back(Arc::new(event.clone()));
    }
}

#[cfg(test)]
mod tests {
    use domain::scenario::NOON;
    use domain::{Actor, Id};
    use serde_json::value::RawValue;

    use super::*;
    use crate::Metadata;

    fn event(position: Position) -> Recorded {
        let uuid = |number: i64| Uuid::from_u128(u128::from(number.unsigned_abs()));
        Recorded {
            deployment: "test".into(),
            position,
            id: uuid(position),
            category: "test".to_owned(),
            stream: uuid(position % 3),
            version: 1,
            name: "test".to_owned(),
            schema: 1,
            salt: [0; 32],
            body: RawValue::from_string("{}".to_owned()).expect("JSON"),
            opened: None,
            meta: Metadata {
                tenant: Id::from_uuid(uuid(1)),
                actor: Actor::System,
                correlation: uuid(1),
                causation: uuid(1),
                traceparent: None,
                at: NOON,
            },
            recorded_at: None,
        }
    }

    fn events(range: std::ops::RangeInclusive<Position>) -> Vec<Recorded> {
        range.map(event).collect()
    }

    const NONE: &[Position] = &[];

    /// The positions of what is told.
    fn kept(recent: &Recent, after: Position, upto: Position, head: Position) -> Vec<Position> {
        recent.events(after, upto, head).iter().map(|event| event.position).collect()
    }

    #[test]
    fn what_is_kept_is_told_up_to_where_it_ends_and_never_past_a_gap() {
        let recent = Recent::default();
        assert_eq!(kept(&recent, 0, 10, 99), NONE);
        recent.keep(&events(5..=8));
        recent.keep(&events(7..=9));
        assert_eq!(kept(&recent, 3, 9, 99), NONE, "4 is not there");
        assert_eq!(kept(&recent, 4, 7, 99), (5..=7).collect::<Vec<_>>());
        assert_eq!(kept(&recent, 7, 20, 99), (8..=9).collect::<Vec<_>>());
        assert_eq!(kept(&recent, 9, 20, 99), NONE);
        assert_eq!(kept(&recent, 4, 7, 8), NONE, "the log has lost its end");
        assert_eq!(recent.streams(6, 9).map(|streams| streams.len()), Some(3));
        assert_eq!(recent.streams(6, 10), None, "10 is not there");
        recent.keep(&events(12..=12));
        assert_eq!(kept(&recent, 4, 9, 99), NONE, "what stood before a gap is forgotten");
        assert_eq!(kept(&recent, 11, 12, 99), (12..=12).collect::<Vec<_>>());
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let recent = Recent::default();
        let most = Position::try_from(MOST).expect("fits");
        recent.keep(&events(1..=most + 10));
        assert_eq!(kept(&recent, 9, 20, most + 10), NONE);
        assert_eq!(kept(&recent, 10, 20, most + 10), (11..=20).collect::<Vec<_>>());
    }
}
