//! A long log of real events: a few executions that call an agent and notify somebody are run by
//! the binary itself, and their events stored again and again under new ids.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sqlx::{Connection, FromRow, PgConnection};
use testkit::api::Client;
use testkit::everstep::Setup;
use uuid::Uuid;

const DOCUMENT: &str = "
document: {dsl: 1.0.3, namespace: bench, name: triage, version: 1.0.0}
do:
  - prepare: {set: {post: '${ .post }', length: '${ .post | length }'}}
  - ask: {call: agent, with: {agent: sorter, input: {post: '${ .post }'}}}
  - choose: {switch: [{long: {when: '(. | tostring | length) > 10', then: tell}}, {short: {then: end}}]}
  - tell: {call: notify, with: {channel: email, to: me@example.com, template: greeting, data: {name: Me}}}
  - keep: {set: {done: true}}
";
/// How many executions are run; what they say differs.
const RUNS: u32 = 16;
/// Categories of the streams that come with an execution.
const OF_A_RUN: [&str; 3] = ["execution", "invocation", "notification"];
/// Rows of one statement.
const GROUP: usize = 5_000;
/// How much later each copy happened.
const LATER: TimeDelta = TimeDelta::milliseconds(500);

/// The events of some executions, and of what they need.
#[derive(Debug)]
pub(crate) struct History {
    rows: Vec<Event>,
    /// Ids of streams and events that each copy has anew.
    ids: HashSet<Uuid>,
}

#[derive(Debug, Clone, FromRow)]
struct Event {
    at: DateTime<Utc>,
    version: i64,
    schema: i32,
    tenant: Uuid,
    stream: Uuid,
    id: Uuid,
    correlation: Uuid,
    causation: Uuid,
    category: String,
    name: String,
    actor: String,
    salt: Vec<u8>,
    body: Vec<u8>,
}

impl History {
    /// Runs the executions on a database of their own.
    pub(crate) async fn record(url: &str, files: &Path) -> Result<Self> {
        let setup = Setup::new(files.join("data"))?.database(url);
        let server = setup.start().await?;
        let ran = run(&server.client()).await;
        server.stop().await?;
        ran?;
        let mut db = PgConnection::connect(url).await?;
        let rows: Vec<Event> =
            sqlx::query_as("SELECT * FROM es.event ORDER BY position").fetch_all(&mut db).await?;
        let mine = rows.iter().filter(|row| row.is_of_a_run());
        let ids = mine.flat_map(|row| [row.stream, row.id, row.correlation]).collect();
        Ok(Self { rows, ids })
    }

    /// Fills the log of an empty database with at least so many events; how many there are.
    pub(crate) async fn fill(&self, url: &str, events: usize) -> Result<u64> {
        eventstore::migrate(url).await?;
        let mut db = PgConnection::connect(url).await?;
        sqlx::query("SET synchronous_commit = off").execute(&mut db).await?;
        sqlx::query("SELECT es.make_partitions($1)")
            .bind(i64::try_from(events)? + 1_000_000)
            .execute(&mut db)
            .await?;
        let (mut stored, mut copy) = (0, 0);
        let mut group = vec![];
        while stored + group.len() < events || !group.is_empty() {
            while group.len() < GROUP && stored + group.len() < events {
                group.extend(self.copy(copy));
                copy += 1;
            }
            insert(&mut db, stored, &group).await?;
            stored += group.len();
            group.clear();
        }
        let sql = "INSERT INTO es.stream
                (log_id, id, category, tenant, version, first_position, last_position)
            SELECT log_id, stream, category, tenant, max(version), min(position), max(position)
            FROM es.event GROUP BY log_id, stream, category, tenant";
        sqlx::query(sql).execute(&mut db).await?;
        sqlx::query("UPDATE es.log SET position = $1 WHERE log_id = 1")
            .bind(i64::try_from(stored)?)
            .execute(&mut db)
            .await?;
        for sql in ["VACUUM ANALYZE es.event", "VACUUM ANALYZE es.stream", "CHECKPOINT"] {
            sqlx::query(sql).execute(&mut db).await?;
        }
        Ok(u64::try_from(stored)?)
    }

    /// The nth copy; only the first has what happened once.
    fn copy(&self, nth: u32) -> Vec<Event> {
        let rows = self.rows.iter().filter(|row| nth == 0 || row.is_of_a_run());
        rows.map(|row| self.renamed(row, nth)).collect()
    }

