//! Everstep's log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use chrono::{DateTime, Utc};
use domain::{Actor, Id, Tenant};
use eventstore::audit::Notary;
use eventstore::{
    Append, CommandKey, Draft, Error, EventStore, Expected, Metadata, PgEventStore, Position,
    ReadAhead, Reply, Role, Span, StreamAppend, StreamId,
};
use futures::stream::{self, StreamExt, TryStreamExt};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::load::{Ran, Step, body, drive, id};

pub(crate) const TENANT: Uuid = Uuid::from_u128(7);
/// One append in so many keeps an answer under an idempotency key, and one goes to two streams.
const SPECIAL: u64 = 10;
const CONNECTIONS: u32 = 8;
const NOW: DateTime<Utc> = DateTime::from_timestamp_nanos(1_795_000_000_000_000_000);

/// How appends are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) callers: u64,
    pub(crate) long: Duration,
    /// How many logs there are, each with a writer of its own.
    pub(crate) logs: u64,
    /// How many of a hundred appends are sent with a version that has passed, before they are sent
    /// with the right one.
    pub(crate) stale: u64,
    /// Whether what is appended is sealed at the same time.
    pub(crate) sealed: bool,
}

/// Appends, and checks that nothing is missing afterwards.
pub(crate) async fn append(url: &str, load: Load) -> Result<Ran> {
    eventstore::migrate(url).await?;
    let mut stores = vec![];
    for log in 1..=i16::try_from(load.logs)? {
        make_log(url, log).await?;
        let pool = eventstore::connect(url, Role::Command, CONNECTIONS).await?;
        stores.push(Arc::new(PgEventStore::of_log(pool, log)));
    }
    let sealing = load.sealed.then(|| tokio::spawn(keep_sealing(url.to_owned())));
    let before = heads(&stores).await?;
    let all = stores.clone();
    let ran = drive(load.callers, load.long, move |step| {
        let place = step.stream.as_u128() % u128::from(load.logs);
        let store = all[usize::try_from(place).unwrap_or(0)].clone();
        async move {
            // Three of four appends find a version that has passed.
            if step.version > 0 && step.number % 75 < load.stale {
                conflict(&store, step).await?;
            }
            let append = appended(step);
            let events = append.streams.iter().map(|part| part.events.len() as u64).sum();
            store.append(append).await.context("appending")?;
            Ok(events)
        }
    })
    .await?;
    if let Some(sealing) = sealing {
        sealing.abort();
        eprintln!("{} of {} events were sealed in that time", sealed(url).await?, ran.events);
    }
    let grown = heads(&stores).await? - before;
    ensure!(grown == i64::try_from(ran.events)?, "{grown} stored, {} confirmed", ran.events);
    whole(url).await?;
    Ok(ran)
}

async fn heads(stores: &[Arc<PgEventStore>]) -> Result<Position> {
    let mut heads = 0;
    for store in stores {
        heads += store.head().await?;
    }
    Ok(heads)
}

async fn make_log(url: &str, log: i16) -> Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::query("INSERT INTO es.log (log_id) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind(log)
        .execute(&mut connection)
        .await?;
    Ok(())
}

/// Positions of each log have no gap.
async fn whole(url: &str) -> Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    let gaps: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM es.log l JOIN LATERAL (
             SELECT count(*) AS n, max(position) AS last FROM es.event e WHERE e.log_id = l.log_id
         ) e ON e.n > 0 AND (e.n <> e.last OR e.last <> l.position)",
    )
    .fetch_one(&mut connection)
    .await?;
    ensure!(gaps == 0, "{gaps} logs have gaps");
    Ok(())
}

async fn conflict(store: &PgEventStore, step: Step) -> Result<()> {
    let mut stale = appended(Step { version: step.version - 1, ..step });
    stale.reply = None;
    match store.append(stale).await {
        Err(Error::Conflict { .. }) => Ok(()),
        other => bail!("a stale append must conflict: {other:?}"),
    }
}

fn part(stream: StreamId, expected: Expected, events: Vec<Draft>) -> StreamAppend {
    StreamAppend { stream, expected, subject: None, events }
}

