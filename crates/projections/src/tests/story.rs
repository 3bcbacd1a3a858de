//! Histories to fold, and what came of folding them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use chrono::TimeDelta;
use domain::scenario::NOON;
use domain::subject::Subject;
use domain::{Actor, Aggregate, Id, Tenant, Timestamp};
use eventstore::{
    Append, Draft, EventStore, Expected, MemoryEventStore, Metadata, Request, StreamAppend,
    StreamId, drafts, execute,
};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

use crate::{Projector, Reader, all_views};

/// A log that is being written: one second passes with every append.
#[derive(Clone)]
pub(super) struct Story {
    pub(super) log: Arc<dyn EventStore>,
    pub(super) tenant: Id<Tenant>,
    /// Whose data are told, if somebody's.
    subject: Option<Id<Subject>>,
    told: Arc<AtomicU32>,
}

impl Story {
    pub(super) fn new() -> Self {
        Self::on(Arc::new(MemoryEventStore::default()))
    }

    pub(super) fn on(log: Arc<dyn EventStore>) -> Self {
        Self { log, tenant: tenant(1), subject: None, told: Arc::default() }
    }

    /// The same log, another tenant.
    pub(super) fn of(&self, other: u128) -> Self {
        Self { tenant: tenant(other), ..self.clone() }
    }

    /// The same log, what is told tells of somebody.
    pub(super) fn about(&self, subject: Id<Subject>) -> Self {
        Self { subject: Some(subject), ..self.clone() }
    }

    /// Circumstances of what is told next.
    pub(super) fn next(&self) -> Metadata {
        let nth = self.told.fetch_add(1, Ordering::Relaxed) + 1;
        Metadata {
            tenant: self.tenant,
            actor: Actor::System,
            correlation: Uuid::nil(),
            causation: Uuid::from_u128(u128::from(nth)),
            traceparent: None,
            at: second(nth),
        }
    }

    /// These events happened; when.
    pub(super) async fn tell<A: Aggregate>(
        &self,
        id: Id<A>,
        events: impl IntoIterator<Item = A::Event>,
    ) -> Timestamp {
        let events: Vec<_> = events.into_iter().collect();
        let (meta, stream) = (self.next(), StreamId::of(self.tenant, id));
        let version = self.log.load(stream, 0, 1_000).await.expect("loads").len();
        let version = i64::try_from(version).expect("few events");
        let events = drafts(&events, stream, version, meta.causation);
        self.append(meta, self.part(stream, Expected::At(version), events)).await
    }

    /// Some event happened that need not be known.
    pub(super) async fn tell_raw(
        &self,
        category: &'static str,
        name: &str,
        schema: u16,
        body: &str,
    ) {
        let body = Stored { category, name: name.to_owned(), schema, body: body.to_owned() };
        self.tell_body(Uuid::from_u128(77), &body).await;
    }

    /// An event with this body happened.
    pub(super) async fn tell_body(&self, stream: Uuid, stored: &Stored) {
        let Stored { category, name, schema, body } = stored.clone();
        let meta = self.next();
        let id = Uuid::new_v5(&meta.causation, name.as_bytes());
        let stream = StreamId { tenant: self.tenant, category, id: stream };
        let event = Draft { id, name, schema, body, opened: None, fact: None };
        let part = self.part(stream, Expected::Any, vec![event]);
        self.append(meta, part).await;
    }

    fn part(&self, stream: StreamId, expected: Expected, events: Vec<Draft>) -> StreamAppend {
        StreamAppend { stream, expected, subject: self.subject, events }
    }

    /// Somebody gave a command.
    pub(super) async fn order<A>(&self, id: Id<A>, command: A::Command)
    where
        A: Aggregate,
    {
        execute(&*self.log, id, &command, &Request::new(self.next()))
            .await
            .expect("is carried out");
    }

    async fn append(&self, meta: Metadata, part: StreamAppend) -> Timestamp {
        let at = meta.at;
        let append = Append { meta, streams: vec![part], reply: None, fence: None };
        self.log.append(append).await.expect("is appended");
        at
    }

    /// All views fold it.
    pub(super) async fn fold(&self, pool: &PgPool) {
        Projector::new(pool.clone(), self.log.clone()).catch_up().await.expect("folds");
    }

    /// All views fold it in batches of some size.
    pub(super) async fn fold_in(&self, pool: &PgPool, batch: usize) {
        let views = all_views().to_vec();
        let projector = Projector::of(pool.clone(), self.log.clone(), views, batch);
        projector.catch_up().await.expect("folds");
    }

    pub(super) async fn reader(&self, pool: &PgPool) -> Reader {
        Reader::begin(pool, self.tenant).await.expect("begins")
    }
}

/// The body of an event as it is stored.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    category: &'static str,
    name: String,
    schema: u16,
    body: String,
}

/// Every body that was ever stored: the golden files of the domain.
pub(super) fn golden() -> Vec<Stored> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../domain/golden");
    let categories: BTreeSet<_> = all_views().iter().flat_map(|view| view.folds()).collect();
    let mut bodies = vec![];
    for category in categories {
        let files = std::fs::read_dir(folder.join(category)).expect("golden files");
        let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        paths.sort();
        for path in paths {
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
            let (event, rest) = name.split_once(".v").expect("<event>.v<schema>");
            let schema = rest.split('.').next().and_then(|schema| schema.parse().ok());
            let body = std::fs::read_to_string(&path).expect("a body").trim().to_owned();
            let (name, schema) = (format!("{category}.{event}"), schema.expect("a number"));
            bodies.push(Stored { category, name, schema, body });
        }
    }
    assert!(bodies.len() > 30, "{}", bodies.len());
    bodies
}

pub(super) fn tenant(nth: u128) -> Id<Tenant> {
    Id::from_uuid(Uuid::from_u128(0xabc0 + nth))
}

/// When the nth thing was told, from 1.
pub(super) fn second(nth: u32) -> Timestamp {
    NOON + TimeDelta::seconds(i64::from(nth))
}

pub(super) fn id<A>(nth: u128) -> Id<A> {
    Id::from_uuid(Uuid::from_u128(nth))
}

/// Every byte of every read model.
pub(super) async fn bytes(pool: &PgPool) -> String {
    let mut all = String::new();
    for table in all_views().iter().flat_map(|view| view.tables()) {
        let sql = format!(
            "SELECT string_agg(t::text, E'\\n' ORDER BY {}) FROM rm.{} t",
            table.key_list(),
            table.name
        );
        let rows: Option<String> =
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool).await.expect("reads");
        all.extend([table.name, "\n", &rows.unwrap_or_default(), "\n"]);
    }
    all
}

/// Takes every read model away.
pub(super) async fn wipe(pool: &PgPool) {
    let tables = all_views().iter().flat_map(|view| view.tables());
    let names: Vec<String> = tables.map(|table| format!("rm.{}", table.name)).collect();
    let sql = format!("TRUNCATE rm.projection, {}", names.join(", "));
    sqlx::query(AssertSqlSafe(sql)).execute(pool).await.expect("truncates");
}

/// Where each view stands and why it stands still.
pub(super) async fn standing(pool: &PgPool) -> Vec<(String, i64, Option<String>)> {
    let lags = crate::lag(pool).await.expect("reads");
    let mut parked = crate::parked(pool).await.expect("reads");
    let place = |lag: crate::Lag| {
        let error = parked.remove(&lag.name);
        (lag.name, lag.position, error)
    };
    lags.into_iter().map(place).collect()
}
