//! The newest events of the log, kept in memory: all who follow it in one process ask for them within
//! the same second, and what is once in the log never changes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::subject::Subject;
use domain::{Aggregate, Fact};
use uuid::Uuid;

use super::facts::{Facts, room};
use crate::personal::{ERASED, Opened};
use crate::{Position, Recalled, Recorded, StreamId, Version};

/// How many events are kept at most.
const MOST: usize = 10_000;
/// How many bytes they have at most.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// How many bytes events may have that wait for those before them: groups are stored one after the other,
/// but whoever stored them may come to tell in any order.
const MOST_EARLY_BYTES: usize = 4 * 1024 * 1024;
/// What an event takes beside its body, roughly.
const OVERHEAD: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Kept>);

/// Events that follow each other without a gap.
#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Arc<Recorded>>,
    bytes: usize,
    /// Where the events of each stream stand, in order. Two streams may have the same id.
    streams: HashMap<Uuid, VecDeque<Position>>,
    /// What they say, as far as it was said here; they themselves do not have it.
    facts: Facts,
    /// Events behind a gap.
    early: BTreeMap<Position, Arc<Recorded>>,
    early_bytes: usize,
}

impl Recent {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The position of the last event that is kept; 0 if none is.
    pub(super) fn end(&self) -> Position {
        self.lock().events.back().map_or(0, |last| last.position)
    }

    /// What comes right after a position, up to another that the log has, as far as it is kept.
    pub(super) fn events(&self, after: Position, upto: Position) -> Vec<Recorded> {
        let found: Vec<Told> = {
            let kept = self.lock();
            kept.between(after, upto).map(|event| kept.told(event)).collect()
        };
        found.iter().map(Told::event).collect()
    }

    /// The streams of the events after a position up to another, one for each event, if all are kept.
    pub(super) fn streams(&self, after: Position, upto: Position) -> Option<Vec<Uuid>> {
        let streams: Vec<Uuid> =
            self.lock().between(after, upto).map(|event| event.stream).collect();
        let wanted = usize::try_from(upto.saturating_sub(after)).ok()?;
        (streams.len() == wanted).then_some(streams)
    }

    /// What is kept of a stream after a version, if what comes right after it is, or the version itself.
    pub(super) fn recall(&self, stream: StreamId, after: Version) -> Option<Recalled> {
        let (found, upto): (Vec<Told>, Position) = {
            let kept = self.lock();
            let of_stream = |event: &&Arc<Recorded>| {
                event.category == stream.category && event.meta.tenant == stream.tenant
            };
            let positions = kept.streams.get(&stream.id)?.iter();
            let found = positions.filter_map(|position| kept.at(*position)).filter(of_stream);
            let found = found.map(|event| kept.told(event));
            (found.collect(), kept.events.back()?.position)
        };
        if found.first()?.0.version > after + 1 {
            return None;
        }
        let events = found.iter().filter(|Told(event, _)| event.version > after);
        Some(Recalled { events: events.map(Told::event).collect(), upto })
    }

    /// Keeps nothing any more: it was not what the log has.
    pub(super) fn forget(&self) {
        *self.lock() = Kept::default();
    }

    /// Keeps what was stored, or read at the end of the log.
    pub(super) fn keep(&self, events: Vec<Recorded>) {
        let events: Vec<_> = events.into_iter().map(Arc::new).collect();
        let mut kept = self.lock();
        for event in events {
            kept.add(event);
        }
        kept.shrink();
    }
}

/// An event, and what it says if that is known; both shared with those that are kept.
struct Told(Arc<Recorded>, Option<Arc<Fact>>);

impl Told {
    fn event(&self) -> Recorded {
        let Self(event, fact) = self;
        Recorded { fact: fact.clone(), ..Recorded::clone(event) }
    }
}

impl Kept {
    fn told(&self, event: &Arc<Recorded>) -> Told {
        Told(event.clone(), self.facts.at(event.position))
    }

    /// The event at a position.
    fn at(&self, position: Position) -> Option<&Arc<Recorded>> {
        let first = self.events.front()?.position;
        self.events.get(usize::try_from(position.checked_sub(first)?).ok()?)
    }

    fn between(&self, after: Position, upto: Position) -> impl Iterator<Item = &Arc<Recorded>> {
        let first = self.events.front().map_or(Position::MAX, |event| event.position);
        let skipped = (after + 1).checked_sub(first).and_then(|skip| usize::try_from(skip).ok());
        let count = usize::try_from(upto.saturating_sub(after)).unwrap_or(usize::MAX);
        self.events.iter().skip(skipped.unwrap_or(usize::MAX)).take(count)
    }

    /// Takes an event in, and those that waited for it.
    fn add(&mut self, event: Arc<Recorded>) {
        let next = self.events.back().map_or(event.position, |last| last.position + 1);
        if event.position > next {
            self.early_bytes += size(&event);
            if let Some(same) = self.early.insert(event.position, event) {
                self.early_bytes -= size(&same);
            }
            if self.early_bytes > MOST_EARLY_BYTES {
                // Nobody reads here what another process stored.
                *self = Self::default();
            }
        } else if event.position == next {
            self.push(event);
            self.take_early();
        } else if self.at(event.position).is_some_and(|same| same.id != event.id) {
            // The database has lost its end since, and has got another one.
            *self = Self::default();
            self.push(event);
        }
    }

    fn take_early(&mut self) {
        while let Some(first) = self.early.first_entry() {
            let next = self.events.back().map_or(Position::MAX, |last| last.position + 1);
            if *first.key() > next {
                return;
            }
            let event = first.remove();
            self.early_bytes -= size(&event);
            if event.position == next {
                self.push(event);
            }
        }
    }

