//! Rows that a projector wrote a moment ago, as they stand in their tables: an execution that goes on soon
//! is not fetched again.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::{Table, broken};
use crate::checkpoint::Stamp;

/// How many bytes of rows of one table make a generation; there are two of them.
const GENERATION: usize = 2 * 1024 * 1024;
/// What a row takes beside its text, roughly.
const OVERHEAD: usize = 256;

/// Rows of one view.
#[derive(Default)]
pub(crate) struct Kept {
    tables: HashMap<&'static str, Box<dyn Any + Send>>,
}

/// Rows of one table. What was not written lately is forgotten, a generation at a time.
struct Rows<K, R> {
    young: BTreeMap<K, R>,
    old: BTreeMap<K, R>,
    /// How many bytes the young ones have.
    bytes: usize,
}

impl<K, R> Default for Rows<K, R> {
    fn default() -> Self {
        Self { young: BTreeMap::new(), old: BTreeMap::new(), bytes: 0 }
    }
}

impl Kept {
    /// Hands out those rows that are here, and tells the keys of the others.
    pub(super) fn hand_out<'k, K, R>(
        &mut self,
        table: &Table,
        keys: impl Iterator<Item = &'k K>,
    ) -> sqlx::Result<(BTreeMap<K, R>, Vec<&'k K>)>
    where
        K: Ord + Clone + Send + 'static,
        R: Send + 'static,
    {
        let rows = self.rows::<K, R>(table)?;
        let (mut found, mut missing) = (BTreeMap::new(), vec![]);
        for key in keys {
            match rows.young.remove(key).or_else(|| rows.old.remove(key)) {
                Some(row) => drop(found.insert(key.clone(), row)),
                None => missing.push(key),
            }
        }
        Ok((found, missing))
    }

    /// Keeps a row as it was written, in so many bytes; or forgets one that is gone.
    pub(super) fn keep<K, R>(
        &mut self,
        table: &Table,
        key: K,
        row: Option<(R, usize)>,
    ) -> sqlx::Result<()>
    where
        K: Ord + Send + 'static,
        R: Send + 'static,
    {
        let rows = self.rows::<K, R>(table)?;
        rows.old.remove(&key);
        let Some((row, size)) = row else {
            rows.young.remove(&key);
            return Ok(());
        };
        rows.young.insert(key, row);
        rows.bytes += size + OVERHEAD;
        if rows.bytes > GENERATION {
            rows.old = std::mem::take(&mut rows.young);
            rows.bytes = 0;
        }
        Ok(())
    }

    /// The rows of a table, whose types are always the same.
    fn rows<K: Send + 'static, R: Send + 'static>(
        &mut self,
        table: &Table,
    ) -> sqlx::Result<&mut Rows<K, R>> {
        let rows = self.tables.entry(table.name).or_insert_with(|| Box::<Rows<K, R>>::default());
        let rows = rows.downcast_mut();
        rows.ok_or_else(|| broken(format!("rows of {} are of two types", table.name)))
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.tables.keys()).finish()
    }
}

/// The rows of all views of one projector. Those of a view are good for as long as nobody but this
/// projector has written its checkpoint, for with that everybody who changes rows writes it: another
/// projector, or a rebuild that exchanges the tables.
#[derive(Debug, Default)]
pub(crate) struct Shelf(Mutex<HashMap<&'static str, (Stamp, Kept)>>);

impl Shelf {
    /// Takes the rows of a view whose checkpoint has this stamp.
    pub(crate) fn take(&self, view: &'static str, stamp: Stamp) -> Kept {
        let taken = self.lock().remove(view).filter(|(known, _)| *known == stamp);
        taken.map(|(_, kept)| kept).unwrap_or_default()
    }

    /// Puts the rows of a view back, whose checkpoint was written.
    pub(crate) fn put(&self, view: &'static str, stamp: Stamp, kept: Kept) {
        self.lock().insert(view, (stamp, kept));
    }

    /// The checkpoint of a view was written, and no row changed.
    pub(crate) fn pass(&self, view: &str, before: Stamp, after: Stamp) {
        if let Some((known, _)) = self.lock().get_mut(view)
            && *known == before
        {
            *known = after;
        }
    }

    /// Somebody else is at work: what is known here is soon not so any more.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<&'static str, (Stamp, Kept)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};

    use super::*;

    const TABLE: Table = Table { name: "things", key: &["id"] };

    fn handed_out(kept: &mut Kept, keys: &[u32]) -> (Vec<u32>, Vec<u32>) {
        let (found, missing) = kept.hand_out::<u32, String>(&TABLE, keys.iter()).expect("one type");
        (found.into_keys().collect(), missing.into_iter().copied().collect())
    }

    fn keep(kept: &mut Kept, key: u32, size: Option<usize>) {
        let row = size.map(|size| (key.to_string(), size));
        kept.keep(&TABLE, key, row).expect("one type");
    }

    #[test]
    fn a_row_is_handed_out_once_and_not_when_it_is_gone() {
        let mut kept = Kept::default();
        (1..=3).for_each(|key| keep(&mut kept, key, Some(10)));
        keep(&mut kept, 2, None);
        assert_eq!(handed_out(&mut kept, &[1, 2, 4]), (vec![1], vec![2, 4]));
        assert_eq!(handed_out(&mut kept, &[1, 3]), (vec![3], vec![1]));
    }

    #[test]
    fn what_was_not_written_lately_is_forgotten() {
        let mut kept = Kept::default();
        keep(&mut kept, 1, Some(10));
        keep(&mut kept, 2, Some(GENERATION));
        keep(&mut kept, 3, Some(10));
        assert_eq!(handed_out(&mut kept, &[1]), (vec![1], vec![]), "one generation ago");
        keep(&mut kept, 4, Some(GENERATION));
        assert_eq!(handed_out(&mut kept, &[2, 3, 4]), (vec![3, 4], vec![2]));
    }

    #[test]
    fn rows_are_good_for_as_long_as_nobody_else_has_written_the_checkpoint() {
        let shelf = Shelf::default();
        let stamp = |number| (number, DateTime::UNIX_EPOCH);
        let put = |number| {
            let mut kept = Kept::default();
            keep(&mut kept, 1, Some(10));
            shelf.put("things", stamp(number), kept);
        };
        let is_there = |stamp| {
            let mut kept = shelf.take("things", stamp);
            !handed_out(&mut kept, &[1]).0.is_empty()
        };
        put(1);
        assert!(is_there(stamp(1)));
        assert!(!is_there(stamp(1)), "somebody has it");
        put(2);
        assert!(!is_there(stamp(3)));
        assert!(!is_there(stamp(2)), "what is not good any more is forgotten");
        put(4);
        shelf.pass("things", stamp(4), stamp(5));
        shelf.pass("things", stamp(6), stamp(7));
        assert!(is_there(stamp(5)));
        put(8);
        assert!(
            !is_there((8, DateTime::UNIX_EPOCH + TimeDelta::microseconds(1))),
            "given out again"
        );
        put(9);
        shelf.clear();
        assert!(!is_there(stamp(9)));
    }
}
