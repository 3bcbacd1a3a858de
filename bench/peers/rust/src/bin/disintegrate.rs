//! Peer: disintegrate-postgres. An append is one `append` of its event store: a SERIALIZABLE
//! transaction that looks for events of the same execution newer than the last one known, and
//! inserts all of its own in one statement. Postgres may refuse it for what others did meanwhile; it
//! is then tried again.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::{Context, Result};
use bench_peers::{Done, Op, Options, Ran, STREAMS, Step, appends, loads, scans};
use disintegrate::serde::json::Json;
use disintegrate::{Event, EventStore, StreamItem, StreamQuery, query};
use disintegrate_postgres::{Error, PgEventId, PgEventStore};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::{Executor, PgPool};
use uuid::Uuid;

/// The first server that reads hexadecimal numbers, which its SQL has.
const READS_HEXADECIMAL: i32 = 160_000;

/// What its own installation does from the first such number on, without one: the function that
/// makes a writer known to readers, and the column and index of the one id that events are found by.
const REST_OF_SCHEMA: &str = "
CREATE OR REPLACE FUNCTION event_store_begin_epoch() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    last bigint;
    base int;
BEGIN
    SELECT last_value INTO last FROM seq_event_event_id;
    SELECT oid INTO base FROM pg_database WHERE datname = current_database();
    PERFORM pg_try_advisory_xact_lock_shared(base, 0);
    PERFORM pg_try_advisory_xact_lock_shared(1, (last & 4294967295)::bit(32)::integer);
    PERFORM pg_try_advisory_xact_lock_shared(2, (last >> 32)::bit(32)::integer);
END;
$$;
ALTER TABLE event ADD COLUMN IF NOT EXISTS execution uuid;
CREATE INDEX IF NOT EXISTS idx_event_execution ON event (execution) WHERE execution IS NOT NULL;
";

#[derive(Debug, Clone, PartialEq, Event, Serialize, Deserialize)]
#[stream(ExecutionEvent, [TaskCompleted])]
enum DomainEvent {
    TaskCompleted {
        #[id]
        execution: Uuid,
        body: Value,
    },
}

type Store = PgEventStore<DomainEvent, Json<DomainEvent>>;
type Query = StreamQuery<PgEventId, DomainEvent>;

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::read()?;
    let pool = options.connect().await?;
    let store = Store::new_uninitialized(pool.clone(), Json::default());
    let ran = match options.op {
        Op::Append => {
            install(&pool).await?;
            append(&options, store).await?
        }
        Op::Scan => scans(&options, async || read(&store, query!(DomainEvent)).await).await?,
        Op::Load => load(&options, &pool, store).await?,
    };
    ran.report("disintegrate-postgres 4.0.1", &options)
}

/// Creates the schema as the store does, also on a server that cannot read all of it.
async fn install(pool: &PgPool) -> Result<()> {
    let version: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::int")
        .fetch_one(pool)
        .await?;
    let installed = Store::try_new(pool.clone(), Json::default()).await;
    if version >= READS_HEXADECIMAL {
        installed?;
    } else {
        pool.execute(REST_OF_SCHEMA).await?;
    }
    Ok(())
}

async fn append(options: &Options, store: Store) -> Result<Ran> {
    // The id of the last event of the stream that a caller writes to; its version, to this store.
    let known: Arc<Vec<AtomicI64>> = Arc::new((0..options.callers).map(|_| 0.into()).collect());
    appends(options, move |caller, step| {
        let (store, known) = (store.clone(), known.clone());
        async move {
            let known = &known[caller as usize];
            let version = if step.version == 0 { 0 } else { known.load(Ordering::Relaxed) };
            let (last, retries) = until_accepted(|| append_once(&store, step, version)).await?;
            known.store(last, Ordering::Relaxed);
            Ok(Done { events: step.events, retries })
        }
    })
    .await
}

/// Appends a step; the id of its last event.
async fn append_once(store: &Store, step: Step, version: PgEventId) -> Result<PgEventId, Error> {
    let execution = step.stream;
    let events = step.bodies().map(|body| task_completed(execution, body)).collect();
    let conflicting: Query = query!(DomainEvent; execution == execution);
    let stored = store.append(events, conflicting, version).await?;
    Ok(stored.last().map_or(version, |event| event.id()))
}

/// The document as its users have it: the id that events are found by is a field of the event.
fn task_completed(execution: Uuid, mut body: Value) -> DomainEvent {
    if let Some(fields) = body.as_object_mut() {
        fields.remove("execution");
    }
    DomainEvent::TaskCompleted { execution, body }
}

/// What came of it, and how many times the server first refused it.
async fn until_accepted<T, A>(attempt: impl Fn() -> A) -> Result<(T, u64)>
where
    A: Future<Output = Result<T, Error>>,
{
    let mut retries = 0;
    loop {
        match attempt().await {
            Err(error) if is_refusal(&error) => retries += 1,
            ended => return Ok((ended.context("append")?, retries)),
        }
    }
}

/// Whether the error says that transactions could not be put in an order. No two callers write to
/// the same stream, so it never says that a version was wrong.
fn is_refusal(error: &Error) -> bool {
    match error {
        Error::Concurrency => true,
        Error::Database(error) => {
            error.as_database_error().and_then(|error| error.code()).as_deref() == Some("40001")
        }
        _ => false,
    }
}

async fn read(store: &Store, wanted: Query) -> Result<u64> {
    let mut items = store.stream(&wanted);
    let mut count = 0;
    while let Some(item) = items.next().await {
        if let StreamItem::Event(_) = item? {
            count += 1;
        }
    }
    Ok(count)
}

async fn load(options: &Options, pool: &PgPool, store: Store) -> Result<Ran> {
    let streams = sqlx::query_scalar("SELECT DISTINCT execution FROM event LIMIT $1")
        .bind(STREAMS)
        .fetch_all(pool)
        .await?;
    loads(options, streams, move |execution: Uuid| {
        let store = store.clone();
        async move { read(&store, query!(DomainEvent; execution == execution)).await }
    })
    .await
}
