//! The log in Postgres.

mod archive;
mod batch;
mod bell;
mod facts;
mod loads;
mod memory;
mod one;
mod places;
mod queue;
mod recent;
mod retry;
mod row;
#[cfg(test)]
pub(crate) mod tests;
mod together;
mod versions;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use domain::{Id, Tenant};
use futures::future::try_join_all;
use sqlx::{PgExecutor, PgPool};
use tokio::sync::watch;
use uuid::Uuid;

pub(crate) use self::archive::Files;
pub use self::archive::{ArchiveError, Archived, Partition, archive, partitions};
use self::batch::{Outcome, answer_id};
use self::bell::Bell;
use self::loads::{Loads, SHORT, loads};
use self::memory::Memory;
use self::places::{Places, places};
use self::recent::Recent;
pub(crate) use self::retry::retrying;
use self::row::{Answer, Row, SnapshotRow, contiguous, select_rows};
use self::versions::{Versions, versions};
use self::writer::Writer;
use crate::deployment::Deployment;
use crate::judge::{self, Found};
use crate::{
    Answered, Append, Appended, Error, EventStore, Fence, Filter, Position, Priority, Recalled,
    Recorded, Snapshot, StreamAppend, StreamId, Stretch, Version, Weights,
};

/// The log of every tenant, until one is not enough and they are spread over several.
pub(crate) const LOG: i16 = 1;

/// How many positions a reader that filters has the database look through at once, at least.
const STRETCH: Position = 10_000;

/// The event store in Postgres.
#[derive(Debug)]
pub struct PgEventStore {
    pool: PgPool,
    log: i16,
    bell: Bell,
    writer: Writer,
    versions: Versions,
    loads: Loads,
    places: Places,
    recent: Option<Arc<Recent>>,
    files: Files,
    deployment: Arc<Deployment>,
}

impl PgEventStore {
    /// A store on a migrated database, within a Tokio runtime: what it does in the background
    /// ends with it.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self::of_log(pool, LOG)
    }

    /// A store on one of the logs of a database. Each has its own order, and its own row in
    /// `es.log`.
    #[must_use]
    pub fn of_log(pool: PgPool, log: i16) -> Self {
        let bell = Bell::new(pool.clone(), log);
        let writer = Writer::new(pool.clone(), log);
        let deployment = Arc::new(Deployment::of_log(pool.clone(), log));
        let files = Files::default();
        let (versions, loads) = (versions(pool.clone(), log), loads(pool.clone(), log));
        let (places, recent) = (places(pool.clone(), log), None);
        Self { pool, log, bell, writer, versions, loads, places, recent, files, deployment }
    }

    /// The same for those who follow the log: the newest events, once stored or read here, are told to all
    /// of them from memory. Not for whoever has to know what the database has, such as an audit.
    #[must_use]
    pub fn for_followers(self) -> Self {
        let recent = Arc::<Recent>::default();
        let memory = Memory::new(recent.clone(), self.deployment.clone());
        Self { recent: Some(recent), writer: self.writer.remembering(memory), ..self }
    }

    /// The same with shares of tenants that differ, of what may wait to be stored.
    #[must_use]
    pub fn weighing(self, weights: Weights) -> Self {
        Self { writer: self.writer.weighing(weights), ..self }
    }

    /// Makes partitions for the positions to come; tells how many. To be called now and then by a
    /// worker: without a partition an append fails.
    pub async fn make_partitions(&self) -> Result<i32, Error> {
        const AHEAD: Position = 60_000_000;
        let upto = self.head().await? + AHEAD;
        let made = || sqlx::query_scalar("SELECT es.make_partitions($1)").bind(upto);
        Ok(retrying(|| made().fetch_one(&self.pool)).await?)
    }

    /// Stored rows as events of this installation, whose name stays once there are any.
    async fn recorded(&self, rows: Vec<Row>) -> Result<Vec<Recorded>, Error> {
        if rows.is_empty() {
            return Ok(vec![]);
        }
        let name = self.deployment.name().await?;
        rows.into_iter().map(|row| row.recorded(name.clone())).collect()
    }

    /// Why an append was refused, or that it was stored before.
    async fn settle(
        &self,
        append: &Append,
        versions: &[Version],
        is_fenced: bool,
    ) -> Result<Appended, Error> {
        let found = try_join_all(append.streams.iter().map(|part| self.found(part))).await?;
        let answered = match &append.reply {
            Some((key, _)) => self.answered(append.meta.tenant, key.principal, &key.key).await?,
            None => None,
        };
        judge::settle(append, is_fenced, (versions, &found), answered.as_ref())
    }

    /// What was found of a stream in the table, after a version and up to another, behind what is in files.
    async fn with_archived(
        &self,
        stream: StreamId,
        (after, upto): (Version, Version),
        mut found: Vec<Row>,
    ) -> Result<Vec<Row>, Error> {
        let missing = found.first().map_or(upto, |row| row.version - 1);
        if missing <= after {
            return Ok(found);
        }
        let mut rows = self.archived(stream, (after, missing)).await?;
        rows.append(&mut found);
        Ok(rows)
    }

    async fn table(&self, after: Position, upto: Position) -> Result<Vec<Row>, Error> {
        Ok(retrying(|| table(&self.pool, self.log, after, upto)).await?)
    }

    async fn found(&self, part: &StreamAppend) -> Result<Vec<Found>, Error> {
        if part.events.is_empty() {
            return Ok(vec![]);
        }
        let (after, upto) = part.window();
        let ids: Vec<Uuid> = part.events.iter().map(|draft| draft.id).collect();
        if part.expected.exactly().is_some() {
            let mut found = self.places.ask((part.stream, after, upto)).await?;
            found.retain(|found| ids.contains(&found.id));
            return Ok(found);
        }
        // They can be anywhere in the stream.
        let query = || {
            sqlx::query_as(
                "SELECT id, version, position FROM es.event
                 WHERE log_id = $1 AND stream = $2 AND category = $3 AND tenant = $4
                     AND id = ANY ($5)
                 ORDER BY version",
            )
            .bind(self.log)
            .bind(part.stream.id)
            .bind(part.stream.category)
            .bind(part.stream.tenant.as_uuid())
            .bind(&ids)
        };
        let rows: Vec<(Uuid, Version, Position)> =
            retrying(|| query().fetch_all(&self.pool)).await?;
        let found = |(id, version, position)| Found { id, version, position };
        Ok(rows.into_iter().map(found).collect())
    }
}

