//! What a read model is, and the list of all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use domain::subject;
use domain::{Fact, Id};
use eventstore::{Metadata, Position, Recorded, Version};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::storage::{Table, Tables};
use crate::{
    agents, api_keys, executions, integration_logs, integrations, invocations, notifications,
    prompts, tasks, templates, usage, work, workflows,
};

/// A fact, where it was recorded and under which circumstances.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its place in the log.
    pub position: Position,
    /// The event's id.
    pub id: Uuid,
    /// The stream it belongs to.
    pub stream: Uuid,
    /// Its place in its stream.
    pub version: Version,
    /// Its circumstances.
    pub meta: Metadata,
    /// Whose data it tells of, if somebody's.
    pub subject: Option<Uuid>,
    /// What happened.
    pub fact: Arc<Fact>,
}

impl Seen {
    /// The event as views see it.
    pub(crate) fn of(row: &Recorded) -> Result<Self, eventstore::Error> {
        Ok(Self {
            position: row.position,
            id: row.id,
            stream: row.stream,
            version: row.version,
            meta: row.meta.clone(),
            subject: row.subject().map(Id::as_uuid),
            fact: eventstore::fact(row)?,
        })
    }

    /// Whether it is the first event of its stream.
    pub(crate) fn is_first(&self) -> bool {
        self.version == 1
    }

    /// The subject that is erased by this.
    fn erases(&self) -> Option<Uuid> {
        matches!(*self.fact, Fact::Subject(subject::Event::Erased {})).then_some(self.stream)
    }

    /// The key of a view with one row a stream, if the event `is` of such a stream.
    pub(crate) fn key_if(&self, is: bool) -> Vec<(Uuid, Uuid)> {
        if is { vec![(self.meta.tenant.as_uuid(), self.stream)] } else { vec![] }
    }
}

/// A read model of one table, whose rows are folds of the events that share a key.
///
/// `keys` and `evolve` are pure: no clock, no chance, no floating-point sums. Replaying the log
/// must give the same bytes, in batches of any size.
pub trait View: Send + Sync + 'static {
    /// Its table; the checkpoint has the same name.
    const TABLE: Table;
    /// Categories of the streams it folds: what happens in others does not concern it, not even
    /// when it cannot be read.
    const FOLDS: &'static [&'static str];
    /// What tells rows apart: a tuple with one member for each key column, the tenant first.
    type Key: Ord + Clone + Serialize + DeserializeOwned + Send + Sync;
    /// The other columns, one field each.
    type Row: Serialize + DeserializeOwned + Send + Sync;

    /// Takes out of a row what it says of a person, such that it is as if their data had never been
    /// known. For views that keep any: their rows have a column `subject`, which tells whose they
    /// are, and they fold the streams of subjects.
    const FORGET: Option<fn(&mut Self::Row)> = None;

    /// The rows that `seen` concerns; an event may concern several.
    fn keys(seen: &Seen) -> Vec<Self::Key>;

    /// Whether a row is made anew by `seen`, whatever it was before, such as by the first of all events
    /// that concern it: then it need not be sought.
    fn begins(_key: &Self::Key, _seen: &Seen) -> bool {
        false
    }

    /// Whether more is likely to happen to a row soon: then it is remembered for a while.
    fn goes_on(_row: &Self::Row) -> bool {
        true
    }

    /// Notes `seen` in one of its rows; `None` is a row that is not there.
    fn evolve(key: &Self::Key, row: &mut Option<Self::Row>, seen: &Seen);
}

/// A read model as the runner sees it: something with a checkpoint that takes in events.
#[async_trait]
pub trait Projection: Send + Sync {
    /// Name of its checkpoint.
    fn name(&self) -> &'static str;

    /// Its tables.
    fn tables(&self) -> &'static [Table];

    /// Categories of the streams it folds.
    fn folds(&self) -> &'static [&'static str];

    /// Whether its rows say anything of people, which they forget.
    fn forgets(&self) -> bool;

    /// Whether an event changes any of its rows.
    fn concerns(&self, seen: &Seen) -> bool;

    /// Takes in events that come next, in order, in the caller's transaction.
    async fn apply(&self, tables: &mut Tables<'_>, events: &[&Seen]) -> sqlx::Result<()>;
}

