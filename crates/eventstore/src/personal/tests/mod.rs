//! Sealing, opening and erasing, on a real Postgres and on the forms of JSON.

mod large;
mod remembering;

use std::sync::Arc;

use domain::execution::Event;
use domain::scenario::NOON;
use domain::subject::{self, Subject};
use domain::{Actor, Id, Personal, Tenant};
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use super::seal::{self, Key};
use super::{Keyring, Sealed, scan};
use crate::{
    Append, Draft, Error, EventStore, Expected, MemoryEventStore, Metadata, PgEventStore, Request,
    Snapshot, StreamAppend, StreamId, conformance, drafts, execute, fact,
};

const MASTER: [u8; 32] = [9; 32];
const CANARY: &str = "Ada Lovelace";

fn tenant() -> Id<Tenant> {
    Id::from_uuid(Uuid::from_u128(1))
}

fn stream(id: u128) -> StreamId {
    StreamId { tenant: tenant(), category: "execution", id: Uuid::from_u128(id) }
}

fn meta() -> Metadata {
    Metadata {
        tenant: tenant(),
        actor: Actor::System,
        correlation: Uuid::nil(),
        causation: Uuid::from_u128(4),
        traceparent: None,
        at: NOON,
    }
}

fn completed(output: Value) -> Event {
    Event::Completed { output: output.into(), parent: None }
}

/// An append of one event that says something of a subject.
fn said(id: u128, subject: Option<Id<Subject>>, output: Value) -> Append {
    let events = drafts(&[completed(output)], stream(id), 0, Uuid::from_u128(4));
    let part = StreamAppend { stream: stream(id), expected: Expected::None, subject, events };
    Append { meta: meta(), streams: vec![part], reply: None, fence: None }
}

fn keyring(pool: &PgPool) -> Arc<Keyring> {
    Arc::new(Keyring::new(pool.clone(), &MASTER))
}

fn sealed(pool: &PgPool) -> Sealed<PgEventStore> {
    Sealed::new(PgEventStore::new(pool.clone()), keyring(pool))
}

async fn output(store: &dyn EventStore, id: u128) -> Personal<Value> {
    let rows = store.load(stream(id), 0, 1_000).await.expect("loads");
    let fact = fact(&rows[0]).expect("reads");
    let domain::Fact::Execution(Event::Completed { output, .. }) = &*fact else {
        panic!("{fact:?}");
    };
    output.clone()
}

