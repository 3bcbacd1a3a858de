//! Consumer groups on a real Postgres.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::agent::Agent;
use domain::scenario::NOON;
use domain::{Actor, Aggregate, Id, Tenant};
use eventstore::{
    Append, Draft, EventStore, Expected, Fence, Metadata, PgEventStore, Recorded, StreamAppend,
    StreamId,
};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgConnection, PgPool};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Consumer, Handler, SLICES, slice_of};
use crate::Error;
use crate::leases::{Divided, Leases};
use crate::subscriptions;

const TEST: Divided = Divided { name: "test", slices: SLICES };

type Rule = Box<dyn Fn(&Recorded) -> Result<(), Error> + Send + Sync>;

/// A handler that notes what it is given, in the transaction, and then keeps to a rule.
struct Recorder {
    by: &'static str,
    rule: Rule,
    gate: Option<Gate>,
}

/// Tells of each event, and waits to be let through.
struct Gate {
    entered: mpsc::UnboundedSender<i64>,
    pass: Arc<Semaphore>,
}

#[async_trait]
impl Handler for Recorder {
    fn concerns(&self, _: &Recorded) -> bool {
        true
    }

    async fn handle(&self, event: &Recorded, _: Fence, db: &mut PgConnection) -> Result<(), Error> {
        sqlx::query("INSERT INTO seen (position, stream, version, by) VALUES ($1, $2, $3, $4)")
            .bind(event.position)
            .bind(event.stream)
            .bind(event.version)
            .bind(self.by)
            .execute(db)
            .await?;
        if let Some(gate) = &self.gate {
            let _ = gate.entered.send(event.position);
            gate.pass.acquire().await.expect("is open").forget();
        }
        (self.rule)(event)
    }
}

fn recorder(by: &'static str) -> Recorder {
    Recorder { by, rule: Box::new(|_| Ok(())), gate: None }
}

fn ruled(rule: impl Fn(&Recorded) -> Result<(), Error> + Send + Sync + 'static) -> Recorder {
    Recorder { rule: Box::new(rule), ..recorder("a") }
}

/// A process that takes part.
struct Member {
    leases: Leases,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// The leases of a member of which nobody can tell whether it lives.
fn leases(pool: &PgPool, member: Uuid) -> Leases {
    let log = Arc::new(PgEventStore::new(pool.clone()));
    Leases::new(member, pool.clone(), log, (TEST, watch::channel(None).1))
}

impl Member {
    /// A member that has its share, as far as others let go of it.
    async fn start(pool: &PgPool, handler: Recorder) -> Self {
        let leases = leases(pool, Uuid::new_v5(&Uuid::nil(), handler.by.as_bytes()));
        leases.renew(&[]).await.expect("renews");
        let log: Arc<dyn EventStore> = Arc::new(PgEventStore::new(pool.clone()));
        let (owned, stop) = (leases.watch(), CancellationToken::new());
        let mut consumer = Consumer::new(TEST.name, pool.clone(), log, handler);
        consumer.look_over_every = Duration::from_millis(20);
        let token = stop.clone();
        let task = tokio::spawn(async move { consumer.run(owned, token).await });
        Self { leases, stop, task }
    }

    fn slices(&self) -> usize {
        self.leases.watch().borrow().slices.len()
    }

    /// Ends as a process does that is told to.
    async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("no panic");
        self.leases.release().await.expect("releases");
    }
}

async fn prepare(pool: &PgPool) -> PgEventStore {
    sqlx::raw_sql(
        "CREATE TABLE seen (nth bigserial, position bigint, stream uuid, version bigint, by text);
         INSERT INTO ops.subscription (name) VALUES ('test');
         INSERT INTO ops.slice (name, slice) SELECT 'test', generate_series(0, 15)",
    )
    .execute(pool)
    .await
    .expect("prepares");
    PgEventStore::new(pool.clone())
}