#[async_trait]
impl EventStore for PgEventStore {
    async fn append(&self, append: Append) -> Result<Appended, Error> {
        judge::check(&append)?;
        let append = Arc::new(append);
        match self.writer.write(append.clone()).await? {
            Outcome::Appended(done, _) => {
                self.bell.ring(done.position);
                Ok(done)
            }
            Outcome::Refused { versions, is_fenced } => {
                let settled = self.settle(&append, &versions, is_fenced).await;
                if settled.is_ok() {
                    // It was stored before, and nothing of that is remembered.
                    self.recent.as_ref().inspect(|recent| recent.forget());
                }
                settled
            }
        }
    }

    async fn fence(&self, fences: &[Fence]) -> Result<(), Error> {
        let mut leases = BTreeMap::<_, (Vec<i16>, Vec<i64>)>::new();
        for Fence { lease, slice, epoch } in fences {
            let (slices, epochs) = leases.entry(*lease).or_default();
            slices.push(*slice);
            epochs.push(*epoch);
        }
        for (lease, (slices, epochs)) in leases {
            let raise = || {
                sqlx::query("SELECT es.raise_fences($1, $2, $3, $4)")
                    .bind(self.log)
                    .bind(lease)
                    .bind(&slices)
                    .bind(&epochs)
            };
            retrying(|| raise().execute(&self.pool)).await?;
        }
        Ok(())
    }

    async fn answered(
        &self,
        tenant: Id<Tenant>,
        principal: Uuid,
        key: &str,
    ) -> Result<Option<Answered>, Error> {
        let query = || {
            sqlx::query_as::<_, Answer>(
                "SELECT fingerprint, status, location, body, position, version
                 FROM es.command_key
                 WHERE log_id = $1 AND id = $2 AND tenant = $3 AND principal = $4 AND key = $5",
            )
            .bind(self.log)
            .bind(answer_id(tenant.as_uuid(), principal, key))
            .bind(tenant.as_uuid())
            .bind(principal)
            .bind(key)
        };
        let answer = retrying(|| query().fetch_optional(&self.pool)).await?;
        answer.map(Answered::try_from).transpose()
    }

