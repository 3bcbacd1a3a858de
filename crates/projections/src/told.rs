//! An execution as its own events tell it: what the read models will show, without waiting for them.

use std::collections::BTreeMap;

use eventstore::Recorded;
use serde_json::Value;

use crate::executions::{Detail, Executions};
use crate::storage::refetched;
use crate::tasks::Tasks;
use crate::view::{evolved, grouped};
use crate::{Error, Seen, View};

/// The execution whose events these are, all of them from the first; nothing if they are of none.
///
/// The folds are those of the read models, so that both say the same.
pub fn execution(events: &[Recorded]) -> Result<Option<Detail>, Error> {
    let seen = events.iter().map(Seen::of).collect::<Result<Vec<_>, _>>()?;
    let Some(((_, id), row)) = rows::<Executions>(&seen, false)?.pop_first() else {
        return Ok(None);
    };
    let tasks = rows::<Tasks>(&seen, row.erased)?;
    let tasks = tasks.into_iter().map(|((.., run), row)| row.shown(run));
    Ok(Some(row.shown(id, tasks.collect())))
}

/// The rows of a view after some events, as they are fetched when they were saved.
fn rows<V: View>(seen: &[Seen], are_erased: bool) -> sqlx::Result<BTreeMap<V::Key, V::Row>> {
    let events: Vec<&Seen> = seen.iter().collect();
    let mut shown = BTreeMap::new();
    for (key, row) in evolved::<V>(grouped::<V>(&events), BTreeMap::new()) {
        let Some(mut row) = row else { continue };
        if let (true, Some(forget)) = (are_erased, V::FORGET) {
            forget(&mut row);
        }
        let row = refetched(&V::TABLE, &key, &row)?;
        shown.insert(key, row);
    }
    Ok(shown)
}

/// A column of JSON text as a value.
pub(crate) fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}