fn stream(number: u128) -> StreamId {
    let tenant: Id<Tenant> = Id::from_uuid(Uuid::from_u128(1));
    StreamId { tenant, category: Agent::NAME, id: Uuid::from_u128(number) }
}

/// Appends events to a stream; the position of the last.
async fn append(store: &PgEventStore, number: u128, count: usize, name: &str) -> i64 {
    let stream = stream(number);
    let draft = |_| Draft {
        id: Uuid::from_u128(rand::random()),
        name: name.to_owned(),
        schema: 1,
        body: "{}".to_owned(),
        opened: None,
        fact: None,
    };
    let meta = Metadata {
        tenant: stream.tenant,
        actor: Actor::System,
        correlation: Uuid::nil(),
        causation: Uuid::nil(),
        traceparent: None,
        at: NOON,
    };
    let events = (0..count).map(draft).collect();
    let streams = vec![StreamAppend { stream, expected: Expected::Any, subject: None, events }];
    store
        .append(Append { meta, streams, reply: None, fence: None })
        .await
        .expect("appends")
        .position
}

/// What was handled for good, in the order of handling: position, stream, version, by whom.
async fn seen(pool: &PgPool) -> Vec<(i64, Uuid, i64, String)> {
    sqlx::query_as("SELECT position, stream, version, by FROM seen ORDER BY nth")
        .fetch_all(pool)
        .await
        .expect("reads")
}

async fn positions(pool: &PgPool) -> Vec<i64> {
    seen(pool).await.into_iter().map(|(position, ..)| position).collect()
}

