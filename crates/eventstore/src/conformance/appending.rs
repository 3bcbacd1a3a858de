//! Conformance of appends: versions, conflicts, repetition, replies, limits, contention.

use std::collections::BTreeSet;

use futures::future::join_all;

use super::{append, key, one, part, reply, stream, tenant, things};
use crate::{
    APPEND_LIMIT, Answered, Append, Appended, DEPTH_LIMIT, Draft, EVENT_LIMIT, Error, EventStore,
    Expected, StreamId, Version,
};

pub(super) async fn check(store: &dyn EventStore) {
    each_expectation_holds_or_conflicts(store).await;
    the_slower_of_two_writers_conflicts(store).await;
    several_streams_are_all_or_none(store).await;
    a_stream_named_twice_conflicts(store).await;
    appending_again_changes_nothing(store).await;
    appending_to_any_version_again_changes_nothing(store).await;
    half_a_repetition_is_a_conflict(store).await;
    an_answer_is_kept_with_its_events(store).await;
    a_used_key_stores_nothing(store).await;
    an_append_with_its_answer_can_be_repeated(store).await;
    what_is_too_large_is_refused(store).await;
    nothing_is_lost_among_many_writers(store).await;
}

async fn conflicts(store: &dyn EventStore, append: Append, stream: StreamId, actual: Version) {
    let head = store.head().await.expect("head");
    match store.append(append).await {
        Err(Error::Conflict { stream: named, actual: version }) => {
            assert_eq!((named, version), (stream, actual));
        }
        other => panic!("expected a conflict, got {other:?}"),
    }
    assert_eq!(store.head().await.expect("head"), head, "a conflict stores nothing");
}

async fn appends(store: &dyn EventStore, append: Append) -> Appended {
    store.append(append).await.expect("appends")
}

async fn each_expectation_holds_or_conflicts(store: &dyn EventStore) {
    let s = stream(tenant(1), 1);
    conflicts(store, one(s, Expected::Exists, [1]), s, 0).await;
    conflicts(store, one(s, Expected::At(1), [1]), s, 0).await;
    assert_eq!(appends(store, one(s, Expected::None, [1])).await.versions, [1]);
    conflicts(store, one(s, Expected::None, [2]), s, 1).await;
    conflicts(store, one(s, Expected::At(0), [2]), s, 1).await;
    conflicts(store, one(s, Expected::At(2), [2]), s, 1).await;
    assert_eq!(appends(store, one(s, Expected::At(1), [2, 3])).await.versions, [3]);
    assert_eq!(appends(store, one(s, Expected::Exists, [4])).await.versions, [4]);
    assert_eq!(appends(store, one(s, Expected::Any, [5])).await.versions, [5]);
    let fresh = stream(tenant(1), 2);
    assert_eq!(appends(store, one(fresh, Expected::Any, [6])).await.versions, [1]);

    conflicts(store, one(s, Expected::None, []), s, 5).await;
    let judged = appends(store, one(s, Expected::At(5), [])).await;
    assert_eq!(judged.versions, [5], "an expectation may be judged alone");
    assert_eq!(judged.position, store.head().await.expect("head"));
}

async fn the_slower_of_two_writers_conflicts(store: &dyn EventStore) {
    let s = stream(tenant(2), 1);
    appends(store, one(s, Expected::At(0), [1, 2])).await;
    conflicts(store, one(s, Expected::At(0), [3]), s, 2).await;
    conflicts(store, one(s, Expected::At(1), [3]), s, 2).await;
}

async fn several_streams_are_all_or_none(store: &dyn EventStore) {
    let (a, b) = (stream(tenant(3), 1), stream(tenant(3), 2));
    let both = |expected, ids: [u128; 3]| {
        append(
            tenant(3),
            [part(a, Expected::Any, things([ids[0], ids[1]])), part(b, expected, things([ids[2]]))],
        )
    };
    conflicts(store, both(Expected::Exists, [1, 2, 3]), b, 0).await;
    assert!(
        store.load(a, 0, 1_000).await.expect("loads").is_empty(),
        "the good half is not stored"
    );
    let head = store.head().await.expect("head");
    let done = appends(store, both(Expected::None, [1, 2, 3])).await;
    assert_eq!(done, Appended { position: head + 3, versions: vec![2, 1] });
    conflicts(store, both(Expected::At(0), [4, 5, 6]), b, 1).await;
    assert_eq!(store.load(a, 0, 1_000).await.expect("loads").len(), 2);
}

