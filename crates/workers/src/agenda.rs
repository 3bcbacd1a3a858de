//! What is to be done when, in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use domain::{Id, Tenant, Timestamp};
use eventstore::Weights;
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
    /// Whether it went wrong before, in a way that may harm others.
    pub(crate) is_suspect: bool,
}

/// What else there is to know of a piece of work.
#[derive(Debug)]
struct Place {
    partition: i16,
    due_at: Timestamp,
    is_suspect: bool,
}

/// Work by the time it is due. Each piece stands in it once.
#[derive(Debug)]
pub(crate) struct Agenda {
    weights: Weights,
    tenants: BTreeMap<Id<Tenant>, BTreeSet<(Timestamp, Key)>>,
    by_key: HashMap<Key, Place>,
    /// Whose work was taken last, and how many more pieces of it before the next to come is another's, so
    /// that nobody waits behind all that somebody else has to do.
    last: Option<(Id<Tenant>, usize)>,
}

impl Agenda {
    /// One of which tenants get as much as they weigh.
    pub(crate) fn new(weights: Weights) -> Self {
        let (tenants, by_key) = Default::default();
        Self { weights, tenants, by_key, last: None }
    }

    /// Puts a piece of work down for its time, instead of any time it stood there for.
    pub(crate) fn put(&mut self, item: Item) {
        self.remove(&item.key);
        let of_tenant = self.tenants.entry(item.key.tenant).or_default();
        of_tenant.insert((item.due_at, item.key.clone()));
        let Item { key, partition, due_at, is_suspect } = item;
        self.by_key.insert(key, Place { partition, due_at, is_suspect });
    }

    /// Strikes a piece of work out.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Item> {
        let Place { partition, due_at, is_suspect } = self.by_key.remove(key)?;
        let entry = (due_at, key.clone());
        if let Some(of_tenant) = self.tenants.get_mut(&key.tenant) {
            of_tenant.remove(&entry);
            if of_tenant.is_empty() {
                self.tenants.remove(&key.tenant);
            }
        }
        Some(Item { key: entry.1, partition, due_at, is_suspect })
    }

    /// Whether nothing stands in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Whether a piece of work stands in it.
    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.by_key.contains_key(key)
    }

    /// Keeps only what satisfies a condition.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Key, i16) -> bool) {
        let gone = self.by_key.iter().filter(|(key, place)| !keep(key, place.partition));
        let gone: Vec<Key> = gone.map(|(key, _)| key.clone()).collect();
        for key in &gone {
            self.remove(key);
        }
    }

    /// Takes a piece of work that is due: the first of the tenant whose turn it is, of those that may
    /// have more done.
    pub(crate) fn next(
        &mut self,
        now: Timestamp,
        may: impl Fn(Id<Tenant>) -> bool,
    ) -> Option<Item> {
        let after = match self.last {
            None => Bound::Unbounded,
            Some((last, 0)) => Bound::Excluded(last),
            Some((last, _)) => Bound::Included(last),
        };
        let behind = self.tenants.range((after, Bound::Unbounded));
        let around = behind.chain(self.tenants.iter());
        let mut due = around.filter_map(|(tenant, work)| {
            let (due_at, key) = work.first()?;
            (*due_at <= now && may(*tenant)).then(|| key.clone())
        });
        let key = due.next()?;
        drop(due);
        let more = match self.last {
            Some((last, more)) if last == key.tenant && more > 0 => more,
            Some(_) | None => self.weights.of(key.tenant),
        };
        self.last = Some((key.tenant, more - 1));
        self.remove(&key)
    }

    /// When the next piece of work is due of a tenant that may have more done.
    pub(crate) fn due_at(&self, may: impl Fn(Id<Tenant>) -> bool) -> Option<Timestamp> {
        let tenants = self.tenants.iter().filter(|(tenant, _)| may(**tenant));
        tenants.filter_map(|(_, work)| work.first()).map(|(due_at, _)| *due_at).min()
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use domain::scenario::NOON;

    use super::*;

    fn item(number: i32, after: i64) -> Item {
        item_of(0, number, after)
    }

    fn item_of(tenant: u128, number: i32, after: i64) -> Item {
        let key = Key {
            tenant: Id::from_uuid(Uuid::from_u128(tenant)),
            category: "execution".to_owned(),
            stream: Uuid::nil(),
            item: number,
        };
        let due_at = NOON + TimeDelta::seconds(after);
        Item { key, partition: 0, due_at, is_suspect: false }
    }

    #[test]
    fn what_is_due_comes_in_the_order_of_time_and_nothing_comes_early() {
        let mut agenda = Agenda::new(Weights::default());
        for one in [item(1, 5), item(2, -5), item(3, 0)] {
            agenda.put(one);
        }
        let taken: Vec<i32> =
            std::iter::from_fn(|| agenda.next(NOON, |_| true)).map(|item| item.key.item).collect();
        assert_eq!(taken, [2, 3]);
        assert_eq!(agenda.due_at(|_| true), Some(NOON + TimeDelta::seconds(5)));
    }

    #[test]
    fn what_is_put_down_twice_is_done_once_at_the_later_said_time() {
        let mut agenda = Agenda::new(Weights::default());
        agenda.put(item(1, -5));
        agenda.put(item(1, 5));
        assert_eq!(agenda.next(NOON, |_| true), None);
        agenda.remove(&item(1, 0).key);
        assert_eq!(agenda.due_at(|_| true), None);
    }

    #[test]
    fn tenants_take_turns_however_much_one_of_them_has_to_do() {
        let mut agenda = Agenda::new(Weights::default());
        for number in 0..100 {
            agenda.put(item_of(1, number, -100));
        }
        agenda.put(item_of(2, 1, -1));
        agenda.put(item_of(3, 1, 5));
        let mut next =
            || agenda.next(NOON, |_| true).map(|item| item.key.tenant.as_uuid().as_u128());
        assert_eq!([next(), next(), next(), next()], [Some(1), Some(2), Some(1), Some(1)]);
    }

    #[test]
    fn whoever_weighs_more_has_more_done_in_a_row() {
        let tenant = |number| Id::from_uuid(Uuid::from_u128(number));
        let three = std::num::NonZeroU16::new(3).expect("not 0");
        let mut agenda = Agenda::new([(tenant(2), three)].into_iter().collect());
        for number in 0..10 {
            agenda.put(item_of(1, number, -100));
            agenda.put(item_of(2, number, -1));
        }
        let taken = |agenda: &mut Agenda| {
            let next = std::iter::from_fn(|| agenda.next(NOON, |_| true));
            next.take(9).map(|item| item.key.tenant.as_uuid().as_u128()).collect::<Vec<_>>()
        };
        assert_eq!(taken(&mut agenda), [1, 2, 2, 2, 1, 2, 2, 2, 1]);
        // What it does not use of its turn is not waited for.
        agenda.retain(|key, _| key.tenant == tenant(1) || key.item == 9);
        assert_eq!(taken(&mut agenda), [2, 1, 1, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn who_may_not_have_more_done_is_passed_by() {
        let mut agenda = Agenda::new(Weights::default());
        agenda.put(item_of(1, 1, -100));
        agenda.put(item_of(2, 1, -1));
        let full = Id::from_uuid(Uuid::from_u128(1));
        let taken = agenda.next(NOON, |tenant| tenant != full).expect("is due");
        assert_ne!(taken.key.tenant, full);
        assert_eq!(agenda.next(NOON, |tenant| tenant != full), None);
        assert_eq!(agenda.next(NOON, |_| true).map(|item| item.key.tenant), Some(full));
    }
}