fn appended(step: Step) -> Append {
    let tenant: Id<Tenant> = Id::from_uuid(TENANT);
    let name = |id| StreamId { tenant, category: "execution", id };
    let drafts = |count| {
        let draft = |nth| Draft {
            id: id(),
            name: "execution.turn_taken".to_owned(),
            schema: 1,
            body: body(step.number + nth),
            opened: None,
            fact: None,
        };
        (0..count).map(draft).collect()
    };
    let expected = Expected::At(step.version);
    let mut streams = vec![part(name(step.stream), expected, drafts(step.events))];
    if step.number % SPECIAL == 1 {
        let other = name(id());
        streams.push(part(other, Expected::None, drafts(1)));
    }
    let reply = (step.number % SPECIAL == 2).then(|| {
        let key = CommandKey { principal: TENANT, key: id().to_string(), fingerprint: [7; 32] };
        (key, Reply { status: 201, location: None, body: body(step.number) })
    });
    let meta = Metadata {
        tenant,
        actor: Actor::ApiKey(TENANT),
        correlation: step.stream,
        causation: id(),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        at: NOW,
    };
    Append { meta, streams, reply, fence: None }
}

/// Reads the log from the beginning, and parses every body.
pub(crate) async fn read(url: &str, page: usize) -> Result<Ran> {
    let pool = eventstore::connect(url, Role::Command, CONNECTIONS).await?;
    let store = Arc::new(PgEventStore::new(pool));
    let (began, mut events) = (Instant::now(), 0);
    let span = Span { after: 0, upto: Position::MAX, page, rate: None };
    let mut ahead = ReadAhead::start(store, span, |rows| rows);
    while let Some(rows) = ahead.next().await? {
        for row in &rows {
            serde_json::from_str::<serde_json::Value>(row.body.get())?;
        }
        events += u64::try_from(rows.len())?;
    }
    Ok(Ran::of(events, began))
}

/// Seals the log: reads it, grows the trees, signs a checkpoint every thousand events.
pub(crate) async fn seal(url: &str) -> Result<Ran> {
    let notary = notary(url).await?;
    let (began, mut events) = (Instant::now(), 0);
    loop {
        match notary.seal(NOW).await? {
            0 => return Ok(Ran::of(events, began)),
            sealed => events += u64::try_from(sealed)?,
        }
    }
}

/// Seals what comes until it is aborted.
async fn keep_sealing(url: String) -> Result<()> {
    let notary = notary(&url).await?;
    loop {
        if notary.seal(NOW).await? == 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn notary(url: &str) -> Result<Notary> {
    let pool = eventstore::connect(url, Role::Worker, CONNECTIONS).await?;
    let log = Arc::new(PgEventStore::new(pool.clone()));
    Ok(Notary::new(pool, log, Zeroizing::new([7; 32])))
}

async fn sealed(url: &str) -> Result<Position> {
    let mut connection = PgConnection::connect(url).await?;
    let sql = "SELECT position FROM es.notary WHERE log_id = 1";
    Ok(sqlx::query_scalar(sql).fetch_one(&mut connection).await?)
}

/// Loads streams of a hundred events, by so many callers at once.
pub(crate) async fn load(url: &str, callers: usize) -> Result<Ran> {
    const STREAMS: u64 = 2_000;
    let pool = eventstore::connect(url, Role::Command, u32::try_from(callers)?).await?;
    let store = PgEventStore::new(pool);
    let ids: Vec<Uuid> = (0..200).map(|_| id()).collect();
    for stream in &ids {
        for part in 0..20 {
            let step = Step { stream: *stream, version: part * 5, events: 5, number: 3 };
            store.append(appended(step)).await?;
        }
    }
    let began = Instant::now();
    let tenant: Id<Tenant> = Id::from_uuid(TENANT);
    let one = |nth: u64| {
        let stream = ids[usize::try_from(nth).unwrap_or(0) % ids.len()];
        let store = &store;
        async move {
            let rows = store
                .load(StreamId { tenant, category: "execution", id: stream }, 0, 1_000)
                .await?;
            ensure!(rows.len() == 100, "{} events", rows.len());
            Ok(rows.len() as u64)
        }
    };
    let events: Vec<u64> =
        stream::iter(0..STREAMS).map(one).buffer_unordered(callers).try_collect().await?;
    Ok(Ran::of(events.iter().sum(), began))
}