#[async_trait]
impl<V: View> Projection for V {
    fn name(&self) -> &'static str {
        V::TABLE.name
    }

    fn tables(&self) -> &'static [Table] {
        const { &[V::TABLE] }
    }

    fn folds(&self) -> &'static [&'static str] {
        V::FOLDS
    }

    fn forgets(&self) -> bool {
        V::FORGET.is_some()
    }

    fn concerns(&self, seen: &Seen) -> bool {
        self.forgets() && seen.erases().is_some() || !V::keys(seen).is_empty()
    }

    async fn apply(&self, tables: &mut Tables<'_>, mut events: &[&Seen]) -> sqlx::Result<()> {
        while let Some(at) = events.iter().position(|seen| seen.erases().is_some()) {
            fold::<V>(tables, &events[..at]).await?;
            forget::<V>(tables, events[at]).await?;
            events = &events[at + 1..];
        }
        fold::<V>(tables, events).await
    }
}

/// Has the rows that events concern take note of them.
async fn fold<V: View>(tables: &mut Tables<'_>, events: &[&Seen]) -> sqlx::Result<()> {
    let news = grouped::<V>(events);
    // What is held in memory is sought there, and is to know of all rows.
    let is_held = tables.is_held();
    let is_sought = |(key, news): &(&V::Key, &Vec<&Seen>)| is_held || !begin::<V>(key, news);
    let sought = news.iter().filter(is_sought).map(|(key, _)| key);
    let rows = tables.fetch(&V::TABLE, sought).await?;
    tables.save(&V::TABLE, evolved::<V>(news, rows), V::goes_on).await
}

/// Events by the rows that they concern.
pub(crate) fn grouped<'a, V: View>(events: &[&'a Seen]) -> BTreeMap<V::Key, Vec<&'a Seen>> {
    let mut by_key = BTreeMap::<V::Key, Vec<&Seen>>::new();
    for &seen in events {
        // The same row more than once is the same row.
        for key in V::keys(seen).into_iter().collect::<BTreeSet<_>>() {
            by_key.entry(key).or_default().push(seen);
        }
    }
    by_key
}

/// Whether the first of some events makes a row anew.
fn begin<V: View>(key: &V::Key, news: &[&Seen]) -> bool {
    news.first().is_some_and(|seen| V::begins(key, seen))
}

/// Rows after what is new to each of them; nothing of those that were sought and not there, and are not
/// there now.
pub(crate) fn evolved<V: View>(
    news: BTreeMap<V::Key, Vec<&Seen>>,
    mut rows: BTreeMap<V::Key, V::Row>,
) -> BTreeMap<V::Key, Option<V::Row>> {
    let mut folded = BTreeMap::new();
    for (key, news) in news {
        let mut row = rows.remove(&key);
        let may_be_there = row.is_some() || begin::<V>(&key, &news);
        for seen in news {
            V::evolve(&key, &mut row, seen);
        }
        if may_be_there || row.is_some() {
            folded.insert(key, row);
        }
    }
    folded
}

/// Has all rows of a subject forget them.
async fn forget<V: View>(tables: &mut Tables<'_>, seen: &Seen) -> sqlx::Result<()> {
    let (Some(subject), Some(forget)) = (seen.erases(), V::FORGET) else { return Ok(()) };
    let whose = (seen.meta.tenant.as_uuid(), subject);
    let mut last: Option<V::Key> = None;
    loop {
        let rows = tables.of_subject::<V::Key, V::Row>(&V::TABLE, whose, last.as_ref()).await?;
        let Some((key, _)) = rows.last() else { return Ok(()) };
        last = Some(key.clone());
        let rows = rows.into_iter().map(|(key, mut row)| {
            forget(&mut row);
            (key, Some(row))
        });
        tables.save(&V::TABLE, rows.collect(), V::goes_on).await?;
    }
}

/// Every read model. The workers' comes first, because executions wait for it.
#[must_use]
pub fn all_views() -> &'static [&'static dyn Projection] {
    &[
        &work::Work,
        &executions::Executions,
        &tasks::Tasks,
        &workflows::Workflows,
        &workflows::Versions,
        &agents::Agents,
        &invocations::Invocations,
        &prompts::Prompts,
        &prompts::Versions,
        &integrations::Integrations,
        &integration_logs::IntegrationLogs,
        &notifications::Notifications,
        &templates::Templates,
        &api_keys::ApiKeys,
        &usage::Usage,
    ]
}
