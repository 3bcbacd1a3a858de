//! An execution as its own events tell it: what the read models will show, without waiting for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{Fact, execution};
use eventstore::{Metadata, Position, Recorded};
use serde_json::Value;
use uuid::Uuid;

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
    let bytes: usize = events.iter().map(Recorded::size).sum();
    if bytes > MOST || events.iter().any(|event| event.subject().is_some()) {
        return Ok(None);
    }
    detail(&events.iter().map(Seen::of).collect::<Result<Vec<_>, _>>()?)
}

/// An execution that has ended in the turn in which it began, from what was appended just now up to a
/// position; nothing if it goes on, and of one about somebody, as above.
pub fn just_now(
    meta: &Metadata,
    execution: Uuid,
    upto: Position,
    facts: Vec<Arc<Fact>>,
) -> Result<Option<Detail>, Error> {
    let is_end = |fact: &Arc<Fact>| matches!(&**fact, Fact::Execution(event) if event.is_end());
    let is_about = |fact: &Arc<Fact>| {
        matches!(**fact, Fact::Execution(execution::Event::Started { subject: Some(_), .. }))
    };
    if !facts.last().is_some_and(is_end) || facts.iter().any(is_about) {
        return Ok(None);
    }
    let first = upto - Position::try_from(facts.len()).unwrap_or(0);
    let seen = (1..).zip(facts).map(|(nth, fact)| Seen {
        position: first + nth,
        id: Uuid::nil(),
        stream: execution,
        version: nth,
        meta: meta.clone(),
        subject: None,
        fact,
    });
    detail(&seen.collect::<Vec<_>>())
}

fn detail(seen: &[Seen]) -> Result<Option<Detail>, Error> {
    let Some(((_, id), row)) = rows::<Executions>(seen)?.pop_first() else {
        return Ok(None);
    };
    let tasks = rows::<Tasks>(seen)?;
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
        shown.insert(key, refetched(row)?);
    }
    Ok(shown)
}

/// A column of JSON text as a value.
pub(crate) fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}
