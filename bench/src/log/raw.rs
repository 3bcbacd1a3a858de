//! What Postgres itself does at most: the same rows and indexes, without anything that makes a log
//! of them.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use sqlx::types::chrono::{DateTime, Utc};
use sqlx::{Connection, Executor, PgConnection};
use uuid::Uuid;

use crate::load::{Ran, Step, body, drive, id};

const ACTOR: &str = r#"{"api_key":"00000000-0000-0000-0000-000000000007"}"#;
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// How rows are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// `INSERT … SELECT unnest`, a column an array.
    Unnest,
    /// `COPY`, as text.
    Copy,
}

/// A table like a partition of the log's, with its two unique indexes.
pub(crate) async fn prepare(url: &str) -> Result<()> {
    eventstore::migrate(url).await?;
    let mut connection = PgConnection::connect(url).await?;
    connection
        .execute(
            "CREATE TABLE public.raw (LIKE es.event);
             ALTER TABLE public.raw ADD PRIMARY KEY (log_id, position);
             CREATE UNIQUE INDEX ON public.raw (log_id, stream, version, category, tenant)",
        )
        .await?;
    Ok(())
}

/// One connection that writes groups of so many rows, each group a transaction.
pub(crate) async fn write(url: &str, how: How, group: u64, long: Duration) -> Result<Ran> {
    prepare(url).await?;
    let mut connection = PgConnection::connect(url).await?;
    let (began, mut rows) = (Instant::now(), 0);
    while began.elapsed() < long {
        match how {
            How::Unnest => unnest(&mut connection, rows, group).await?,
            How::Copy => copy(&mut connection, rows, group).await?,
        }
        rows += group;
    }
    Ok(Ran::of(rows, began))
}

/// Callers that each commit one row of 300 bytes at a time: what disk and server take for a commit.
pub(crate) async fn commits(url: &str, callers: u64, long: Duration) -> Result<Ran> {
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(u32::try_from(callers)?.min(64))
        .test_before_acquire(false)
        .connect(url)
        .await?;
    sqlx::query("CREATE TABLE public.bare (id uuid PRIMARY KEY, body bytea NOT NULL)")
        .execute(&pool)
        .await?;
    drive(callers, long, move |step: Step| {
        let pool = pool.clone();
        async move {
            sqlx::query("INSERT INTO public.bare VALUES ($1, $2)")
                .bind(id())
                .bind(body(step.number).into_bytes())
                .execute(&pool)
                .await?;
            Ok(1)
        }
    })
    .await
}

#[derive(Default)]
struct Columns {
    positions: Vec<i64>,
    versions: Vec<i64>,
    times: Vec<DateTime<Utc>>,
    streams: Vec<Uuid>,
    ids: Vec<Uuid>,
    tenants: Vec<Uuid>,
    causations: Vec<Uuid>,
    salts: Vec<[u8; 32]>,
    bodies: Vec<Vec<u8>>,
}

fn columns(from: u64, count: u64) -> Columns {
    let mut columns = Columns::default();
    let (mut stream, at) = (id(), DateTime::from_timestamp_nanos(0));
    for row in from..from + count {
        if row % 18 == 0 {
            stream = id();
        }
        columns.positions.push(row.cast_signed() + 1);
        columns.versions.push((row % 18).cast_signed() + 1);
        columns.times.push(at);
        columns.streams.push(stream);
        columns.ids.push(id());
        columns.tenants.push(Uuid::from_u128(7));
        columns.causations.push(id());
        columns.salts.push(rand::random());
        columns.bodies.push(body(row).into_bytes());
    }
    columns
}

async fn unnest(connection: &mut PgConnection, from: u64, count: u64) -> Result<()> {
    let rows = columns(from, count);
    let same = rows.ids.len();
    sqlx::query(
        "INSERT INTO public.raw (position, version, at, schema, log_id, tenant, stream, id,
             correlation, causation, category, name, actor, traceparent, salt, body)
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::timestamptz[], $4::int[],
             $5::smallint[], $6::uuid[], $7::uuid[], $8::uuid[], $9::uuid[], $10::uuid[],
             $11::text[], $12::text[], $13::text[], $14::text[], $15::bytea[], $16::bytea[])",
    )
    .bind(&rows.positions)
    .bind(&rows.versions)
    .bind(&rows.times)
    .bind(vec![1_i32; same])
    .bind(vec![1_i16; same])
    .bind(&rows.tenants)
    .bind(&rows.streams)
    .bind(&rows.ids)
    .bind(&rows.streams)
    .bind(&rows.causations)
    .bind(vec!["execution"; same])
    .bind(vec!["execution.turn_taken"; same])
    .bind(vec![ACTOR; same])
    .bind(vec![TRACE; same])
    .bind(&rows.salts)
    .bind(&rows.bodies)
    .execute(connection)
    .await?;
    Ok(())
}

async fn copy(connection: &mut PgConnection, from: u64, count: u64) -> Result<()> {
    let rows = columns(from, count);
    let mut text = String::new();
    for nth in 0..rows.ids.len() {
        let salt = hex::encode(rows.salts[nth]);
        let body = hex::encode(&rows.bodies[nth]);
        writeln!(
            text,
            "{}\t{}\t{}\t1\t1\t{}\t{stream}\t{}\t{stream}\t{}\texecution\t\
             execution.turn_taken\t{ACTOR}\t{TRACE}\t\\\\x{salt}\t\\\\x{body}",
            rows.positions[nth],
            rows.versions[nth],
            rows.times[nth].to_rfc3339(),
            rows.tenants[nth],
            rows.ids[nth],
            rows.causations[nth],
            stream = rows.streams[nth],
        )?;
    }
    let sql = "COPY public.raw (position, version, at, schema, log_id, tenant, stream, id,
         correlation, causation, category, name, actor, traceparent, salt, body) FROM STDIN";
    let mut copy = connection.copy_in_raw(sql).await?;
    copy.send(text.into_bytes()).await?;
    copy.finish().await?;
    Ok(())
}