/// Asks for an erasure, destroys the key and says so, as the policy does.
async fn erase(store: &dyn EventStore, keys: &Keyring, who: Id<Subject>) {
    let id: Id<Subject> = who;
    let ask = |command| async move {
        execute(store, id, &command, &Request::new(meta())).await.expect("is carried out")
    };
    ask(subject::Command::Erase).await;
    keys.destroy(tenant(), who).await.expect("is destroyed");
    ask(subject::Command::RecordErased).await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_log_with_sealed_values_is_a_log_like_any_other(pool: PgPool) {
    conformance::check(&sealed(&pool)).await;
    conformance::check(&Sealed::new(MemoryEventStore::default(), keyring(&pool))).await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_is_personal_is_nowhere_in_the_database_and_is_read_back(pool: PgPool) {
    let store = sealed(&pool);
    let ada = keyring(&pool).subject(tenant(), "ada@example.com").await.expect("is made");
    for (id, subject) in [(1, Some(ada)), (2, None)] {
        store.append(said(id, subject, json!({"name": CANARY}))).await.expect("appends");
        assert_eq!(output(&store, id).await.known(), Some(&json!({"name": CANARY})));
    }
    let bodies: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT body FROM es.event").fetch_all(&pool).await.expect("reads");
    assert_eq!(bodies.len(), 2);
    for body in bodies {
        let body = String::from_utf8(body).expect("is text");
        assert!(!body.contains("Ada") && body.contains("$sealed"), "{body}");
    }
    let names: Vec<Vec<u8>> = sqlx::query_scalar("SELECT name || sealed FROM ops.subject_key")
        .fetch_all(&pool)
        .await
        .expect("reads");
    assert!(names.iter().all(|name| !name.windows(3).any(|part| part == b"ada")));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn whoever_is_erased_is_gone_and_nobody_else_is(pool: PgPool) {
    let (store, keys) = (sealed(&pool), keyring(&pool));
    let ada = keys.subject(tenant(), "ada").await.expect("is made");
    let bob = keys.subject(tenant(), "bob").await.expect("is made");
    store.append(said(1, Some(ada), json!(CANARY))).await.expect("appends");
    store.append(said(2, Some(bob), json!("Bob"))).await.expect("appends");
    store.append(said(3, None, json!("nobody"))).await.expect("appends");
    let before = PgEventStore::new(pool.clone()).read(0, 10).await.expect("reads");
    erase(&store, &keys, ada).await;

    // Another process, and this one once it has read on.
    store.read(0, 10).await.expect("reads");
    for store in [&store, &sealed(&pool)] {
        assert_eq!(output(store, 1).await.known(), None);
        assert_eq!(output(store, 2).await.known(), Some(&json!("Bob")));
        assert_eq!(output(store, 3).await.known(), Some(&json!("nobody")));
    }
    let after = PgEventStore::new(pool.clone()).read(0, 3).await.expect("reads");
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.body.get(), after.body.get(), "what was hashed is as it was");
    }
    assert_eq!(keys.find(tenant(), "ada").await.expect("looks"), None);
    let again = keys.subject(tenant(), "ada").await.expect("is made");
    assert_ne!(again, ada, "who comes back is somebody else");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_is_said_of_the_erased_afterwards_is_not_kept(pool: PgPool) {
    let (store, keys) = (sealed(&pool), keyring(&pool));
    let ada = keys.subject(tenant(), "ada").await.expect("is made");
    // This process holds the key in memory, and so does one that hears of nothing.
    store.append(said(1, Some(ada), json!(CANARY))).await.expect("appends");
    let deaf = sealed(&pool);
    assert!(!output(&deaf, 1).await.is_erased());
    erase(&store, &keys, ada).await;
    store.read(0, 10).await.expect("reads");
    store.append(said(2, Some(ada), json!(CANARY))).await.expect("appends");
    store.append(said(2, Some(ada), json!(CANARY))).await.expect("is the same append");
    deaf.append(said(3, Some(ada), json!(CANARY))).await.expect("appends");

    for id in [1, 2, 3] {
        assert_eq!(output(&sealed(&pool), id).await.known(), None, "{id}");
    }
    // Whoever reads the log hears of the erasure before it opens what comes after.
    let rows = deaf.read(0, 10).await.expect("reads");
    let all: String = rows.iter().map(|row| row.data().into_owned()).collect();
    assert!(!all.contains("Ada"), "{all}");
    let bodies: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT body FROM es.event").fetch_all(&pool).await.expect("reads");
    assert!(bodies.iter().all(|body| !body.windows(3).any(|part| part == b"Ada")));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn the_same_decision_is_the_same_append_and_another_is_a_conflict(pool: PgPool) {
    let store = sealed(&pool);
    let first = store.append(said(1, None, json!("a"))).await.expect("appends");
    assert_eq!(store.append(said(1, None, json!("a"))).await.expect("is the same"), first);
    let other = store.append(said(1, None, json!("b"))).await;
    assert!(matches!(other, Err(Error::Conflict { .. })), "{other:?}");
    let plain = said(1, None, json!("a")).streams[0].events[0].id;
    let kept = store.load(stream(1), 0, 1_000).await.expect("loads")[0].id;
    assert_ne!(kept, plain, "an id tells nobody what was said");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn another_master_key_opens_nothing(pool: PgPool) {
    sealed(&pool).append(said(1, None, json!("a"))).await.expect("appends");
    let keys = Arc::new(Keyring::new(pool.clone(), &[8; 32]));
    // What somebody is called hashes otherwise: nobody is found, and a new key is made.
    assert_eq!(keys.find(tenant(), "").await.expect("looks"), None);
    let store = Sealed::new(PgEventStore::new(pool.clone()), keys);
    let read = store.load(stream(1), 0, 1_000).await;
    assert!(matches!(read, Err(Error::Damaged(_))), "{read:?}");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_snapshot_is_as_secret_as_the_events_it_stands_for(pool: PgPool) {
    let (store, keys) = (sealed(&pool), keyring(&pool));
    let ada = keys.subject(tenant(), "ada").await.expect("is made");
    let of = |subject| Snapshot {
        fold: "this".to_owned(),
        version: 7,
        event: Uuid::from_u128(7),
        subject,
        state: CANARY.into(),
    };
    let kept = async |store: &Sealed<PgEventStore>, id| {
        store.snapshot(stream(id), "this").await.expect("looks")
    };
    store.keep(stream(1), of(Some(ada))).await.expect("keeps");
    store.keep(stream(2), of(None)).await.expect("keeps");
    assert_eq!(kept(&store, 1).await, Some(of(Some(ada))));
    assert_eq!(kept(&store, 2).await, Some(of(None)));
    let states: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT state FROM ops.snapshot").fetch_all(&pool).await.expect("reads");
    assert!(states.iter().all(|state| !state.windows(3).any(|part| part == b"Ada")));

    let plain = PgEventStore::new(pool.clone());
    let moved = plain.snapshot(stream(2), "this").await.expect("looks").expect("is there");
    plain.keep(stream(3), moved.clone()).await.expect("keeps");
    assert_eq!(kept(&store, 3).await, None, "it opens at its own stream and nowhere else");
    let elsewhere = Snapshot { event: Uuid::from_u128(8), ..moved };
    plain.keep(stream(2), Snapshot { version: 8, ..elsewhere }).await.expect("keeps");
    assert_eq!(kept(&store, 2).await, None, "and after its own event");
    store.keep(stream(2), Snapshot { version: 9, ..of(None) }).await.expect("keeps");
    plain.keep(stream(3), Snapshot { version: 8, ..of(None) }).await.expect("keeps");
    assert_eq!(kept(&store, 3).await, None, "what was not sealed is nothing");

    erase(&store, &keys, ada).await;
    assert_eq!(kept(&sealed(&pool), 1).await, None);
    assert!(kept(&sealed(&pool), 2).await.is_some());
    sealed(&pool).keep(stream(4), of(Some(ada))).await.expect("keeps nothing");
    assert_eq!(plain.snapshot(stream(4), "this").await.expect("looks"), None);
}

fn draft(body: &Value) -> Draft {
    let id = Uuid::from_u128(77);
    Draft {
        id,
        name: "execution.completed".to_owned(),
        schema: 2,
        body: body.to_string(),
        opened: None,
        fact: None,
    }
}

/// JSON of any form, with members that look like marks.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        r#"[a"\\{}\[\]$ü\n]{0,8}"#.prop_map(Value::from),
        Just(json!("{\"$personal\":[1]}")),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c]", inner.clone(), 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
            inner.clone().prop_map(|value| json!({"$personal": [value]})),
            inner.prop_map(|value| json!({"$personal": value})),
        ]
    })
}

