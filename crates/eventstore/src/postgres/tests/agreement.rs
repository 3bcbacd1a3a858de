//! Postgres and memory agree, whatever is asked of them, and the log stays whole.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use sqlx::PgPool;
use uuid::Uuid;

use super::super::LOG;
use super::super::batch::{Batch, Outcome, salts};
use super::{PgEventStore, append, part, stream};
use crate::{
    Append, Appended, CommandKey, Error, EventStore, Expected, Fence, MemoryEventStore, Recorded,
    Reply, StreamAppend,
};

const HISTORIES: u128 = 60;

/// What is asked: something new, or the same as before.
#[derive(Debug, Clone)]
enum Asked {
    New { parts: BTreeMap<u128, (Expected, u128)>, key: Option<(u8, u8)>, epoch: Option<i64> },
    Again(prop::sample::Index),
}

fn expected() -> impl Strategy<Value = Expected> {
    prop_oneof![
        Just(Expected::Any),
        Just(Expected::None),
        Just(Expected::Exists),
        (0..5_i64).prop_map(Expected::At),
    ]
}

/// Up to three of three streams, up to three events for each; keys that are often used before; now and
/// then an epoch, of which only the second is right.
fn asked() -> impl Strategy<Value = Asked> {
    let parts = prop::collection::btree_map(0..3_u128, (expected(), 0..4_u128), 0..3);
    let key = prop::option::weighted(0.3, (0..3_u8, 0..2_u8));
    let epoch = prop::option::weighted(0.3, 1..4_i64);
    prop_oneof![
        3 => (parts, key, epoch).prop_map(|(parts, key, epoch)| Asked::New { parts, key, epoch }),
        1 => any::<prop::sample::Index>().prop_map(Asked::Again),
    ]
}

/// The appends of a history; ids of streams, events and keys are its own.
fn appends(history: u128, asked: Vec<Asked>) -> Vec<Append> {
    let mut appends: Vec<Append> = vec![];
    for asked in asked {
        let next = match asked {
            Asked::Again(_) if appends.is_empty() => continue,
            Asked::Again(index) => index.get(&appends).clone(),
            Asked::New { parts, key, epoch } => {
                let first = 1_000_000 * (history + 1) + 1_000 * appends.len() as u128;
                let part = |(id, (expected, count)): (u128, (Expected, u128))| -> StreamAppend {
                    let from = first + 100 * id;
                    part(stream(10 * history + id), expected, from..from + count)
                };
                let reply = key.map(|(key, fingerprint)| reply(history, key, fingerprint));
                let fence = epoch.map(|epoch| fence(history, epoch));
                Append { reply, fence, ..append(parts.into_iter().map(part)) }
            }
        };
        appends.push(next);
    }
    appends
}

/// Each history appends for a slice of its own.
fn fence(history: u128, epoch: i64) -> Fence {
    Fence { lease: "agreement", slice: i16::try_from(history).expect("is small"), epoch }
}

fn reply(history: u128, key: u8, fingerprint: u8) -> (CommandKey, Reply) {
    let key = CommandKey {
        principal: Uuid::from_u128(history),
        key: format!("key {key}"),
        fingerprint: [fingerprint; 32],
    };
    (key, Reply { status: 201, location: None, body: format!("{fingerprint}") })
}

async fn give(postgres: &PgEventStore, memory: &MemoryEventStore, history: u128) {
    postgres.fence(&[fence(history, 2)]).await.expect("is given");
    memory.fence(&[fence(history, 2)]).await.expect("is given");
}

fn outcome(outcome: &Result<Appended, Error>) -> String {
    format!("{outcome:?}")
}

/// Positions and the versions of each stream count from 1, and no event is there twice.
fn assert_whole(log: &[Recorded]) {
    let mut versions: BTreeMap<Uuid, i64> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for (position, row) in (1..).zip(log) {
        let version = versions.entry(row.stream).or_default();
        *version += 1;
        assert_eq!((row.position, row.version), (position, *version));
        assert!(ids.insert(row.id), "{} is there twice", row.id);
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn postgres_and_memory_give_the_same_answers(pool: PgPool) {
    let (postgres, memory) = (PgEventStore::new(pool), MemoryEventStore::default());
    let mut runner = TestRunner::deterministic();
    let strategy = prop::collection::vec(asked(), 1..14);
    let (mut stored, mut refused) = (0, 0);
    for history in 0..HISTORIES {
        give(&postgres, &memory, history).await;
        let asked = strategy.new_tree(&mut runner).expect("generates").current();
        for append in appends(history, asked) {
            let real = postgres.append(append.clone()).await;
            *(if real.is_ok() { &mut stored } else { &mut refused }) += 1;
            let simulated = memory.append(append.clone()).await;
            assert_eq!(outcome(&real), outcome(&simulated), "{append:#?}");
            if let Some((key, _)) = append.reply {
                let (tenant, principal) = (append.meta.tenant, key.principal);
                let real = postgres.answered(tenant, principal, &key.key).await;
                let simulated = memory.answered(tenant, principal, &key.key).await;
                assert_eq!(real.expect("asks"), simulated.expect("asks"));
            }
        }
    }
    assert!(stored > 50 && refused > 50, "{stored} stored, {refused} refused");
    let log = postgres.read(0, 100_000).await.expect("reads");
    assert_whole(&log);
    assert_eq!(common(log), common(memory.read(0, 100_000).await.expect("reads")));
}

/// Rows as text, without what is of chance in them, or of a clock.
fn common(mut log: Vec<Recorded>) -> String {
    for row in &mut log {
        row.salt = [0; 32];
        row.recorded_at = None;
    }
    format!("{log:?}")
}

/// Twenty histories, in groups of one append of each: whatever the others ask, good or bad, an
/// append is judged as if it were alone.
#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn in_a_group_each_append_gets_the_verdict_it_would_get_alone(pool: PgPool) {
    let (postgres, memory) = (PgEventStore::new(pool.clone()), MemoryEventStore::default());
    let mut runner = TestRunner::deterministic();
    let strategy = prop::collection::vec(asked(), 14);
    let mut history = |history| {
        appends(history, strategy.new_tree(&mut runner).expect("generates").current()).into_iter()
    };
    let mut histories: Vec<_> = (0..20).map(&mut history).collect();
    for history in 0..20 {
        give(&postgres, &memory, history).await;
    }
    let mut connection = pool.acquire().await.expect("connects");
    let mut mixed = 0;
    loop {
        let group: Vec<Append> = histories.iter_mut().filter_map(Iterator::next).collect();
        if group.is_empty() {
            break;
        }
        let outcomes = Batch::of(group.iter().map(|append| (append, salts(append))))
            .run(LOG, &mut connection)
            .await
            .expect("is judged");
        let good = outcomes.iter().filter(|one| matches!(one, Outcome::Appended(..))).count();
        mixed += usize::from(good > 0 && good < group.len());
        for (append, judged) in group.iter().zip(outcomes) {
            let real = match judged {
                Outcome::Appended(done, _) => Ok(done),
                Outcome::Refused { versions, is_fenced } => {
                    postgres.settle(append, &versions, is_fenced).await
                }
            };
            let alone = memory.append(append.clone()).await;
            assert_eq!(outcome(&real), outcome(&alone), "{append:#?}");
        }
    }
    assert!(mixed > 8, "{mixed} groups had good ones and bad ones");
    let log = postgres.read(0, 100_000).await.expect("reads");
    assert_whole(&log);
    assert_eq!(common(log), common(memory.read(0, 100_000).await.expect("reads")));
}
