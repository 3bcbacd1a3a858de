//! The log as workers see it: every call of it is a moment at which others go on, and at which
//! things go wrong.

use async_trait::async_trait;
use domain::{Id, Tenant};
use eventstore::{
    Answered, Append, Appended, Error, EventStore, Fence, Filter, Position, Recalled, Recorded,
    Snapshot, StreamId, Stretch, Version,
};
use std::sync::Arc;
use tokio::sync::watch;
use uuid::Uuid;

use super::planted::Bug;
use super::world::{Memory, What, World};

pub(super) struct Log(pub(super) Arc<World>);

#[async_trait]
impl EventStore for Log {
    async fn append(&self, append: Append) -> Result<Appended, Error> {
        let count = append.streams.iter().map(|part| part.events.len()).sum();
        let done = self.0.ask(|slot| What::Append(Box::new(append), slot)).await;
        self.0.state().remember(count, &done);
        done
    }

    async fn fence(&self, fences: &[Fence]) -> Result<(), Error> {
        self.0.ask(|slot| What::Fence(fences.to_vec(), slot)).await
    }

    async fn answered(
        &self,
        tenant: Id<Tenant>,
        principal: Uuid,
        key: &str,
    ) -> Result<Option<Answered>, Error> {
        self.0.pause().await?;
        self.0.log.answered(tenant, principal, key).await
    }

    async fn load(
        &self,
        stream: StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Recorded>, Error> {
        self.0.pause().await?;
        let rows = self.0.log.load(stream, after, limit).await?;
        Ok(Bug::misread(self.0.bug, rows))
    }

    async fn version(&self, stream: StreamId) -> Result<Version, Error> {
        self.0.pause().await?;
        self.0.log.version(stream).await
    }

    async fn recall(&self, stream: StreamId, after: Version) -> Result<Option<Recalled>, Error> {
        let Memory { from, upto, known } = *self.0.state().memory();
        if known > upto {
            return Ok(None);
        }
        let mut events = self.0.log.load(stream, 0, usize::MAX).await?;
        events.retain(|event| (from + 1..=upto).contains(&event.position));
        if events.first().is_none_or(|first| first.version > after + 1) {
            return Ok(None);
        }
        events.retain(|event| event.version > after);
        Ok(Some(Recalled { events: Bug::misread(self.0.bug, events), upto }))
    }

    async fn snapshot(&self, stream: StreamId, fold: &str) -> Result<Option<Snapshot>, Error> {
        self.0.pause().await?;
        self.0.log.snapshot(stream, fold).await
    }

    async fn keep(&self, stream: StreamId, snapshot: Snapshot) -> Result<(), Error> {
        self.0.pause().await?;
        self.0.log.keep(stream, snapshot).await
    }

    async fn read(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, Error> {
        self.0.pause().await?;
        self.0.log.read(after, limit).await
    }

    async fn streams(&self, after: Position, upto: Position) -> Result<Vec<Uuid>, Error> {
        self.0.pause().await?;
        self.0.log.streams(after, upto).await
    }

    async fn select(
        &self,
        filter: &Filter,
        after: Position,
        limit: usize,
    ) -> Result<Stretch, Error> {
        self.0.pause().await?;
        self.0.log.select(filter, after, limit).await
    }

    async fn head(&self) -> Result<Position, Error> {
        self.0.pause().await?;
        self.0.log.head().await
    }

    async fn tenant_of(
        &self,
        category: &'static str,
        id: Uuid,
    ) -> Result<Option<Id<Tenant>>, Error> {
        self.0.pause().await?;
        self.0.log.tenant_of(category, id).await
    }

    fn watch(&self) -> watch::Receiver<Position> {
        self.0.log.watch()
    }
}
