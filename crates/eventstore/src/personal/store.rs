//! A log that seals what goes in and opens what comes out.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use domain::personal::INLINE_LIMIT;
use domain::subject::Subject;
use domain::{Aggregate, Id, Tenant, payload};
use futures::future::try_join_all;
use tokio::sync::watch;
use uuid::Uuid;

use super::apart::{self, TakenOut};
use super::keyring::{Keyring, Whose};
use super::{ERASED, Opened, scan, seal};
use crate::{
    APPEND_LIMIT, Answered, Append, Appended, Draft, Error, EventStore, Expected, Fence, Filter,
    Position, Priority, Recalled, Recorded, Snapshot, StreamAppend, StreamId, Stretch, Version,
    judge,
};

/// How often an append is tried because somebody else says the same large value at the same time.
const ATTEMPTS: usize = 10;

/// A log whose personal values are sealed.
#[derive(Debug)]
pub struct Sealed<S> {
    pub(super) log: S,
    keys: Arc<Keyring>,
}

impl<S: EventStore> Sealed<S> {
    /// Stands before `log`.
    #[must_use]
    pub fn new(log: S, keys: Arc<Keyring>) -> Self {
        Self { log, keys }
    }

    /// Takes the large values out of an append; tells each as a stream of its own, not sealed yet.
    async fn take_out(&self, append: &mut Append) -> Result<Vec<StreamAppend>, Error> {
        let (mut taken, cause) = (TakenOut::new(), append.meta.causation);
        for part in &mut append.streams {
            let is_large =
                |draft: &Draft| draft.body.len() > INLINE_LIMIT && scan::is_marked(&draft.body);
            if !part.events.iter().any(is_large) {
                continue;
            }
            let whose = (part.stream.tenant, part.subject);
            let (_, Some(key)) = self.key_of(whose.0, whose.1).await? else {
                // Of the erased nothing is kept, and nothing of that is too large.
                self.seal(cause, part).await?;
                continue;
            };
            for draft in &mut part.events {
                apart::take_out(&key, whose, draft, &mut taken);
            }
        }
        Ok(taken.into_values().collect())
    }

    /// Appends what names large values, together with them. Others may say the same at the same time:
    /// whoever decided the rest is not to be told of that.
    async fn append_with(&self, append: Append, large: &[StreamAppend]) -> Result<Appended, Error> {
        let mut attempt = 1;
        loop {
            let mut all = append.clone();
            all.streams.extend(self.missing(append.meta.causation, large).await?);
            match self.log.append(all).await {
                Err(Error::Conflict { stream, .. })
                    if stream.category == payload::NAME && attempt < ATTEMPTS =>
                {
                    attempt += 1;
                }
                Err(error) => return Err(error),
                Ok(mut done) => {
                    done.versions.truncate(append.streams.len());
                    return Ok(done);
                }
            }
        }
    }

    /// Those large values that the log has not got yet, sealed; of the others, that it has them.
    async fn missing(
        &self,
        cause: Uuid,
        large: &[StreamAppend],
    ) -> Result<Vec<StreamAppend>, Error> {
        let versions = large.iter().map(|part| self.log.version(part.stream));
        let versions = try_join_all(versions).await?;
        let mut parts = Vec::with_capacity(large.len());
        for (part, version) in large.iter().zip(versions) {
            let mut part = part.clone();
            if version == 0 {
                self.seal(cause, &mut part).await?;
                // What is large is not to stay in memory opened.
                part.events.iter_mut().for_each(|piece| piece.opened = None);
            } else {
                part = StreamAppend { expected: Expected::Exists, events: vec![], ..part };
            }
            parts.push(part);
        }
        Ok(parts)
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

    /// Opens events that follow each other, with their large values.
    async fn open(&self, rows: Vec<Recorded>) -> Result<Vec<Recorded>, Error> {
        let mut rows = self.open_small(rows).await?;
        let naming = rows.iter().filter(|row| scan::is_naming(row.body.get()));
        let wanted: BTreeSet<StreamId> =
            naming.filter_map(|row| row.opened.as_ref()).flat_map(Opened::large_streams).collect();
        if wanted.is_empty() {
            return Ok(rows);
        }
        let found = try_join_all(wanted.into_iter().map(|stream| self.large(stream))).await?;
        let apart = Arc::new(found.into_iter().flatten().collect());
        for row in rows.iter_mut().filter(|row| scan::is_naming(row.body.get())) {
            if let Some(opened) = &mut row.opened {
                opened.with(&apart);
            }
        }
        Ok(rows)
    }

    /// Whose a large value is, its name, and what stands behind its mark; nothing if it is not there.
    async fn large(&self, stream: StreamId) -> Result<Option<((Id<Tenant>, Uuid), String)>, Error> {
        let rows = self.log.load(stream, 0, APPEND_LIMIT).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let value = apart::joined(stream.id, &self.open_small(rows).await?)?;
        Ok(Some(((stream.tenant, stream.id), value)))
    }

    async fn open_small(&self, mut rows: Vec<Recorded>) -> Result<Vec<Recorded>, Error> {
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
                // What this process stored a moment ago it still knows; but only with the key.
                if key.is_none() || row.opened.is_none() {
                    (row.opened, row.fact) = (Some(opened(key, row)?), None);
                }
            }
        }
        Ok(rows)
    }
}

fn opened(key: Option<&seal::Key>, row: &Recorded) -> Result<Opened, Error> {
    // Names of categories are few and live as long as the process; those of newer releases cannot
    // be opened, and need not be.
    let damaged =
        || Error::Damaged(format!("the sealed values of event {} are not its own", row.id));
    let Some(category) = crate::category(&row.category) else {
        return Ok(Opened::new(row.meta.tenant, row.body.get().to_owned()));
    };
    let stream = StreamId { tenant: row.meta.tenant, category, id: row.stream };
    let body = seal::open(key, stream, row.id, row.body.get()).ok_or_else(damaged)?;
    Ok(Opened::new(row.meta.tenant, body))
}

#[async_trait]
impl<S: EventStore> EventStore for Sealed<S> {
    async fn append(&self, mut append: Append) -> Result<Appended, Error> {
        let large = self.take_out(&mut append).await?;
        judge::check(&append)?;
        for part in &mut append.streams {
            self.seal(append.meta.causation, part).await?;
        }
        if large.is_empty() {
            return self.log.append(append).await;
        }
        self.append_with(append, &large).await
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

    async fn recall(&self, stream: StreamId, after: Version) -> Result<Option<Recalled>, Error> {
        let Some(Recalled { events, upto }) = self.log.recall(stream, after).await? else {
            return Ok(None);
        };
        Ok(Some(Recalled { events: self.open(events).await?, upto }))
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

    fn admit(&self, tenant: Id<Tenant>, priority: Priority) -> Result<(), Error> {
        self.log.admit(tenant, priority)
    }

    fn watch(&self) -> watch::Receiver<Position> {
        self.log.watch()
    }
}