async fn a_stream_named_twice_conflicts(store: &dyn EventStore) {
    let s = stream(tenant(4), 1);
    let twice = [part(s, Expected::Any, things([1])), part(s, Expected::Any, things([2]))];
    conflicts(store, append(tenant(4), twice), s, 0).await;
}

async fn appending_again_changes_nothing(store: &dyn EventStore) {
    let (a, b, c) = (stream(tenant(5), 1), stream(tenant(5), 2), stream(tenant(5), 3));
    appends(store, one(a, Expected::None, [1])).await;
    let again = append(
        tenant(5),
        [
            part(a, Expected::At(1), things([2, 3])),
            part(b, Expected::None, things([4])),
            part(c, Expected::None, vec![]),
        ],
    );
    let first = appends(store, again.clone()).await;
    assert_eq!(first.versions, [3, 1, 0]);
    appends(store, one(a, Expected::At(3), [5])).await;
    let head = store.head().await.expect("head");
    assert_eq!(appends(store, again).await, first, "though the stream has moved on");
    assert_eq!(store.head().await.expect("head"), head);
}

async fn appending_to_any_version_again_changes_nothing(store: &dyn EventStore) {
    let s = stream(tenant(6), 1);
    let start = appends(store, one(s, Expected::Any, [1, 2])).await;
    let more = appends(store, one(s, Expected::Exists, [3])).await;
    let head = store.head().await.expect("head");
    assert_eq!(appends(store, one(s, Expected::Any, [1, 2])).await, start);
    assert_eq!(appends(store, one(s, Expected::Exists, [3])).await, more);
    assert_eq!(store.head().await.expect("head"), head);
}

async fn half_a_repetition_is_a_conflict(store: &dyn EventStore) {
    let s = stream(tenant(7), 1);
    let other = stream(tenant(7), 2);
    appends(store, one(s, Expected::None, [1, 2])).await;
    conflicts(store, one(s, Expected::None, [1, 2, 3]), s, 2).await;
    conflicts(store, one(s, Expected::None, [2, 1]), s, 2).await;
    conflicts(store, one(s, Expected::Any, [2, 3]), s, 2).await;
    conflicts(store, one(s, Expected::Any, [2, 1]), s, 2).await;
    let with_new =
        [part(s, Expected::Any, things([1, 2])), part(other, Expected::Any, things([9]))];
    conflicts(store, append(tenant(7), with_new), s, 2).await;
}

async fn an_answer_is_kept_with_its_events(store: &dyn EventStore) {
    let (s, t) = (stream(tenant(8), 1), tenant(8));
    let asked = key("POST /things k1", 1);
    let ask = |tenant, principal, name: &'static str| store.answered(tenant, principal, name);
    let before = ask(t, asked.principal, "POST /things k1").await.expect("asks");
    assert_eq!(before, None);

    let keyed = Append {
        reply: Some((asked.clone(), reply("made \u{0}"))),
        ..one(s, Expected::None, [1, 2])
    };
    let done = appends(store, keyed).await;
    let answer = ask(t, asked.principal, "POST /things k1").await.expect("asks");
    let fingerprint = [1; 32];
    let kept =
        Answered { fingerprint, reply: reply("made \u{0}"), position: done.position, version: 2 };
    assert_eq!(answer, Some(kept));

    let other = uuid::Uuid::from_u128(77);
    assert_eq!(ask(t, other, "POST /things k1").await.expect("asks"), None);
    assert_eq!(ask(tenant(9), asked.principal, "POST /things k1").await.expect("asks"), None);

    let head = store.head().await.expect("head");
    let plain = Append { reply: Some((key("plain", 1), reply(""))), ..append(t, []) };
    assert_eq!(appends(store, plain).await, Appended { position: head, versions: vec![] });
    let answer = ask(t, asked.principal, "plain").await.expect("asks").expect("is kept");
    assert_eq!((answer.position, answer.version), (head, 0), "an answer needs no events");
}

