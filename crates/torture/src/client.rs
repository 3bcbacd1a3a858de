//! A client process: appends on a fixed schedule whatever the answers, reads the tail of the log,
//! and writes down what it asked and saw. Standard input ends when it is to stop.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use chrono::DateTime;
use domain::{Actor, Id, Tenant};
use eventstore::{
    Append, Appended, CommandKey, Draft, Error, EventStore, Expected, Metadata, PgEventStore,
    Reply, Role, StreamAppend, StreamId,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sqlx::PgPool;
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use uuid::Uuid;

use crate::bugs::Reading;
use crate::history::{Intent, Part, Record, Refusal, Writer, now};

pub(crate) const TENANT: Uuid = Uuid::from_u128(7);
/// The streams that all clients append to.
const HOT: u128 = 6;
/// How many appends of a client may be under way; beyond it the schedule is thinned.
const UNDER_WAY: usize = 64;
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the appends under way have when it is to stop.
const LAST: Duration = Duration::from_secs(35);
const CONNECTIONS: u32 = 6;

/// What a client is told at its start.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the database is.
    #[arg(long)]
    pub(crate) url: String,
    /// Where the history goes.
    #[arg(long)]
    pub(crate) history: PathBuf,
    /// What its choices come from.
    #[arg(long)]
    pub(crate) seed: u64,
    /// Appends a second.
    #[arg(long, default_value_t = 150)]
    pub(crate) rate: u64,
    /// Where its reader begins: at the beginning, or at the end of the log.
    #[arg(long)]
    pub(crate) from_head: bool,
    /// A planted bug: how the reader asks.
    #[arg(long, value_enum, default_value_t = Reading::Store)]
    pub(crate) reading: Reading,
    /// A planted bug: answers before it has stored.
    #[arg(long)]
    pub(crate) answers_first: bool,
}

/// The body that an event must have.
pub(crate) fn body(id: Uuid) -> String {
    format!("{{\"id\":\"{id}\"}}")
}

/// Runs until standard input ends.
pub(crate) async fn run(args: Args) -> Result<()> {
    let history = Writer::create(&args.history)?;
    let pool = pool(&args.url).await;
    let store = Arc::new(PgEventStore::new(pool.clone()));
    let client = Arc::new(Client {
        store: store.clone(),
        history: history.clone(),
        versions: Mutex::default(),
        ops: AtomicU64::new(0),
        answers_first: args.answers_first,
    });
    let tail = Tailing { store, pool, history, reading: args.reading, from_head: args.from_head };
    let tail = tokio::spawn(tail.run(args.seed));
    load(&client, args.seed, args.rate).await;
    tail.abort();
    Ok(())
}

/// Connects, however long the database is away.
async fn pool(url: &str) -> PgPool {
    loop {
        match eventstore::connect(url, Role::Command, CONNECTIONS).await {
            Ok(pool) => return pool,
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Sends appends when they are due, until standard input ends; then waits for their answers.
async fn load(client: &Arc<Client>, seed: u64, rate: u64) {
    let mut choices = Choices::new(seed);
    let room = Arc::new(Semaphore::new(UNDER_WAY));
    let mut due = interval(Duration::from_nanos(1_000_000_000 / rate.max(1)));
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut input, mut byte) = (tokio::io::stdin(), [0]);
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            _ = input.read(&mut byte) => break,
            _ = due.tick() => {}
        }
        while running.try_join_next().is_some() {}
        let Ok(place) = room.clone().try_acquire_owned() else { continue };
        let (client, intent) = (client.clone(), choices.next(client));
        running.spawn(async move {
            client.append(intent).await;
            drop(place);
        });
    }
    let _ = timeout(LAST, async { while running.join_next().await.is_some() {} }).await;
}

/// Chooses what is sent, by its seed.
struct Choices {
    random: StdRng,
    /// Commands under keys that may be sent again.
    keyed: Vec<Intent>,
}

impl Choices {
    fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), keyed: vec![] }
    }

    fn id(&mut self) -> Uuid {
        Uuid::from_u128(self.random.random())
    }

    fn part(&mut self, stream: Uuid, expected: Option<i64>) -> Part {
        let count = self.random.random_range(1..=4);
        Part { stream, expected, ids: (0..count).map(|_| self.id()).collect() }
    }

    fn hot(&mut self, client: &Client) -> Part {
        let stream = Uuid::from_u128(self.random.random_range(1..=HOT));
        self.part(stream, Some(client.version(stream)))
    }

    /// Of twenty: eight to a hot stream at a version, two to one at any, four to a new stream, two
    /// to both, two under a key, two again what was sent under a key, one of them in another shape.
    fn next(&mut self, client: &Client) -> Intent {
        let key = None;
        let fresh = self.id();
        match self.random.random_range(0..20) {
            0..8 => Intent { parts: vec![self.hot(client)], key },
            8..10 => {
                let stream = Uuid::from_u128(self.random.random_range(1..=HOT));
                Intent { parts: vec![self.part(stream, None)], key }
            }
            10..14 => Intent { parts: vec![self.part(fresh, Some(0))], key },
            14..16 => Intent { parts: vec![self.hot(client), self.part(fresh, Some(0))], key },
            nth if nth < 18 || self.keyed.is_empty() => {
                let key = Some((self.id().to_string(), 1));
                let intent = Intent { parts: vec![self.part(fresh, Some(0))], key };
                self.keyed.push(intent.clone());
                intent
            }
            nth => {
                let place = self.random.random_range(0..self.keyed.len());
                let mut intent = self.keyed[place].clone();
                if nth == 19 {
                    let key = intent.key.take().map(|(key, _)| (key, 2));
                    intent = Intent { parts: vec![self.part(fresh, Some(0))], key };
                }
                intent
            }
        }
    }
}

