//! Following the log on a real Postgres: how much is asked of it, and when.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::PgPool;
use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Record};
use tracing::{Event, Id, Metadata, Subscriber};

use super::super::bell::POLL;
use super::{PgEventStore, one, stream};
use crate::{EventStore, Expected, Filter, StreamId, Subscription};

/// Every statement that the database driver says it has run.
#[derive(Debug, Clone, Default)]
struct Statements(Arc<Mutex<Vec<String>>>);

impl Statements {
    fn all(&self) -> Vec<String> {
        self.0.lock().expect("no panic").clone()
    }
}

impl Subscriber for Statements {
    fn enabled(&self, about: &Metadata<'_>) -> bool {
        about.target() == "sqlx::query"
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Visit for Statements {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "summary" {
            self.0.lock().expect("no panic").push(value.to_owned());
        }
    }
    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn an_idle_subscription_asks_nothing_but_the_slow_poll(pool: PgPool) {
    append_and_leave(&pool).await;
    let seen = Statements::default();
    let guard = tracing::subscriber::set_default(seen.clone());
    let store = PgEventStore::new(pool);
    let mut subscription = Subscription::new(&store, Filter::default(), 0, 10);
    assert_eq!(subscription.next().await.expect("reads").upto, 1);

    let until = async |enough: &dyn Fn(&[String]) -> bool| {
        while !enough(&seen.all()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        (seen.all().len(), Instant::now())
    };
    let idle = async {
        // It begins by listening; from there on nothing is new.
        let (begun, _) = until(&|seen| seen.iter().any(|one| one.starts_with("LISTEN"))).await;
        let (first, from) = until(&|seen| seen.len() > begun).await;
        let (last, to) = until(&|seen| seen.len() >= first + 4).await;
        (first..last, to - from)
    };
    let (asked, took) = tokio::select! {
        read = subscription.next() => panic!("there is nothing to read: {read:?}"),
        asked = idle => asked,
    };
    let asked: BTreeSet<String> = seen.all()[asked].iter().cloned().collect();
    assert_eq!(asked.into_iter().collect::<Vec<_>>(), ["SELECT position, floor FROM …"]);
    assert!(took >= 3 * POLL, "four statements took {took:?}");
    drop(guard);

    store.append(one(1, Expected::At(1), [2])).await.expect("appends");
    assert_eq!(subscription.next().await.expect("reads").upto, 2, "and yet it wakes up");
}

/// Appends as another process would that has ended: nothing of it, such as its announcement, is
/// still on its way.
async fn append_and_leave(pool: &PgPool) {
    let other = PgPool::connect_with((*pool.connect_options()).clone()).await.expect("connects");
    let store = PgEventStore::new(other.clone());
    store.append(one(1, Expected::None, [1])).await.expect("appends");
    drop(store);
    other.close().await;
}

/// What is far apart is looked for by the database, a stretch at a time.
#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_filter_looks_through_a_stretch_at_a_time(pool: PgPool) {
    let store = PgEventStore::new(pool);
    for thousand in 0..12_u128 {
        let ids = thousand * 1_000..(thousand + 1) * 1_000;
        store.append(one(thousand, Expected::None, ids)).await.expect("appends");
    }
    let rare = StreamId { category: "rare", ..stream(99) };
    let mut found = one(99, Expected::None, [99_999]);
    found.streams[0].stream = rare;
    store.append(found).await.expect("appends");
    let filter = Filter { tenant: None, categories: Some(vec!["rare"]) };
    let mut subscription = Subscription::new(&store, filter, 0, 10);
    let mut stretches = vec![];
    while subscription.position() < 12_001 {
        let stretch = subscription.next().await.expect("reads");
        stretches.push((stretch.events.len(), stretch.upto));
    }
    assert_eq!(stretches, [(0, 10_000), (1, 12_001)]);
}
