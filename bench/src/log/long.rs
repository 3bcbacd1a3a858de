//! A log that has many events already.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use domain::{Id, Tenant};
use eventstore::{EventStore as _, PgEventStore, Role, StreamId};
use sqlx::{Connection, Executor, PgConnection};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::load::Ran;
use crate::ours::TENANT;

/// How many events a stream has, those that are appended while it is measured aside.
const STREAM: i64 = 20;
/// How many events are written at once.
const AT_ONCE: i64 = 500_000;

/// Writes events up to a position, past everything that makes a log of them, as appends would have
/// left them.
pub(crate) async fn fill(url: &str, upto: i64) -> Result<()> {
    let mut db = PgConnection::connect(url).await?;
    let mut at: i64 = sqlx::query_scalar("SELECT position FROM es.log WHERE log_id = 1")
        .fetch_one(&mut db)
        .await?;
    while at < upto {
        let next = upto.min(at + AT_ONCE);
        sqlx::query(
            "INSERT INTO es.event (position, version, at, schema, log_id, tenant, stream, id,
                 correlation, causation, category, name, actor, traceparent, salt, body)
             SELECT p, (p - 1) % $3 + 1, now(), 1, 1, $4, md5('s' || (p - 1) / $3)::uuid,
                 gen_random_uuid(), md5('s' || (p - 1) / $3)::uuid, gen_random_uuid(), 'execution',
                 'execution.turn_taken', '{\"api_key\":\"00000000-0000-0000-0000-000000000007\"}',
                 '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
                 sha256(p::text::bytea), convert_to(rpad('{\"n\":' || p, 299, ' ') || '}', 'UTF8')
             FROM generate_series($1 + 1, $2) p",
        )
        .bind(at)
        .bind(next)
        .bind(STREAM)
        .bind(TENANT)
        .execute(&mut db)
        .await?;
        sqlx::query(
            "INSERT INTO es.stream
                 (log_id, id, category, tenant, version, first_position, last_position)
             SELECT 1, md5('s' || s)::uuid, 'execution', $4, $3, s * $3 + 1, (s + 1) * $3
             FROM generate_series($1 / $3, $2 / $3 - 1) s
             ON CONFLICT DO NOTHING",
        )
        .bind(at)
        .bind(next)
        .bind(STREAM)
        .bind(TENANT)
        .execute(&mut db)
        .await?;
        at = next;
    }
    sqlx::query("UPDATE es.log SET position = $1 WHERE log_id = 1")
        .bind(upto)
        .execute(&mut db)
        .await?;
    db.execute("VACUUM ANALYZE").await?;
    db.execute("CHECKPOINT").await?;
    Ok(())
}

/// How many different streams are loaded.
const SAMPLE: i64 = 20_000;

/// Loads streams anywhere in the log, each once or more, by so many callers at once.
pub(crate) async fn load(url: &str, callers: usize, long: Duration) -> Result<Ran> {
    let pool = eventstore::connect(url, Role::Command, u32::try_from(callers)?).await?;
    let streams: Vec<Uuid> =
        sqlx::query_scalar("SELECT id FROM es.stream WHERE log_id = 1 ORDER BY random() LIMIT $1")
            .bind(SAMPLE)
            .fetch_all(&pool)
            .await?;
    let store = Arc::new(PgEventStore::new(pool));
    let streams = Arc::new(streams);
    let (began, mut running) = (Instant::now(), JoinSet::new());
    for caller in 0..callers {
        let (store, streams) = (store.clone(), streams.clone());
        running.spawn(async move {
            let tenant: Id<Tenant> = Id::from_uuid(TENANT);
            let (mut events, mut mine) = (0, streams.iter().skip(caller).step_by(callers).cycle());
            while let Some(id) = mine.next().filter(|_| began.elapsed() < long) {
                let stream = StreamId { tenant, category: "execution", id: *id };
                events += store.load(stream, 0, 1_000).await?.len() as u64;
            }
            anyhow::Ok(events)
        });
    }
    let mut events = 0;
    while let Some(done) = running.join_next().await {
        events += done??;
    }
    Ok(Ran::of(events, began))
}