    async fn load(
        &self,
        stream: StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Recorded>, Error> {
        let upto = after.saturating_add(Version::try_from(limit).unwrap_or(Version::MAX));
        let short = upto.min(after.saturating_add(SHORT));
        let found = self.loads.ask((stream, after, short)).await?;
        let mut rows = self.with_archived(stream, (after, short), found).await?;
        if short < upto && rows.last().is_some_and(|row| row.version == short) {
            let rest = (stream, short, upto);
            let found = retrying(|| loads::load(&self.pool, self.log, rest)).await?;
            rows.append(&mut self.with_archived(stream, (short, upto), found).await?);
        }
        contiguous("version", after, rows.iter().map(|row| row.version))?;
        self.recorded(rows).await
    }

    async fn version(&self, stream: StreamId) -> Result<Version, Error> {
        self.versions.ask(stream).await
    }

    async fn recall(&self, stream: StreamId, after: Version) -> Result<Option<Recalled>, Error> {
        let recalled = self.recent.as_ref().and_then(|recent| recent.recall(stream, after));
        // What is known to be there and is not remembered may be of this stream.
        Ok(recalled.filter(|recalled| recalled.upto >= self.bell.known()))
    }

    async fn snapshot(&self, stream: StreamId, fold: &str) -> Result<Option<Snapshot>, Error> {
        let query = || {
            sqlx::query_as::<_, SnapshotRow>(
                "SELECT version, event, subject, state FROM ops.snapshot
                 WHERE log_id = $1 AND stream = $2 AND category = $3 AND tenant = $4 AND fold = $5",
            )
            .bind(self.log)
            .bind(stream.id)
            .bind(stream.category)
            .bind(stream.tenant.as_uuid())
            .bind(fold)
        };
        let row = retrying(|| query().fetch_optional(&self.pool)).await?;
        Ok(row.map(|row| row.snapshot(fold)))
    }

    async fn keep(&self, stream: StreamId, snapshot: Snapshot) -> Result<(), Error> {
        // `Snapshot::replaced_by` says the same.
        sqlx::query(
            "INSERT INTO ops.snapshot AS kept
                 (log_id, stream, category, tenant, fold, version, event, subject, state)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (log_id, stream, category, tenant) DO UPDATE
             SET fold = excluded.fold, version = excluded.version, event = excluded.event,
                 subject = excluded.subject, state = excluded.state, at = excluded.at
             WHERE kept.fold <> excluded.fold OR kept.version < excluded.version",
        )
        .bind(self.log)
        .bind(stream.id)
        .bind(stream.category)
        .bind(stream.tenant.as_uuid())
        .bind(&snapshot.fold)
        .bind(snapshot.version)
        .bind(snapshot.event)
        .bind(snapshot.subject.map(Id::as_uuid))
        .bind(&snapshot.state)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn read(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, Error> {
        let limit = Position::try_from(limit).unwrap_or(Position::MAX);
        let recent = self.recent.as_deref();
        let known = recent.map_or(0, Recent::end);
        let mut ends = self.ends().await?;
        if known > ends.head {
            // The database has lost its end.
            recent.inspect(|recent| recent.forget());
        }
        loop {
            // What the log had before the rows are read must be among them.
            let upto = after.saturating_add(limit).min(ends.head);
            if upto <= after {
                return Ok(vec![]);
            }
            let kept = recent.map(|recent| recent.events(after, upto));
            let mut events = kept.unwrap_or_default();
            let last_kept = events.pop();
            let from = last_kept.as_ref().map_or(after, |kept| kept.position - 1);
            if last_kept.as_ref().is_some_and(|kept| kept.position == upto) {
                events.extend(last_kept);
                return Ok(events);
            }
            let rows = self.rows(from, upto, ends.floor).await?;
            let last = contiguous("position", from, rows.iter().map(|row| row.position));
            if matches!(last, Ok(last) if last == upto) {
                let mut new = self.recorded(rows).await?;
                // The database may have lost its end since, and have got another one.
                if last_kept.is_some_and(|kept| new.first().is_none_or(|same| same.id != kept.id)) {
                    recent.inspect(|recent| recent.forget());
                    continue;
                }
                if let Some(recent) = recent.filter(|_| upto == ends.head) {
                    let end = recent.end();
                    recent.keep(new.iter().filter(|event| event.position > end).cloned().collect());
                }
                events.append(&mut new);
                return Ok(events);
            }
            // Unless they were archived meanwhile.
            let now = self.ends().await?;
            if now.floor == ends.floor {
                return Err(Error::Damaged(format!("position {} of {upto} is missing", last? + 1)));
            }
            ends = now;
        }
    }

    async fn streams(&self, after: Position, upto: Position) -> Result<Vec<Uuid>, Error> {
        let kept = self.recent.as_ref().and_then(|recent| recent.streams(after, upto));
        if let Some(streams) = kept {
            return Ok(streams);
        }
        let query = || {
            sqlx::query_scalar(
                "SELECT stream FROM es.event WHERE log_id = $1 AND position > $2 AND position <= $3",
            )
            .bind(self.log)
            .bind(after)
            .bind(upto)
        };
        Ok(retrying(|| query().fetch_all(&self.pool)).await?)
    }

    async fn select(
        &self,
        filter: &Filter,
        after: Position,
        limit: usize,
    ) -> Result<Stretch, Error> {
        if filter.is_open() {
            let events = self.read(after, limit).await?;
            let upto = events.last().map_or(after, |event| event.position);
            return Ok(Stretch { events, upto });
        }
        // An exact range here as well: whatever the plan, it looks at no more than the stretch.
        let most = i64::try_from(limit).unwrap_or(i64::MAX);
        let ends = self.ends().await?;
        let end = after.saturating_add(most.max(STRETCH)).min(ends.head);
        if end <= after {
            return Ok(Stretch { events: vec![], upto: after });
        }
        if after < ends.floor {
            return self.select_archived(filter, (after, end.min(ends.floor)), limit).await;
        }
        let query = || {
            sqlx::query_as::<_, Row>(select_rows!(
                "WHERE log_id = $1 AND position > $2 AND position <= $3
                     AND ($4::uuid IS NULL OR tenant = $4)
                     AND ($5::text[] IS NULL OR category = ANY ($5))
                     AND EXISTS (SELECT FROM es.log WHERE log_id = $1 AND floor <= $2)
                 ORDER BY position LIMIT $6"
            ))
            .bind(self.log)
            .bind(after)
            .bind(end)
            .bind(filter.tenant.map(Id::as_uuid))
            .bind(filter.categories.as_deref())
            .bind(most)
        };
        let rows = retrying(|| query().fetch_all(&self.pool)).await?;
        // What was archived meanwhile is looked for again, where it is now.
        if rows.is_empty() && self.ends().await?.floor > after {
            return self.select(filter, after, limit).await;
        }
        let is_full = rows.len() == limit;
        let upto = if is_full { rows.last().map_or(after, |row| row.position) } else { end };
        Ok(Stretch { events: self.recorded(rows).await?, upto })
    }

    async fn head(&self) -> Result<Position, Error> {
        Ok(self.ends().await?.head)
    }

    async fn tenant_of(
        &self,
        category: &'static str,
        id: Uuid,
    ) -> Result<Option<Id<Tenant>>, Error> {
        let query = || {
            sqlx::query_scalar(
                "SELECT tenant FROM es.stream WHERE log_id = $1 AND id = $2 AND category = $3
                 ORDER BY first_position LIMIT 1",
            )
            .bind(self.log)
            .bind(id)
            .bind(category)
        };
        let tenant = retrying(|| query().fetch_optional(&self.pool)).await?;
        Ok(tenant.map(Id::from_uuid))
    }

    fn admit(&self, tenant: Id<Tenant>, priority: Priority) -> Result<(), Error> {
        self.writer.admit(tenant, priority)
    }

    fn watch(&self) -> watch::Receiver<Position> {
        self.bell.listen()
    }
}

/// Where a log begins in the table and ends.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
struct Ends {
    #[sqlx(rename = "position")]
    head: Position,
    /// The position of the last event that is in a file and not in the table.
    floor: Position,
}

async fn ends(pool: &PgPool, log: i16) -> Result<Ends, sqlx::Error> {
    sqlx::query_as("SELECT position, floor FROM es.log WHERE log_id = $1")
        .bind(log)
        .fetch_one(pool)
        .await
}

/// The rows of the table after a position, up to another. The range is exact, as positions allow: no
/// plan of it can scan and sort the log.
async fn table(
    db: impl PgExecutor<'_>,
    log: i16,
    after: Position,
    upto: Position,
) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as(select_rows!(
        "WHERE log_id = $1 AND position > $2 AND position <= $3 ORDER BY position"
    ))
    .bind(log)
    .bind(after)
    .bind(upto)
    .fetch_all(db)
    .await
}