/// Looks again and again; a hang is ended by the test runner.
async fn eventually(mut look: impl AsyncFnMut() -> bool) {
    while !look().await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn until_seen(pool: &PgPool, count: usize) {
    eventually(async || seen(pool).await.len() >= count).await;
}

async fn parked(pool: &PgPool) -> Vec<subscriptions::Parked> {
    subscriptions::parked(pool, TEST.name).await.expect("reads")
}

fn failing(event: &Recorded) -> Result<(), Error> {
    if event.name == "bad" { Err(Error::Command("no".to_owned())) } else { Ok(()) }
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn members_share_the_slices_and_each_event_is_handled_once_and_in_order(
    options: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let mine = options.clone().connect_with(connect.clone()).await.expect("connects");
    let theirs = options.connect_with(connect).await.expect("connects");
    let store = prepare(&mine).await;
    let a = Member::start(&mine, recorder("a")).await;
    assert_eq!(a.slices(), 16, "alone it has them all");
    let b = Member::start(&theirs, recorder("b")).await;
    assert_eq!(b.slices(), 0, "nothing is free");
    for round in 0..40 {
        for number in 0..40 {
            append(&store, number, 1, "fine").await;
        }
        if round % 10 == 5 {
            a.leases.renew(&[]).await.expect("renews");
            b.leases.renew(&[]).await.expect("renews");
        }
    }
    assert_eq!((a.slices(), b.slices()), (8, 8), "a fair share each");
    until_seen(&mine, 1_600).await;
    a.stop().await;
    b.stop().await;
    let seen = seen(&mine).await;
    let mut positions: Vec<i64> = seen.iter().map(|(position, ..)| *position).collect();
    positions.sort_unstable();
    assert_eq!(positions, (1..=1_600).collect::<Vec<_>>(), "each event once");
    for number in 0..40 {
        let id = Uuid::from_u128(number);
        let of_stream = seen.iter().filter(|(_, stream, ..)| *stream == id);
        let versions: Vec<i64> = of_stream.map(|(_, _, version, _)| *version).collect();
        assert_eq!(versions, (1..=40).collect::<Vec<_>>(), "in the order of the stream");
    }
    assert!(["a", "b"].iter().all(|who| seen.iter().any(|(.., by)| by == who)), "both worked");
    let standing = subscriptions::list(&mine, &store).await.expect("lists");
    let test = standing.iter().find(|one| one.name == "test").expect("is there");
    assert_eq!(test.refused, 0, "slices changed hands when nothing was under way");
    drop(store);
    mine.close().await;
    theirs.close().await;
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_late_checkpoint_under_an_old_fence_is_refused_and_counted(
    options: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let mine = options.clone().connect_with(connect.clone()).await.expect("connects");
    let theirs = options.connect_with(connect).await.expect("connects");
    let store = prepare(&mine).await;
    let (entered, mut entries) = mpsc::unbounded_channel();
    let pass = Arc::new(Semaphore::new(0));
    let gate = Some(Gate { entered, pass: pass.clone() });
    let stalled = Member::start(&mine, Recorder { gate, ..recorder("a") }).await;
    append(&store, 7, 2, "fine").await;
    assert_eq!(entries.recv().await, Some(1), "it is at it");

    // Time passes by the database's clock, and it does not renew.
    sqlx::query("UPDATE ops.slice SET expires_at = '-infinity' WHERE name = 'test'")
        .execute(&mine)
        .await
        .expect("expires");
    sqlx::query("DELETE FROM ops.member").execute(&mine).await.expect("expires");
    let other = Member::start(&theirs, recorder("b")).await;
    until_seen(&mine, 2).await;

    pass.add_permits(1_000);
    let refused = async || {
        let all = subscriptions::list(&mine, &store).await.expect("lists");
        all.iter().find(|one| one.name == "test").map_or(0, |one| one.refused)
    };
    eventually(async || refused().await > 0).await;
    assert_eq!(refused().await, 1);
    append(&store, 7, 1, "fine").await;
    until_seen(&mine, 3).await;
    stalled.stop().await;
    other.stop().await;
    let by: Vec<(i64, String)> =
        seen(&mine).await.into_iter().map(|(position, _, _, by)| (position, by)).collect();
    let b = || "b".to_owned();
    assert_eq!(by, [(1, b()), (2, b()), (3, b())], "what the late one wrote is gone");
    drop(store);
    mine.close().await;
    theirs.close().await;
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_member_that_stops_hands_over_at_once_and_the_next_one_goes_on_exactly_there(
    pool: PgPool,
) {
    let store = prepare(&pool).await;
    let a = Member::start(&pool, recorder("a")).await;
    for number in 0..20 {
        append(&store, number, 3, "fine").await;
    }
    until_seen(&pool, 60).await;
    a.stop().await;
    for number in 0..20 {
        append(&store, number, 1, "fine").await;
    }
    let b = Member::start(&pool, recorder("b")).await;
    assert_eq!(b.slices(), 16, "nothing had to expire");
    until_seen(&pool, 80).await;
    b.stop().await;
    let mut positions = positions(&pool).await;
    positions.sort_unstable();
    assert_eq!(positions, (1..=80).collect::<Vec<_>>());
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn who_comes_back_under_its_own_name_gets_a_new_fence(pool: PgPool) {
    prepare(&pool).await;
    let first = leases(&pool, Uuid::from_u128(1));
    first.renew(&[]).await.expect("renews");
    first.renew(&[]).await.expect("renews");
    let before = first.watch().borrow().slices.clone();
    first.renew(&[]).await.expect("renews");
    assert_eq!(first.watch().borrow().slices, before, "they stay the same");
    let reborn = leases(&pool, Uuid::from_u128(1));
    reborn.renew(&[]).await.expect("renews");
    let owned = reborn.watch().borrow().slices.clone();
    assert_eq!(owned.len(), 16, "it does not wait for itself");
    assert!(owned.iter().all(|(slice, epoch)| before[slice] < *epoch));
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_poison_event_parks_its_stream_and_holds_back_what_follows(pool: PgPool) {
    let store = prepare(&pool).await;
    let (sick, well) = (Uuid::from_u128(1), Uuid::from_u128(17));
    let same_slice = (2..1_000).map(Uuid::from_u128).find(|id| slice_of(*id) == slice_of(sick));
    let neighbour = same_slice.expect("there is one").as_u128();
    append(&store, 1, 1, "fine").await;
    let bad = append(&store, 1, 1, "bad").await;
    append(&store, neighbour, 2, "fine").await;
    append(&store, 1, 2, "fine").await;
    append(&store, well.as_u128(), 1, "fine").await;
    let member = Member::start(&pool, ruled(failing)).await;
    until_seen(&pool, 4).await;
    eventually(async || parked(&pool).await.len() == 1).await;
    let row = parked(&pool).await.remove(0);
    assert_eq!((row.stream, row.position, row.version), (sick, bad, 2));
    assert_eq!((row.tries, row.cause.as_str()), (4, "failed"));
    assert_eq!(row.reason, "the command was not taken: no");
    let later = append(&store, 1, 1, "fine").await;
    append(&store, neighbour, 1, "fine").await;
    until_seen(&pool, 5).await;
    let seen = seen(&pool).await;
    let of_sick = seen.iter().filter(|(_, stream, ..)| *stream == sick);
    assert_eq!(of_sick.count(), 1, "nothing behind it was given, up to {later}");
    member.stop().await;
}

/// Slices are not held up by what is parked in them, whoever owns them.
#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn what_was_held_back_is_given_in_order_once_it_is_tried_again(pool: PgPool) {
    let store = prepare(&pool).await;
    append(&store, 1, 1, "bad").await;
    append(&store, 1, 3, "fine").await;
    let member = Member::start(&pool, ruled(failing)).await;
    eventually(async || parked(&pool).await.len() == 1).await;

    assert_eq!(subscriptions::retry(&pool, "test", None).await.expect("asks"), 1);
    eventually(async || parked(&pool).await.iter().any(|row| row.tries == 8 && !row.again)).await;
    member.stop().await;
    assert_eq!(positions(&pool).await, [0_i64; 0], "it is as sick as before");

    // Whoever owns the slice next holds back what was held back.
    let mended = Member::start(&pool, recorder("b")).await;
    append(&store, 1, 1, "fine").await;
    append(&store, 2, 1, "fine").await;
    until_seen(&pool, 1).await;
    assert_eq!(positions(&pool).await, [6]);
    assert_eq!(subscriptions::retry(&pool, "test", Some(Uuid::from_u128(1))).await.unwrap(), 1);
    eventually(async || parked(&pool).await.is_empty()).await;
    append(&store, 1, 1, "fine").await;
    until_seen(&pool, 7).await;
    mended.stop().await;
    assert_eq!(positions(&pool).await, [6, 1, 2, 3, 4, 5, 7]);
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn what_is_skipped_on_purpose_stays_known_and_the_rest_goes_on(pool: PgPool) {
    let store = prepare(&pool).await;
    append(&store, 1, 1, "fine").await;
    append(&store, 1, 1, "bad").await;
    append(&store, 1, 1, "fine").await;
    append(&store, 1, 1, "bad").await;
    let member = Member::start(&pool, ruled(failing)).await;
    eventually(async || parked(&pool).await.len() == 1).await;
    let not_there = subscriptions::skip(&pool, "test", 3, "why").await;
    assert!(matches!(not_there, Err(subscriptions::Error::NotParked { position: 3, .. })));
    subscriptions::skip(&pool, "test", 2, "it is of no use").await.expect("skips");
    eventually(async || parked(&pool).await.iter().any(|row| row.position == 4)).await;
    subscriptions::skip(&pool, "test", 4, "nor is this").await.expect("skips");
    eventually(async || parked(&pool).await.is_empty()).await;
    append(&store, 1, 1, "fine").await;
    until_seen(&pool, 3).await;
    member.stop().await;
    assert_eq!(positions(&pool).await, [1, 3, 5]);
    let skipped = subscriptions::skipped(&pool, "test").await.expect("reads");
    assert_eq!(skipped.iter().map(|row| row.position).collect::<Vec<_>>(), [2, 4]);
    assert_eq!(skipped[0].reason, "it is of no use");
    assert_eq!(skipped[0].failure, "the command was not taken: no");
    let forgotten = sqlx::query("DELETE FROM ops.skipped").execute(&pool).await;
    assert!(forgotten.is_err(), "nobody can make it unknown");
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_handler_that_panics_parks_one_stream(pool: PgPool) {
    let store = prepare(&pool).await;
    append(&store, 1, 1, "bad").await;
    append(&store, 2, 1, "fine").await;
    let panics = |event: &Recorded| {
        assert!(event.name != "bad", "cannot take this");
        Ok(())
    };
    let member = Member::start(&pool, ruled(panics)).await;
    until_seen(&pool, 1).await;
    eventually(async || parked(&pool).await.len() == 1).await;
    member.stop().await;
    assert_eq!(parked(&pool).await[0].reason, "it panicked: cannot take this");
    assert_eq!(positions(&pool).await, [2]);
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_stream_of_a_newer_release_is_suspended_until_that_release_runs(pool: PgPool) {
    let store = prepare(&pool).await;
    append(&store, 1, 1, "bad").await;
    append(&store, 1, 1, "fine").await;
    append(&store, 2, 1, "fine").await;
    let old = |event: &Recorded| match event.name.as_str() {
        "bad" => Err(eventstore::Error::Newer { name: "bad".to_owned(), version: 9 }.into()),
        _ => Ok(()),
    };
    let member = Member::start(&pool, ruled(old)).await;
    until_seen(&pool, 1).await;
    eventually(async || parked(&pool).await.len() == 1).await;
    let row = parked(&pool).await.remove(0);
    assert_eq!((row.cause.as_str(), row.tries), ("newer", 1), "trying again is of no use");
    assert_eq!(row.reason, "bad v9 was written by a newer release");
    member.stop().await;

    let again = Member::start(&pool, ruled(old)).await;
    append(&store, 2, 1, "fine").await;
    until_seen(&pool, 2).await;
    again.stop().await;
    assert_eq!(parked(&pool).await.len(), 1, "this release knows no more");

    let new = Member::start(&pool, recorder("b")).await;
    eventually(async || parked(&pool).await.is_empty()).await;
    new.stop().await;
    assert_eq!(positions(&pool).await, [3, 4, 1, 2], "nobody had to ask for it");
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn bad_weather_parks_nothing_and_loses_nothing(pool: PgPool) {
    let store = prepare(&pool).await;
    append(&store, 1, 2, "fine").await;
    append(&store, 2, 2, "fine").await;
    let storms = Semaphore::new(3);
    let busy = move |_: &Recorded| match storms.try_acquire() {
        Ok(storm) => {
            storm.forget();
            Err(eventstore::Error::Busy { retry_after: Duration::ZERO }.into())
        }
        Err(_) => Ok(()),
    };
    let member = Member::start(&pool, ruled(busy)).await;
    let said = async || {
        let all = subscriptions::list(&pool, &store).await.expect("lists");
        all.into_iter().find_map(|one| one.error)
    };
    eventually(async || said().await.is_some()).await;
    until_seen(&pool, 4).await;
    eventually(async || said().await.is_none()).await;
    member.stop().await;
    let mut positions = positions(&pool).await;
    positions.sort_unstable();
    assert_eq!(positions, [1, 2, 3, 4]);
    assert!(parked(&pool).await.is_empty());
}

#[sqlx::test(migrator = "eventstore::MIGRATOR")]
async fn a_log_of_others_moves_the_checkpoints_of_all_slices(pool: PgPool) {
    let store = prepare(&pool).await;
    let member = Member::start(&pool, recorder("a")).await;
    let last = append(&store, 1, 5, "fine").await;
    eventually(async || {
        let all = subscriptions::list(&pool, &store).await.expect("lists");
        let test = all.into_iter().find(|one| one.name == "test").expect("is there");
        test.position == last && test.lag_events == 0 && test.lag_seconds == 0
    })
    .await;
    member.stop().await;
}
