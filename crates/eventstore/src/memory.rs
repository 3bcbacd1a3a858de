//! The log in memory, for simulations and pure tests.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use domain::{Id, Tenant, Timestamp};
use serde_json::value::RawValue;
use tokio::sync::watch;
use uuid::Uuid;

use crate::deployment::DEPLOYMENT;
use crate::judge::{self, Found};
use crate::{
    Answered, Append, Appended, Error, EventStore, Fence, Filter, Metadata, Position, Recorded,
    Snapshot, StreamAppend, StreamId, Stretch, Version,
};

/// A log that lasts as long as the process.
#[derive(Debug)]
pub struct MemoryEventStore {
    log: Mutex<Log>,
    head: watch::Sender<Position>,
}

#[derive(Debug, Default)]
struct Log {
    events: Vec<Recorded>,
    /// Where the events of each stream are in `events`.
    streams: HashMap<StreamId, Vec<usize>>,
    answers: HashMap<(Id<Tenant>, Uuid, String), Answered>,
    snapshots: HashMap<StreamId, Snapshot>,
    /// The newest epoch of each slice of what is shared out.
    fences: HashMap<(&'static str, i16), i64>,
    /// When the last event was recorded.
    recorded_at: Option<Timestamp>,
}

impl Default for MemoryEventStore {
    fn default() -> Self {
        Self { log: Mutex::default(), head: watch::Sender::new(0) }
    }
}

impl MemoryEventStore {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn version(&self, stream: StreamId) -> Version {
        self.streams.get(&stream).map_or(0, |events| position_of(events.len()))
    }

    fn head(&self) -> Position {
        position_of(self.events.len())
    }

    fn of_stream(&self, stream: StreamId) -> impl Iterator<Item = &Recorded> {
        let places = self.streams.get(&stream).map(Vec::as_slice).unwrap_or_default();
        places.iter().map(|place| &self.events[*place])
    }

    fn found(&self, part: &StreamAppend) -> Vec<Found> {
        let (after, upto) = part.window();
        self.of_stream(part.stream)
            .filter(|row| row.version > after && row.version <= upto)
            .filter(|row| part.events.iter().any(|draft| draft.id == row.id))
            .map(|row| Found { id: row.id, version: row.version, position: row.position })
            .collect()
    }

    fn append(&mut self, append: Append) -> Result<Appended, Error> {
        let versions: Vec<_> =
            append.streams.iter().map(|part| self.version(part.stream)).collect();
        let found: Vec<_> = append.streams.iter().map(|part| self.found(part)).collect();
        let answered = append.reply.as_ref().and_then(|(key, _)| {
            self.answers.get(&(append.meta.tenant, key.principal, key.key.clone()))
        });
        let good = append.streams.iter().zip(&versions).zip(&found).all(|((part, at), found)| {
            part.expected.holds(*at) && (part.expected.exactly().is_some() || found.is_empty())
        });
        let is_fenced = append.fence.is_some_and(|fence| {
            self.fences.get(&(fence.lease, fence.slice)) != Some(&fence.epoch)
        });
        if !good || is_fenced || answered.is_some() {
            return judge::settle(&append, is_fenced, (&versions, &found), answered);
        }
        Ok(self.store(append))
    }

    fn store(&mut self, append: Append) -> Appended {
        let meta = Metadata { at: judge::kept(append.meta.at), ..append.meta };
        // A store without a clock takes that of whoever appends.
        self.recorded_at = self.recorded_at.max(Some(meta.at));
        let mut versions = Vec::with_capacity(append.streams.len());
        for part in append.streams {
            self.extend(part.stream, part.events, &meta);
            versions.push(self.version(part.stream));
        }
        let position = self.head();
        if let Some((key, reply)) = append.reply {
            let version = versions.first().copied().unwrap_or(0);
            let fingerprint = key.fingerprint;
            let answer = Answered { fingerprint, reply, position, version };
            self.answers.insert((meta.tenant, key.principal, key.key), answer);
        }
        Appended { position, versions }
    }

