//! Peer: postgres-es. An append is one `persist` of its event repository: a transaction with an
//! INSERT an event, whose number the primary key checks.

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::Result;
use bench_peers::{Done, Op, Options, Ran, STREAMS, Step, appends, loads, scans};
use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::{PersistedEventRepository, SerializedEvent};
use cqrs_es::{Aggregate, DomainEvent};
use postgres_es::PostgresEventRepository;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::{Executor, PgPool};

const TYPE: &str = "execution";
const EVENT: &str = "TaskCompleted";
const VERSION: &str = "1.0";

/// The table its documentation asks for.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS events (
    aggregate_type text NOT NULL,
    aggregate_id text NOT NULL,
    sequence bigint NOT NULL CHECK (sequence >= 0),
    event_type text NOT NULL,
    event_version text NOT NULL,
    payload json NOT NULL,
    metadata json NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence)
)";

#[derive(Default, Serialize, Deserialize)]
struct Execution;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct TaskCompleted(Value);

impl DomainEvent for TaskCompleted {
    fn event_type(&self) -> String {
        EVENT.into()
    }

    fn event_version(&self) -> String {
        VERSION.into()
    }
}

impl Aggregate for Execution {
    const TYPE: &'static str = TYPE;
    type Command = ();
    type Event = TaskCompleted;
    type Error = Infallible;
    type Services = ();

    async fn handle(&mut self, (): (), (): &(), _: &EventSink<Self>) -> Result<(), Infallible> {
        Ok(())
    }

    fn apply(&mut self, _: TaskCompleted) {}
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::read()?;
    let pool = options.connect().await?;
    let repository = Arc::new(PostgresEventRepository::new(pool.clone()));
    let ran = match options.op {
        Op::Append => append(&options, &pool, repository).await?,
        Op::Scan => scans(&options, async || scan(&repository).await).await?,
        Op::Load => load(&options, &pool, repository).await?,
    };
    ran.report("postgres-es 0.5.0", &options)
}

async fn append(
    options: &Options,
    pool: &PgPool,
    repository: Arc<PostgresEventRepository>,
) -> Result<Ran> {
    pool.execute(TABLE).await?;
    appends(options, move |_, step| {
        let repository = repository.clone();
        async move {
            repository.persist::<Execution>(&events(step), None).await?;
            Ok(Done::at_once(step.events))
        }
    })
    .await
}

fn events(step: Step) -> Vec<SerializedEvent> {
    let event = |(sequence, payload)| {
        SerializedEvent::new(
            step.stream.to_string(),
            sequence,
            TYPE.into(),
            EVENT.into(),
            VERSION.into(),
            payload,
            json!({}),
        )
    };
    (step.version as usize + 1..).zip(step.bodies()).map(event).collect()
}

/// It has no order among streams: this is sorted by the number an event has in its own.
async fn scan(repository: &PostgresEventRepository) -> Result<u64> {
    let mut events = repository.stream_all_events::<Execution>().await?;
    let mut count = 0;
    while let Some(event) = events.next::<Execution>(&[]).await {
        event?;
        count += 1;
    }
    Ok(count)
}

async fn load(
    options: &Options,
    pool: &PgPool,
    repository: Arc<PostgresEventRepository>,
) -> Result<Ran> {
    let streams = sqlx::query_scalar("SELECT DISTINCT aggregate_id FROM events LIMIT $1")
        .bind(STREAMS)
        .fetch_all(pool)
        .await?;
    loads(options, streams, move |stream: String| {
        let repository = repository.clone();
        async move { Ok(repository.get_events::<Execution>(&stream).await?.len() as u64) }
    })
    .await
}