/// What all appends of the process share.
struct Client {
    store: Arc<PgEventStore>,
    history: Writer,
    /// What was last heard of the versions of hot streams.
    versions: Mutex<HashMap<Uuid, i64>>,
    ops: AtomicU64,
    answers_first: bool,
}

impl Client {
    fn version(&self, stream: Uuid) -> i64 {
        let versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.get(&stream).copied().unwrap_or_default()
    }

    fn heard(&self, stream: Uuid, version: i64) {
        if stream.as_u128() <= HOT {
            let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
            versions.insert(stream, version);
        }
    }

    /// Without a history there is nothing to check: then the process ends.
    fn write(&self, record: &Record) {
        if let Err(error) = self.history.add(record) {
            eprintln!("torture client: {error:#}");
            std::process::exit(1);
        }
    }

    async fn append(self: Arc<Self>, intent: Intent) {
        let op = self.ops.fetch_add(1, Ordering::Relaxed);
        let append = append(&intent);
        self.write(&Record::Invoke { at: now(), op, intent: intent.clone() });
        if self.answers_first && intent.key.is_none() {
            return self.answer_first(op, &intent, append).await;
        }
        let done = timeout(PATIENCE, self.store.append(append)).await;
        let record = match done {
            Ok(Ok(Appended { position, versions })) => {
                for (part, version) in intent.parts.iter().zip(&versions) {
                    self.heard(part.stream, *version);
                }
                Record::Ok { at: now(), op, position: Some(position), versions }
            }
            Ok(Err(error)) => self.refused(op, &error),
            Err(_) => Record::Info { at: now(), op, why: "no answer".to_owned() },
        };
        self.write(&record);
    }

    /// The planted bug: says that it is stored, and then stores it.
    async fn answer_first(&self, op: u64, intent: &Intent, append: Append) {
        let version = |part: &Part| {
            part.expected.map(|at| at + i64::try_from(part.ids.len()).unwrap_or_default())
        };
        if let Some(versions) = intent.parts.iter().map(version).collect() {
            self.write(&Record::Ok { at: now(), op, position: None, versions });
        }
        if let Ok(Ok(done)) = timeout(PATIENCE, self.store.append(append)).await {
            for (part, version) in intent.parts.iter().zip(done.versions) {
                self.heard(part.stream, version);
            }
        }
    }

    fn refused(&self, op: u64, error: &Error) -> Record {
        let at = now();
        let why = match error {
            Error::Conflict { stream, actual } => {
                self.heard(stream.id, *actual);
                Refusal::Conflict { stream: stream.id, actual: *actual }
            }
            Error::KeyUsed => Refusal::KeyUsed,
            Error::TooLarge { .. }
            | Error::Decode { .. }
            | Error::Newer { .. }
            | Error::Fenced(_) => Refusal::Other(error.to_string()),
            Error::Busy { .. } => Refusal::Other("busy".to_owned()),
            Error::Damaged(_) | Error::Unreadable { .. } => {
                return Record::Info { at, op, why: error.to_string() };
            }
            Error::Database(source) => return Record::Info { at, op, why: source.to_string() },
        };
        Record::Fail { at, op, why }
    }
}

fn append(intent: &Intent) -> Append {
    let tenant: Id<Tenant> = Id::from_uuid(TENANT);
    let draft = |id: &Uuid| Draft {
        id: *id,
        name: "execution.turn_taken".to_owned(),
        schema: 1,
        body: body(*id),
        opened: None,
        fact: None,
    };
    let part = |part: &Part| StreamAppend {
        stream: StreamId { tenant, category: "execution", id: part.stream },
        expected: part.expected.map_or(Expected::Any, Expected::At),
        subject: None,
        events: part.ids.iter().map(draft).collect(),
    };
    let first = intent.parts.first().map_or(Uuid::nil(), |part| part.stream);
    let reply = intent.key.as_ref().map(|(key, body)| {
        let key = CommandKey { principal: TENANT, key: key.clone(), fingerprint: [*body; 32] };
        (key, Reply { status: 201, location: None, body: "{}".to_owned() })
    });
    let meta = Metadata {
        tenant,
        actor: Actor::ApiKey(TENANT),
        correlation: first,
        causation: first,
        traceparent: None,
        at: DateTime::from_timestamp_nanos(1_795_000_000_000_000_000),
    };
    Append { meta, streams: intent.parts.iter().map(part).collect(), reply, fence: None }
}

/// The tail reader of the process.
struct Tailing {
    store: Arc<PgEventStore>,
    pool: PgPool,
    history: Writer,
    reading: Reading,
    from_head: bool,
}

impl Tailing {
    async fn run(self, seed: u64) {
        let mut random = StdRng::seed_from_u64(!seed);
        let mut at = loop {
            match self.store.head().await {
                Ok(head) => break if self.from_head { head } else { 0 },
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        loop {
            let limit = [1, 10, 100, 1_000][random.random_range(0..4)];
            let events = match self.reading.page(&self.store, &self.pool, at, limit).await {
                Ok(events) => events,
                Err(error) => {
                    eprintln!("torture reader at {at}: {error:#}");
                    vec![]
                }
            };
            if events.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            }
            let after = at;
            at = events.last().map_or(at, |(position, _)| *position);
            if self.history.add(&Record::Saw { at: now(), after, events }).is_err() {
                return;
            }
        }
    }
}
