//! What is to be done when, in memory.

use std::collections::{BTreeSet, HashMap};

use domain::{Id, Tenant, Timestamp};
use uuid::Uuid;

/// Names a piece of work: an open wait of an execution, an unanswered invocation, an unsent
/// notification.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) tenant: Id<Tenant>,
    pub(crate) category: String,
    pub(crate) stream: Uuid,
    pub(crate) item: i32,
}

/// A piece of work and when it is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) key: Key,
    pub(crate) partition: i16,
    pub(crate) due_at: Timestamp,
}

/// Work by the time it is due. Each piece stands in it once.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    by_time: BTreeSet<(Timestamp, Key)>,
    by_key: HashMap<Key, (Timestamp, i16)>,
}

impl Agenda {
    /// Puts a piece of work down for its time, instead of any time it stood there for.
    pub(crate) fn put(&mut self, item: Item) {
        self.remove(&item.key);
        self.by_time.insert((item.due_at, item.key.clone()));
        self.by_key.insert(item.key, (item.due_at, item.partition));
    }

    /// Strikes a piece of work out.
    pub(crate) fn remove(&mut self, key: &Key) {
        if let Some((due_at, _)) = self.by_key.remove(key) {
            self.by_time.remove(&(due_at, key.clone()));
        }
    }

    /// Whether a piece of work stands in it.
    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.by_key.contains_key(key)
    }

    /// Keeps only what satisfies a condition.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Key, i16) -> bool) {
        let gone = |(key, (_, partition)): (&Key, &(Timestamp, i16))| {
            (!keep(key, *partition)).then(|| key.clone())
        };
        let gone: Vec<Key> = self.by_key.iter().filter_map(gone).collect();
        for key in &gone {
            self.remove(key);
        }
    }

    /// Takes the first piece of work that is due.
    pub(crate) fn next(&mut self, now: Timestamp) -> Option<Item> {
        let (due_at, _) = self.by_time.first()?;
        if *due_at > now {
            return None;
        }
        let (due_at, key) = self.by_time.pop_first()?;
        let (_, partition) = self.by_key.remove(&key)?;
        Some(Item { key, partition, due_at })
    }

    /// When the next piece of work is due.
    pub(crate) fn due_at(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(due_at, _)| *due_at)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use domain::scenario::NOON;

    use super::*;

    fn item(number: i32, after: i64) -> Item {
        let key = Key {
            tenant: Id::from_uuid(Uuid::nil()),
            category: "execution".to_owned(),
            stream: Uuid::nil(),
            item: number,
        };
        Item { key, partition: 0, due_at: NOON + TimeDelta::seconds(after) }
    }

    #[test]
    fn what_is_due_comes_in_the_order_of_time_and_nothing_comes_early() {
        let mut agenda = Agenda::default();
        for one in [item(1, 5), item(2, -5), item(3, 0)] {
            agenda.put(one);
        }
        let taken: Vec<i32> =
            std::iter::from_fn(|| agenda.next(NOON)).map(|item| item.key.item).collect();
        assert_eq!(taken, [2, 3]);
        assert_eq!(agenda.due_at(), Some(NOON + TimeDelta::seconds(5)));
    }

    #[test]
    fn what_is_put_down_twice_is_done_once_at_the_later_said_time() {
        let mut agenda = Agenda::default();
        agenda.put(item(1, -5));
        agenda.put(item(1, 5));
        assert_eq!(agenda.next(NOON), None);
        agenda.remove(&item(1, 0).key);
        assert_eq!(agenda.due_at(), None);
    }
}
