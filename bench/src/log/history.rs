//! A long log of real events: a few executions that call an agent and notify somebody are run by
//! the binary itself, and their events stored again and again under new ids.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chrono::TimeDelta;
use domain::{Id, Tenant};
use eventstore::personal::{Keyring, Sealed};
use eventstore::{
    Append, Draft, EventStore, Expected, Metadata, PgEventStore, Recorded, Role, StreamAppend,
    StreamId, category,
};
use futures::stream::{self, StreamExt, TryStreamExt};
use serde_json::json;
use sqlx::{Connection, PgConnection};
use testkit::api::Client;
use testkit::everstep::Setup;
use uuid::Uuid;

/// The key of the vault: of those who run the executions, and of those who read the long log.
const MASTER: [u8; 32] = [7; 32];
const CONNECTIONS: u32 = 6;
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
/// How many copies are stored at the same time.
const AT_ONCE: usize = 256;
/// How many copies are stored a second while something else is measured: some ten events each.
const LIVE: f64 = 100.0;
/// How much later each copy happened.
const LATER: TimeDelta = TimeDelta::milliseconds(500);

/// The log, opened as the platform does.
pub(crate) async fn log(url: &str) -> Result<Arc<dyn EventStore>> {
    let pool = eventstore::connect(url, Role::Worker, CONNECTIONS).await?;
    let keys = Arc::new(Keyring::new(pool.clone(), &MASTER));
    Ok(Arc::new(Sealed::new(PgEventStore::new(pool), keys)))
}

/// The events of some executions, and of what they need.
#[derive(Debug)]
pub(crate) struct History {
    rows: Vec<Recorded>,
    /// Ids of streams and events that each copy has anew.
    ids: HashSet<Uuid>,
}

impl History {
    /// Runs the executions on a database of their own.
    pub(crate) async fn record(url: &str, files: &Path) -> Result<Self> {
        let setup = Setup::new(files.join("data"))?.database(url);
        let setup = setup.env("EVERSTEP_MASTER_KEY", &hex::encode(MASTER));
        let mut server = setup.start().await?;
        let ran = run(&server.client()).await;
        server.stop().await?;
        ran?;
        let rows = log(url).await?.read(0, 100_000).await?;
        let mine = rows.iter().filter(|row| is_of_a_run(row));
        let ids = mine.flat_map(|row| [row.stream, row.id, row.meta.correlation]).collect();
        Ok(Self { rows, ids })
    }

    /// Fills the log of an empty database with at least so many events; how many there are.
    pub(crate) async fn fill(&self, url: &str, events: usize) -> Result<u64> {
        eventstore::migrate(url).await?;
        let mut db = PgConnection::connect(url).await?;
        sqlx::query("SELECT es.make_partitions($1)")
            .bind(i64::try_from(events)? + 1_000_000)
            .execute(&mut db)
            .await?;
        let log = log(url).await?;
        self.tell(&*log, 0).await?;
        stream::iter(1..=self.copies(events)?)
            .map(|nth| self.tell(&*log, nth))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        for sql in ["VACUUM ANALYZE es.event", "VACUUM ANALYZE es.stream", "CHECKPOINT"] {
            sqlx::query(sql).execute(&mut db).await?;
        }
        Ok(u64::try_from(log.head().await?)?)
    }

    /// Whose executions they are.
    pub(crate) fn tenant(&self) -> Result<Id<Tenant>> {
        Ok(self.rows.iter().find(|row| is_of_a_run(row)).context("no execution")?.meta.tenant)
    }

    /// How many copies give so many events.
    fn copies(&self, events: usize) -> Result<u32> {
        let each = self.rows.iter().filter(|row| is_of_a_run(row)).count().max(1);
        Ok(u32::try_from(events.saturating_sub(self.rows.len()).div_ceil(each))?)
    }

    /// Goes on with a log that was filled with so many events, at a steady rate, until it is dropped.
    pub(crate) async fn live(&self, url: &str, events: usize) -> Result<()> {
        let log = log(url).await?;
        let mut beat = tokio::time::interval(Duration::from_secs_f64(1.0 / LIVE));
        for nth in self.copies(events)? + 1.. {
            beat.tick().await;
            self.tell(&*log, nth).await?;
        }
        Ok(())
    }

    /// Stores the nth copy; only the first has what happened once.
    async fn tell(&self, log: &dyn EventStore, nth: u32) -> Result<()> {
        let rows: Vec<&Recorded> =
            self.rows.iter().filter(|row| nth == 0 || is_of_a_run(row)).collect();
        let together = |a: &&Recorded, b: &&Recorded| a.stream == b.stream && a.meta == b.meta;
        for rows in rows.chunk_by(together) {
            log.append(self.copy(rows, nth)?).await?;
        }
        Ok(())
    }

    /// The nth copy of events that were appended together to one stream.
    fn copy(&self, rows: &[&Recorded], nth: u32) -> Result<Append> {
        let new = |id: Uuid| if self.ids.contains(&id) { mixed(id, nth) } else { id };
        let first = rows.first().context("no events")?;
        let meta = Metadata {
            at: first.meta.at + LATER * i32::try_from(nth).unwrap_or(i32::MAX),
            correlation: new(first.meta.correlation),
            causation: new(first.meta.causation),
            ..first.meta.clone()
        };
        let draft = |row: &&Recorded| Draft {
            id: new(row.id),
            name: row.name.clone(),
            schema: row.schema,
            body: body(&row.data(), &new),
            opened: None,
            fact: None,
        };
        let part = StreamAppend {
            stream: StreamId {
                tenant: meta.tenant,
                category: category(&first.category).context("an unknown category")?,
                id: new(first.stream),
            },
            expected: Expected::At(first.version - 1),
            subject: first.subject(),
            events: rows.iter().map(draft).collect(),
        };
        Ok(Append { meta, streams: vec![part], reply: None, fence: None })
    }
}

fn is_of_a_run(row: &Recorded) -> bool {
    OF_A_RUN.contains(&row.category.as_str())
}

/// A body with every id in it replaced that is one of those.
fn body(body: &str, new: &impl Fn(Uuid) -> Uuid) -> String {
    const LENGTH: usize = 36;
    let (mut replaced, mut rest) = (String::with_capacity(body.len()), body);
    while let Some(at) = rest.find('"') {
        let (before, after) = rest.split_at(at + 1);
        replaced.push_str(before);
        rest = after;
        // Ids stand in strings of their own, or at their beginning.
        if let Some(Ok(id)) = rest.get(..LENGTH).map(Uuid::try_parse) {
            replaced.push_str(&new(id).to_string());
            rest = &rest[LENGTH..];
        }
    }
    replaced.push_str(rest);
    replaced
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