    fn extend(&mut self, stream: StreamId, drafts: Vec<crate::Draft>, meta: &Metadata) {
        for draft in drafts {
            let place = self.events.len();
            self.events.push(Recorded {
                deployment: DEPLOYMENT.into(),
                position: position_of(place + 1),
                id: draft.id,
                category: stream.category.to_owned(),
                stream: stream.id,
                version: self.version(stream) + 1,
                name: draft.name,
                schema: draft.schema,
                salt: rand::random(),
                body: RawValue::from_string(draft.body).expect("bodies were checked to be JSON"),
                opened: None,
                fact: None,
                meta: meta.clone(),
                recorded_at: self.recorded_at,
            });
            self.streams.entry(stream).or_default().push(place);
        }
    }
}

fn position_of(count: usize) -> Position {
    Position::try_from(count).unwrap_or(Position::MAX)
}

#[async_trait]
impl EventStore for MemoryEventStore {
    async fn append(&self, append: Append) -> Result<Appended, Error> {
        judge::check(&append)?;
        let mut log = self.log();
        let done = log.append(append)?;
        self.head.send_if_modified(|head| {
            let grown = log.head() > *head;
            *head = log.head();
            grown
        });
        Ok(done)
    }

    async fn fence(&self, fences: &[Fence]) -> Result<(), Error> {
        let mut log = self.log();
        for Fence { lease, slice, epoch } in fences {
            let newest = log.fences.entry((lease, *slice)).or_insert(*epoch);
            *newest = (*newest).max(*epoch);
        }
        Ok(())
    }

    async fn answered(
        &self,
        tenant: Id<Tenant>,
        principal: Uuid,
        key: &str,
    ) -> Result<Option<Answered>, Error> {
        Ok(self.log().answers.get(&(tenant, principal, key.to_owned())).cloned())
    }

    async fn load(
        &self,
        stream: StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Recorded>, Error> {
        let log = self.log();
        let rest = log.of_stream(stream).filter(|row| row.version > after);
        Ok(rest.take(limit).cloned().collect())
    }

    async fn version(&self, stream: StreamId) -> Result<Version, Error> {
        Ok(self.log().of_stream(stream).last().map_or(0, |row| row.version))
    }

    async fn snapshot(&self, stream: StreamId, fold: &str) -> Result<Option<Snapshot>, Error> {
        let log = self.log();
        Ok(log.snapshots.get(&stream).filter(|kept| kept.fold == fold).cloned())
    }

    async fn keep(&self, stream: StreamId, snapshot: Snapshot) -> Result<(), Error> {
        let mut log = self.log();
        let is_older = |kept: &Snapshot| kept.replaced_by(&snapshot);
        if log.snapshots.get(&stream).is_none_or(is_older) {
            log.snapshots.insert(stream, snapshot);
        }
        Ok(())
    }

    async fn read(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, Error> {
        let skip = usize::try_from(after).unwrap_or(0);
        Ok(self.log().events.iter().skip(skip).take(limit).cloned().collect())
    }

    async fn streams(&self, after: Position, upto: Position) -> Result<Vec<Uuid>, Error> {
        let log = self.log();
        let within = log.events.iter().filter(|event| (after + 1..=upto).contains(&event.position));
        Ok(within.map(|event| event.stream).collect())
    }

    async fn select(
        &self,
        filter: &Filter,
        after: Position,
        limit: usize,
    ) -> Result<Stretch, Error> {
        let log = self.log();
        let skip = usize::try_from(after).unwrap_or(0);
        let wanted = log.events.iter().skip(skip).filter(|event| filter.wants(event));
        let events: Vec<_> = wanted.take(limit).cloned().collect();
        let last = events.last().map_or(after, |event| event.position);
        let upto = if events.len() < limit { log.head().max(after) } else { last };
        Ok(Stretch { events, upto })
    }

    async fn head(&self) -> Result<Position, Error> {
        Ok(self.log().head())
    }

    async fn tenant_of(
        &self,
        category: &'static str,
        id: Uuid,
    ) -> Result<Option<Id<Tenant>>, Error> {
        let log = self.log();
        let named =
            log.streams.iter().filter(|(stream, _)| stream.category == category && stream.id == id);
        Ok(named.min_by_key(|(_, events)| events.first()).map(|(stream, _)| stream.tenant))
    }

    fn watch(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;

    #[tokio::test]
    async fn conforms() {
        conformance::check(&MemoryEventStore::default()).await;
    }
}