    fn push(&mut self, mut event: Arc<Recorded>) {
        if erases(&event) {
            self.forget_what_was_said();
        }
        if event.fact.is_some()
            && let Some(fact) = Arc::make_mut(&mut event).fact.take()
        {
            self.facts.push(event.position, fact, &event.data());
        }
        self.bytes += size(&event);
        self.streams.entry(event.stream).or_default().push_back(event.position);
        self.events.push_back(event);
    }

    /// What is known of somebody who was erased is not to stay in memory.
    fn forget_what_was_said(&mut self) {
        (self.events, self.streams, self.facts, self.bytes) = Default::default();
        for event in self.early.values_mut() {
            let event = Arc::make_mut(event);
            (event.opened, event.fact) = (None, None);
        }
        self.early_bytes = self.early.values().map(|event| size(event)).sum();
    }

    fn shrink(&mut self) {
        while self.events.len() > MOST || self.bytes > MOST_BYTES {
            let Some(oldest) = self.events.pop_front() else { return };
            self.bytes -= size(&oldest);
            self.facts.forget_upto(oldest.position);
            let Some(positions) = self.streams.get_mut(&oldest.stream) else { continue };
            positions.pop_front();
            if positions.is_empty() {
                self.streams.remove(&oldest.stream);
            }
        }
    }
}

fn size(event: &Recorded) -> usize {
    let fact = event.fact.as_ref().map_or(0, |_| room(&event.data()));
    OVERHEAD + event.body.get().len() + event.opened.as_ref().map_or(0, Opened::size) + fact
}

/// Whether it says that the key of somebody was destroyed.
fn erases(event: &Recorded) -> bool {
    event.category == Subject::NAME && event.name == ERASED
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
            fact: None,
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
    fn kept(recent: &Recent, after: Position, upto: Position) -> Vec<Position> {
        recent.events(after, upto).iter().map(|event| event.position).collect()
    }

    #[test]
    fn what_is_kept_is_told_up_to_where_it_ends_and_never_past_a_gap() {
        let recent = Recent::default();
        assert_eq!(kept(&recent, 0, 10), NONE);
        recent.keep(events(5..=8));
        recent.keep(events(7..=9));
        assert_eq!(kept(&recent, 3, 9), NONE, "4 is not there");
        assert_eq!(kept(&recent, 4, 7), (5..=7).collect::<Vec<_>>());
        assert_eq!(kept(&recent, 7, 20), (8..=9).collect::<Vec<_>>());
        assert_eq!(kept(&recent, 9, 20), NONE);
        assert_eq!(recent.end(), 9);
        assert_eq!(recent.streams(6, 9).map(|streams| streams.len()), Some(3));
        assert_eq!(recent.streams(6, 10), None, "10 is not there");
        recent.keep(events(12..=12));
        assert_eq!(kept(&recent, 9, 12), NONE, "10 and 11 are not there");
        recent.keep(events(10..=11));
        assert_eq!(kept(&recent, 4, 12), (5..=12).collect::<Vec<_>>());
    }

    #[test]
    fn what_stood_before_a_gap_that_stays_is_forgotten() {
        let recent = Recent::default();
        recent.keep(events(1..=2));
        let large = "x".repeat(MOST_EARLY_BYTES / 2);
        let body = RawValue::from_string(format!("\"{large}\"")).expect("JSON");
        let large = |position| Recorded { body: body.clone(), ..event(position) };
        recent.keep(vec![large(4)]);
        assert_eq!(kept(&recent, 0, 2), [1, 2]);
        recent.keep(vec![large(5)]);
        assert_eq!(kept(&recent, 0, 9), NONE);
        recent.keep(events(6..=7));
        assert_eq!(kept(&recent, 5, 9), [6, 7]);
    }

    #[test]
    fn another_event_at_a_place_that_is_known_is_begun_from() {
        let recent = Recent::default();
        recent.keep(events(1..=9));
        let other = Recorded { id: Uuid::from_u128(77), ..event(5) };
        recent.keep(vec![other]);
        recent.keep(events(6..=6));
        assert_eq!(kept(&recent, 0, 5), NONE);
        assert_eq!(kept(&recent, 4, 9), [5, 6]);
    }

    #[test]
    fn of_a_stream_is_told_what_surely_is_all_of_it() {
        let recent = Recent::default();
        // Versions of the stream 1: 1 at position 1, 2 at 4, 3 at 7 and so on.
        let event = |position| Recorded { version: (position + 2) / 3, ..event(position) };
        let stream = |tenant: u128| StreamId {
            tenant: Id::from_uuid(Uuid::from_u128(tenant)),
            category: "test",
            id: Uuid::from_u128(1),
        };
        recent.keep((3..=8).map(event).collect());
        let recall = |tenant, after| {
            let Recalled { events, upto } = recent.recall(stream(tenant), after)?;
            Some((events.iter().map(|event| event.position).collect::<Vec<_>>(), upto))
        };
        assert_eq!(recall(1, 0), None, "its first event is not there");
        assert_eq!(recall(1, 1), Some((vec![4, 7], 8)));
        assert_eq!(recall(1, 3), Some((vec![], 8)), "the third is the last");
        assert_eq!(recall(2, 1), None, "it is another tenant's");
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let recent = Recent::default();
        let most = Position::try_from(MOST).expect("fits");
        recent.keep(events(1..=most + 10));
        assert_eq!(kept(&recent, 9, 20), NONE);
        assert_eq!(kept(&recent, 10, 20), (11..=20).collect::<Vec<_>>());
    }
}