    fn renamed(&self, row: &Event, nth: u32) -> Event {
        let new = |id: Uuid| if self.ids.contains(&id) { mixed(id, nth) } else { id };
        Event {
            at: row.at + LATER * i32::try_from(nth).unwrap_or(i32::MAX),
            stream: new(row.stream),
            id: new(row.id),
            correlation: new(row.correlation),
            causation: new(row.causation),
            body: body(&row.body, &new),
            ..row.clone()
        }
    }
}

impl Event {
    fn is_of_a_run(&self) -> bool {
        OF_A_RUN.contains(&self.category.as_str())
    }
}

/// A body with every id in it replaced that is one of those.
fn body(body: &[u8], new: &impl Fn(Uuid) -> Uuid) -> Vec<u8> {
    let mut body = body.to_vec();
    let mut at = 0;
    while at + 36 <= body.len() {
        if body[at + 8] != b'-' || body[at + 13] != b'-' {
            at += 1;
            continue;
        }
        let Ok(id) = Uuid::try_parse_ascii(&body[at..at + 36]) else {
            at += 1;
            continue;
        };
        new(id).hyphenated().encode_lower(&mut body[at..at + 36]);
        at += 36;
    }
    body
}

/// Another id for each number; itself for 0.
fn mixed(id: Uuid, nth: u32) -> Uuid {
    const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    Uuid::from_u128(id.as_u128() ^ u128::from(nth).wrapping_mul(SPREAD))
}

async fn run(client: &Client) -> Result<()> {
    let make = async |path: &str, body| client.post(path, &body).await?.expect(201);
    make("/prompts", json!({"name": "sorter", "user": "{{ post }}"})).await?;
    let agent = json!({"name": "sorter", "provider": "sandbox", "prompt": {"name": "sorter"}});
    make("/agents", agent).await?;
    let template = json!({"name": "greeting", "subject": "Hello", "text": "Hello {{ name }}"});
    make("/notifications/templates", template).await?;
    let workflow = client.post_document("/workflows", DOCUMENT).await?.expect(201)?.body;
    let path = format!("/workflows/{}/execute", workflow["id"].as_str().context("no id")?);
    for nth in 0..RUNS {
        let input = json!({"input": {"post": format!("question {nth}: how long is a day?")}});
        client.post(&format!("{path}?wait=30s"), &input).await?.expect(200)?;
    }
    let began = Instant::now();
    loop {
        let sent = client.all("/notifications").await?;
        if sent.iter().filter(|one| one["status"] == "sent").count() == RUNS as usize {
            return Ok(());
        }
        ensure!(began.elapsed() < Duration::from_secs(30), "notifications are not sent: {sent:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn insert(db: &mut PgConnection, after: usize, rows: &[Event]) -> Result<()> {
    fn column<'a, T>(rows: &'a [Event], of: impl Fn(&'a Event) -> T) -> Vec<T> {
        rows.iter().map(of).collect()
    }
    sqlx::query(
        "INSERT INTO es.event (position, version, at, schema, log_id, tenant, stream, id,
             correlation, causation, category, name, actor, salt, body)
         SELECT $1 + nth, version, at, schema, 1, tenant, stream, id, correlation, causation,
             category, name, actor, salt, body
         FROM unnest($2::bigint[], $3::timestamptz[], $4::int[], $5::uuid[], $6::uuid[],
             $7::uuid[], $8::uuid[], $9::uuid[], $10::text[], $11::text[], $12::text[],
             $13::bytea[], $14::bytea[])
             WITH ORDINALITY AS row (version, at, schema, tenant, stream, id, correlation,
                 causation, category, name, actor, salt, body, nth)",
    )
    .bind(i64::try_from(after)?)
    .bind(column(rows, |row| row.version))
    .bind(column(rows, |row| row.at))
    .bind(column(rows, |row| row.schema))
    .bind(column(rows, |row| row.tenant))
    .bind(column(rows, |row| row.stream))
    .bind(column(rows, |row| row.id))
    .bind(column(rows, |row| row.correlation))
    .bind(column(rows, |row| row.causation))
    .bind(column(rows, |row| row.category.as_str()))
    .bind(column(rows, |row| row.name.as_str()))
    .bind(column(rows, |row| row.actor.as_str()))
    .bind(column(rows, |row| row.salt.as_slice()))
    .bind(column(rows, |row| row.body.as_slice()))
    .execute(db)
    .await?;
    Ok(())
}
