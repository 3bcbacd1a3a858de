//! An execution as its own events tell it: what the read models will show, without waiting for them.

use std::collections::BTreeMap;

use eventstore::Recorded;
use serde_json::Value;

use crate::executions::{Detail, Executions};
use crate::storage::refetched;
use crate::tasks::{self, Tasks};
use crate::view::{evolved, grouped};
use crate::{Error, Seen, View};

/// How much events may say to be folded for one answer, in bytes.
const MOST: usize = 1 << 20;

/// The execution whose events these are, all of them from the first; nothing if they are of none, or
/// if the read models have to tell: of a long story, and of one about somebody, because whoever does
/// not follow the log hears of an erasure late.
///
/// The folds are those of the read models, so that both say the same.
pub fn execution(events: &[Recorded]) -> Result<Option<Detail>, Error> {
    let bytes: usize = events.iter().map(|event| event.body.get().len()).sum();
    if bytes > MOST || events.iter().any(|event| event.subject().is_some()) {
        return Ok(None);
    }
    let seen = events.iter().map(Seen::of).collect::<Result<Vec<_>, _>>()?;
    let Some(((_, id), row)) = rows::<Executions>(&seen)?.pop_first() else {
        return Ok(None);
    };
    let tasks = rows::<Tasks>(&seen)?;
    if tasks.len() > tasks::SHOWN {
        return Ok(None);
    }
    let tasks = tasks.into_iter().map(|((.., run), row)| row.shown(run));
    Ok(Some(row.shown(id, tasks.collect())))
}

/// The rows of a view after some events, as they are fetched when they were saved.
fn rows<V: View>(seen: &[Seen]) -> sqlx::Result<BTreeMap<V::Key, V::Row>> {
    let events: Vec<&Seen> = seen.iter().collect();
    let mut shown = BTreeMap::new();
    for (key, row) in evolved::<V>(grouped::<V>(&events), BTreeMap::new()) {
        let Some(row) = row else { continue };
        let row = refetched(&V::TABLE, &key, &row)?;
        shown.insert(key, row);
    }
    Ok(shown)
}

/// A column of JSON text as a value.
pub(crate) fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}