proptest! {
    #[test]
    fn values_are_taken_out_and_put_back_as_they_were(a in anything(), b in anything()) {
        let body = json!({"a": {"$personal": [a]}, "b": 1, "c": [{"$personal": [b]}], "d": {"$personal": null}});
        let text = body.to_string();
        let (skeleton, values) = scan::take_out(&text);
        prop_assert_eq!(
            &skeleton,
            r#"{"a":{"$personal":0},"b":1,"c":[{"$personal":1}],"d":{"$personal":null}}"#
        );
        let values: Vec<&RawValue> = serde_json::from_str(&values).unwrap();
        prop_assert_eq!(scan::put_back(&skeleton, &values), text);
    }

    #[test]
    fn values_give_way_to_names_and_come_back_as_they_were(a in anything(), b in anything()) {
        let body = json!({"a": {"$personal": [a]}, "b": [{"$personal": [b]}], "c": {"$personal": null}});
        let text = body.to_string();
        let mut named = vec![];
        let names = scan::name(&text, |value| {
            named.push(value.to_owned());
            Some(Uuid::from_u128(named.len() as u128))
        });
        let found: Vec<Uuid> = scan::names(&names).collect();
        prop_assert_eq!(found, [Uuid::from_u128(1), Uuid::from_u128(2)]);
        let values: Vec<String> = named.into_iter().map(|value| format!("[{value}]")).collect();
        let value = |name: Uuid| values.get(name.as_u128() as usize - 1).map(String::as_str);
        prop_assert_eq!(scan::put_in(&names, value), text);
        prop_assert_eq!(scan::put_in(&names, |_| None), names.clone());
        let null = r#"{"a":{"$personal":null},"b":[{"$personal":null}],"c":{"$personal":null}}"#;
        prop_assert_eq!(scan::put_in(&names, |_| Some("null")), null);
        prop_assert_eq!(scan::erased(&names), null);
    }

    #[test]
    fn what_is_sealed_opens_at_its_own_event_and_nowhere_else(value in anything(), bit in any::<usize>()) {
        let (key, id) = (Key::new(&[1; 32]), Uuid::from_u128(5));
        let body = json!({"output": {"$personal": [value]}, "parent": null});
        let mut sealed = draft(&body);
        seal::seal(&key, id, stream(1), &mut sealed);
        let Draft { id: event, body: stored, .. } = &sealed;
        prop_assert_eq!(seal::sealed_under(stored), Some(id));
        let text = body.to_string();
        prop_assert_eq!(seal::open(Some(&key), stream(1), *event, stored), Some(text));
        prop_assert_eq!(seal::open(Some(&key), stream(2), *event, stored), None);
        prop_assert_eq!(seal::open(Some(&key), stream(1), Uuid::nil(), stored), None);
        prop_assert_eq!(seal::open(Some(&Key::new(&[2; 32])), stream(1), *event, stored), None);
        let erased = seal::open(None, stream(1), *event, stored);
        prop_assert_eq!(erased.as_deref(), Some(r#"{"output":{"$personal":null},"parent":null}"#));
        let mut changed = stored.clone().into_bytes();
        let end = stored.rfind("\",\"output\"").unwrap();
        let at = 50 + bit % (end - 50);
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        prop_assert_eq!(seal::open(Some(&key), stream(1), *event, &changed), None);
    }
}