async fn a_used_key_stores_nothing(store: &dyn EventStore) {
    let s = stream(tenant(10), 1);
    let keyed = |ids: &[u128], version, fingerprint| Append {
        reply: Some((key("k", fingerprint), reply("first"))),
        ..one(s, Expected::At(version), ids.iter().copied())
    };
    appends(store, keyed(&[1], 0, 1)).await;
    let head = store.head().await.expect("head");
    for second in [keyed(&[2], 1, 1), keyed(&[2], 1, 2), keyed(&[], 1, 1), keyed(&[1], 0, 2)] {
        let refused = store.append(second).await;
        assert!(matches!(refused, Err(Error::KeyUsed)), "{refused:?}");
    }
    assert_eq!(store.head().await.expect("head"), head);
    assert_eq!(store.load(s, 0, 1_000).await.expect("loads").len(), 1);

    let late = Append { reply: Some((key("k2", 1), reply("no"))), ..one(s, Expected::At(0), [7]) };
    conflicts(store, late, s, 1).await;
    let principal = key("k2", 1).principal;
    let answer = store.answered(tenant(10), principal, "k2").await.expect("asks");
    assert_eq!(answer, None, "a conflict leaves no answer behind");
}

async fn an_append_with_its_answer_can_be_repeated(store: &dyn EventStore) {
    let s = stream(tenant(11), 1);
    let keyed =
        Append { reply: Some((key("k", 1), reply("first"))), ..one(s, Expected::None, [1]) };
    let first = appends(store, keyed.clone()).await;
    assert_eq!(appends(store, keyed).await, first);
    let unanswered =
        Append { reply: Some((key("new", 1), reply("never"))), ..one(s, Expected::None, [1]) };
    conflicts(store, unanswered, s, 1).await;
}

async fn what_is_too_large_is_refused(store: &dyn EventStore) {
    let s = stream(tenant(12), 1);
    let head = store.head().await.expect("head");
    let body = |body: String| {
        let draft = Draft { body, ..things([1]).remove(0) };
        append(tenant(12), [part(s, Expected::Any, vec![draft])])
    };
    let text = |length: usize| body(format!("\"{}\"", "x".repeat(length - 2)));
    let nested = |depth: usize| body("[".repeat(depth) + &"]".repeat(depth));
    let many = |count: usize| one(s, Expected::Any, 1..=u128::try_from(count).unwrap_or(0));
    for large in [text(EVENT_LIMIT + 1), nested(DEPTH_LIMIT + 1), many(APPEND_LIMIT + 1)] {
        let refused = store.append(large).await;
        assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    }
    let refused = store.append(body("{not json".to_owned())).await;
    assert!(matches!(refused, Err(Error::Decode { .. })), "{refused:?}");
    assert_eq!(store.head().await.expect("head"), head);
    appends(store, text(EVENT_LIMIT)).await;
    let next = stream(tenant(12), 2);
    let full = one(next, Expected::Any, 1..=u128::try_from(APPEND_LIMIT).unwrap_or(0));
    assert_eq!(appends(store, full).await.versions, [1_000]);
}

async fn nothing_is_lost_among_many_writers(store: &dyn EventStore) {
    const WRITERS: u128 = 8;
    const EACH: u128 = 20;
    let t = tenant(13);
    let shared = stream(t, 99);
    let before = store.head().await.expect("head");
    let writer = |writer: u128| async move {
        let own = stream(t, writer);
        for nth in 0..EACH {
            let id = 1_000 * (writer + 1) + 2 * nth;
            let both = [
                part(own, Expected::At(Version::try_from(nth).unwrap_or(0)), things([id])),
                part(shared, Expected::Any, things([id + 1])),
            ];
            appends(store, append(t, both)).await;
        }
    };
    join_all((0..WRITERS).map(writer)).await;

    let log = store.read(before, 1_000).await.expect("reads");
    let positions: Vec<_> = log.iter().map(|row| row.position).collect();
    let expected: Vec<_> = (before + 1..=before + 2 * 8 * 20).collect();
    assert_eq!(positions, expected, "positions have no gap");
    let ids: BTreeSet<_> = log.iter().map(|row| row.id).collect();
    assert_eq!(ids.len(), log.len(), "each event once");
    let versions: Vec<_> =
        store.load(shared, 0, 1_000).await.expect("loads").iter().map(|row| row.version).collect();
    assert_eq!(versions, (1..=8 * 20).collect::<Vec<_>>(), "versions have no gap");
}
