//! Conformance of reads: streams, the whole log, tenants, waking up.

use chrono::TimeDelta;
use domain::Id;
use domain::scenario::NOON;
use uuid::Uuid;

use super::{append, meta, one, part, stream, tenant, things};
use crate::{Append, EventStore, Expected, Metadata, StreamId, position_at};

pub(super) async fn check(store: &dyn EventStore) {
    what_is_stored_is_read(store).await;
    a_stream_is_loaded_from_any_version(store).await;
    the_log_is_read_in_exact_pages(store).await;
    another_tenants_stream_is_not_there(store).await;
    the_watch_tells_what_was_appended(store).await;
    a_time_is_a_position(store).await;
}

pub(super) async fn an_empty_log_is_empty(store: &dyn EventStore) {
    assert_eq!(store.head().await.expect("head"), 0);
    assert!(store.read(0, 10).await.expect("reads").is_empty());
    assert!(store.load(stream(tenant(0), 1), 0, 1_000).await.expect("loads").is_empty());
    assert_eq!(store.tenant_of("thing", Uuid::from_u128(1)).await.expect("asks"), None);
}

async fn what_is_stored_is_read(store: &dyn EventStore) {
    let s = stream(tenant(20), 1);
    let fine = Metadata { at: NOON + TimeDelta::nanoseconds(1_999), ..meta(s.tenant) };
    let bare = Metadata { traceparent: None, actor: domain::Actor::System, ..fine.clone() };
    store.append(Append { meta: fine.clone(), ..one(s, Expected::None, [1]) }).await.expect("1");
    store.append(Append { meta: bare.clone(), ..one(s, Expected::At(1), [2]) }).await.expect("2");

    let head = store.head().await.expect("head");
    let log = store.read(head - 2, 10).await.expect("reads");
    let rows = store.load(s, 0, 1_000).await.expect("loads");
    assert_eq!(format!("{log:?}"), format!("{rows:?}"), "one event, two ways to it");
    let kept = NOON + TimeDelta::microseconds(1);
    for ((row, draft), given) in rows.iter().zip(things([1, 2])).zip([fine, bare]) {
        assert_eq!((row.category.as_str(), row.stream), ("thing", s.id));
        assert_eq!((row.id, &row.name, row.schema), (draft.id, &draft.name, draft.schema));
        assert_eq!(row.body.get(), draft.body, "byte for byte");
        assert_eq!(row.meta, Metadata { at: kept, ..given }, "times to the microsecond");
    }
    assert_eq!((rows[0].version, rows[1].version), (1, 2));
    assert_eq!((rows[0].position, rows[1].position), (head - 1, head));
}

async fn a_stream_is_loaded_from_any_version(store: &dyn EventStore) {
    let s = stream(tenant(21), 1);
    store.append(one(s, Expected::None, 1..=3)).await.expect("appends");
    assert_eq!(store.version(s).await.expect("asks"), 3);
    assert_eq!(store.version(stream(tenant(20), 9)).await.expect("asks"), 0, "has no events");
    for (after, expected) in [(0, vec![1, 2, 3]), (2, vec![3]), (3, vec![]), (9, vec![])] {
        let rows = store.load(s, after, 1_000).await.expect("loads");
        assert_eq!(rows.iter().map(|row| row.version).collect::<Vec<_>>(), expected);
    }
}

async fn the_log_is_read_in_exact_pages(store: &dyn EventStore) {
    let head = store.head().await.expect("head");
    let streams =
        [1, 2].map(|id| part(stream(tenant(22), id), Expected::None, things(10 * id..10 * id + 3)));
    store.append(append(tenant(22), streams)).await.expect("appends");
    for (after, limit, count) in [(0, 6, 6), (4, 10, 2), (2, 2, 2), (6, 5, 0), (3, 0, 0)] {
        let rows = store.read(head + after, limit).await.expect("reads");
        let positions: Vec<_> = rows.iter().map(|row| row.position - head).collect();
        assert_eq!(positions, (after + 1..).take(count).collect::<Vec<_>>());
    }
    assert!(store.read(head + 100, 5).await.expect("reads").is_empty(), "past the end");
}

async fn another_tenants_stream_is_not_there(store: &dyn EventStore) {
    let (mine, theirs) = (stream(tenant(23), 777), stream(tenant(24), 777));
    store.append(one(mine, Expected::None, [1])).await.expect("appends");
    assert!(store.load(theirs, 0, 1_000).await.expect("loads").is_empty());
    let other = StreamId { category: "other", ..mine };
    assert!(store.load(other, 0, 1_000).await.expect("loads").is_empty());

    let smuggled = Append { meta: meta(theirs.tenant), ..one(mine, Expected::At(1), [2]) };
    assert!(store.append(smuggled).await.is_err(), "one append, one tenant");
    assert_eq!(store.load(mine, 0, 1_000).await.expect("loads").len(), 1);

    store.append(one(theirs, Expected::None, [3])).await.expect("is another stream");
    assert_eq!(store.load(mine, 0, 1_000).await.expect("loads").len(), 1);
    assert_eq!(store.load(theirs, 0, 1_000).await.expect("loads").len(), 1);
    store.append(one(theirs, Expected::At(1), [4])).await.expect("appends");
    let versions = tokio::join!(store.version(mine), store.version(theirs), store.version(other));
    let versions = [versions.0, versions.1, versions.2].map(|version| version.expect("asks"));
    assert_eq!(versions, [1, 2, 0]);
    let owner = store.tenant_of("thing", mine.id).await.expect("asks");
    assert_eq!(owner, Some(mine.tenant), "whoever had the id first");
    assert_eq!(store.tenant_of("other", mine.id).await.expect("asks"), None);
    assert_eq!(
        store.tenant_of("thing", Id::<()>::derived(mine.id, "").as_uuid()).await.expect("asks"),
        None
    );
}

async fn the_watch_tells_what_was_appended(store: &dyn EventStore) {
    let mut early = store.watch();
    let done = store.append(one(stream(tenant(25), 1), Expected::Any, [1, 2])).await;
    let position = done.expect("appends").position;
    assert_eq!(*early.wait_for(|head| *head >= position).await.expect("lives"), position);
    let late = store.watch();
    assert_eq!(*late.borrow(), position, "own appends are known at once");
}

/// Times of what is recorded never go back, whatever those say who appended; so a time is a position.
async fn a_time_is_a_position(store: &dyn EventStore) {
    let s = stream(tenant(26), 1);
    for (version, hours) in [(0, 5), (1, 1), (2, 2), (3, 2)] {
        let meta = Metadata { at: NOON + TimeDelta::hours(hours), ..meta(s.tenant) };
        let append = one(s, Expected::At(version), [u128::try_from(100 + version).expect("fits")]);
        store.append(Append { meta, ..append }).await.expect("appends");
    }
    let rows = store.read(0, 10_000).await.expect("reads");
    let times: Vec<_> =
        rows.iter().map(|row| row.recorded_at.expect("every new event has one")).collect();
    assert!(times.is_sorted());
    for time in &times {
        let reached = times.iter().filter(|other| *other <= time).count();
        let found = position_at(store, *time).await.expect("finds");
        assert_eq!(usize::try_from(found).ok(), Some(reached), "at {time}");
    }
    let long_ago = position_at(store, NOON - TimeDelta::days(9_000)).await.expect("finds");
    assert_eq!(long_ago, 0);
}
