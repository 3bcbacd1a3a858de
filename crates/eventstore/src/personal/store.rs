//! A log that seals what goes in and opens what comes out.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use domain::subject::Subject;
use domain::{Aggregate, Id, Tenant};
use serde_json::value::RawValue;
use tokio::sync::watch;
use uuid::Uuid;

use super::keyring::{Keyring, Whose};
use super::{scan, seal};
use crate::{
    Answered, Append, Appended, Error, EventStore, Fence, Filter, Position, Recorded, Snapshot,
    StreamAppend, StreamId, Stretch, Version, judge,
};

/// What tells that a subject is erased.
const ERASED: &str = "subject.erased";

/// A log whose personal values are sealed.
#[derive(Debug)]
pub struct Sealed<S> {
    log: S,
    keys: Arc<Keyring>,
}

impl<S: EventStore> Sealed<S> {
    /// Stands before `log`.
    #[must_use]
    pub fn new(log: S, keys: Arc<Keyring>) -> Self {
        Self { log, keys }
    }

    /// Seals what is marked in the events of one stream.
    async fn seal(&self, cause: Uuid, part: &mut StreamAppend) -> Result<(), Error> {
        if !part.events.iter().any(|draft| scan::is_marked(&draft.body)) {
            return Ok(());
        }
        let (id, key) = self.key_of(part.stream.tenant, part.subject).await?;
        let marked = part.events.iter_mut().enumerate();
        for (nth, draft) in marked.filter(|(_, draft)| scan::is_marked(&draft.body)) {
            if let Some(key) = &key {
                seal::seal(key, id, part.stream, draft);
            } else {
                let place = format!("{:?}+{nth}", part.expected);
                seal::drop_values(cause, part.stream, &place, draft);
            }
        }
        Ok(())
    }

    /// The key for what is about a subject, with its id; none if it was destroyed.
    async fn key_of(
        &self,
        tenant: Id<Tenant>,
        subject: Option<Id<Subject>>,
    ) -> Result<(Uuid, Option<seal::Key>), Error> {
        let id = match subject {
            Some(subject) => subject.as_uuid(),
            None => self.keys.of_nobody(tenant).await?,
        };
        let key = self.keys.keys(&[(tenant, id)]).await?.remove(&(tenant, id)).flatten();
        Ok((id, key))
    }

    /// Opens events that follow each other.
    async fn open(&self, mut rows: Vec<Recorded>) -> Result<Vec<Recorded>, Error> {
        let mut wanted = HashSet::<Whose>::new();
        for row in &rows {
            let tenant = row.meta.tenant;
            if row.category == Subject::NAME && row.name == ERASED {
                // Whoever still holds the key must not open what comes after this.
                self.keys.forget((tenant, row.stream));
            }
            wanted.extend(seal::sealed_under(row.body.get()).map(|id| (tenant, id)));
        }
        if wanted.is_empty() {
            return Ok(rows);
        }
        let wanted: Vec<Whose> = wanted.into_iter().collect();
        let keys = self.keys.keys(&wanted).await?;
        for row in &mut rows {
            if let Some(id) = seal::sealed_under(row.body.get()) {
                let key = keys.get(&(row.meta.tenant, id)).and_then(Option::as_ref);
                row.opened = Some(opened(key, row)?);
            }
        }
        Ok(rows)
    }
}

fn opened(key: Option<&seal::Key>, row: &Recorded) -> Result<Box<RawValue>, Error> {
    // Names of categories are few and live as long as the process; those of newer releases cannot
    // be opened, and need not be.
    let damaged =
        || Error::Damaged(format!("the sealed values of event {} are not its own", row.id));
    let Some(category) = crate::category(&row.category) else {
        return Ok(row.body.clone());
    };
    let stream = StreamId { tenant: row.meta.tenant, category, id: row.stream };
    let body = seal::open(key, stream, row.id, row.body.get()).ok_or_else(damaged)?;
    RawValue::from_string(body).map_err(|_| damaged())
}

#[async_trait]
impl<S: EventStore> EventStore for Sealed<S> {
    async fn append(&self, mut append: Append) -> Result<Appended, Error> {
        judge::check(&append)?;
        for part in &mut append.streams {
            self.seal(append.meta.causation, part).await?;
        }
        self.log.append(append).await
    }

    async fn fence(&self, fences: &[Fence]) -> Result<(), Error> {
        self.log.fence(fences).await
    }

    async fn answered(
        &self,
        tenant: Id<Tenant>,
        principal: Uuid,
        key: &str,
    ) -> Result<Option<Answered>, Error> {
        self.log.answered(tenant, principal, key).await
    }

    async fn load(
        &self,
        stream: StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Recorded>, Error> {
        self.open(self.log.load(stream, after, limit).await?).await
    }

    async fn version(&self, stream: StreamId) -> Result<Version, Error> {
        self.log.version(stream).await
    }

    async fn snapshot(&self, stream: StreamId, fold: &str) -> Result<Option<Snapshot>, Error> {
        let Some(mut kept) = self.log.snapshot(stream, fold).await? else { return Ok(None) };
        let (_, key) = self.key_of(stream.tenant, kept.subject).await?;
        // What nobody can open any more, or was changed, is as good as none.
        let opened = key.and_then(|key| seal::open_state(&key, stream, kept.event, &kept.state));
        Ok(opened.map(|state| {
            kept.state = state;
            kept
        }))
    }

    async fn keep(&self, stream: StreamId, mut snapshot: Snapshot) -> Result<(), Error> {
        let (_, key) = self.key_of(stream.tenant, snapshot.subject).await?;
        let Some(key) = key else { return Ok(()) };
        snapshot.state = seal::seal_state(&key, stream, snapshot.event, &snapshot.state);
        self.log.keep(stream, snapshot).await
    }

    async fn read(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, Error> {
        self.open(self.log.read(after, limit).await?).await
    }

    async fn streams(&self, after: Position, upto: Position) -> Result<Vec<Uuid>, Error> {
        self.log.streams(after, upto).await
    }

    async fn select(
        &self,
        filter: &Filter,
        after: Position,
        limit: usize,
    ) -> Result<Stretch, Error> {
        let Stretch { events, upto } = self.log.select(filter, after, limit).await?;
        Ok(Stretch { events: self.open(events).await?, upto })
    }

    async fn head(&self) -> Result<Position, Error> {
        self.log.head().await
    }

    async fn tenant_of(
        &self,
        category: &'static str,
        id: Uuid,
    ) -> Result<Option<Id<Tenant>>, Error> {
        self.log.tenant_of(category, id).await
    }

    fn admit(&self, tenant: Id<Tenant>) -> Result<(), Error> {
        self.log.admit(tenant)
    }

    fn watch(&self) -> watch::Receiver<Position> {
        self.log.watch()
    }
}
