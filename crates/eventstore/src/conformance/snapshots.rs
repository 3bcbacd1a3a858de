//! Conformance of snapshots: they shorten the way to a state and never change it.

use domain::{FOLD, Id, Tenant};
use uuid::Uuid;

use super::tally::{Command, Tally};
use super::{meta, part, stream, tenant};
use crate::{
    Append, Draft, EventStore, Expected, Held, Metadata, Request, Snapshot, StreamId, Version, load,
};

/// More events than are loaded at once.
const LONG: Version = 1_100;

pub(super) async fn check(store: &dyn EventStore) {
    the_newest_of_a_fold_is_kept(store).await;
    a_long_stream_is_gone_on_with_from_its_snapshot(store).await;
    what_does_not_fit_is_ignored(store).await;
    whoever_goes_on_for_long_keeps_one(store).await;
}

fn id(nth: u128) -> Uuid {
    Uuid::from_u128(nth)
}

fn snapshot(version: Version, event: u128, state: &str) -> Snapshot {
    Snapshot {
        fold: FOLD.to_owned(),
        version,
        event: id(event),
        subject: None,
        state: state.into(),
    }
}

async fn the_newest_of_a_fold_is_kept(store: &dyn EventStore) {
    let s = stream(tenant(60), 1);
    assert_eq!(store.snapshot(s, FOLD).await.expect("looks"), None);
    for version in [5, 7, 6] {
        store.keep(s, snapshot(version, 1, "one")).await.expect("keeps");
    }
    let kept = store.snapshot(s, FOLD).await.expect("looks");
    assert_eq!(kept, Some(snapshot(7, 1, "one")), "an older one does not come back");
    assert_eq!(store.snapshot(s, "another").await.expect("looks"), None);
    for other in [stream(tenant(60), 2), stream(tenant(61), 1)] {
        assert_eq!(store.snapshot(other, FOLD).await.expect("looks"), None);
    }
    let other = Snapshot { fold: "another".to_owned(), ..snapshot(2, 1, "two") };
    store.keep(s, other.clone()).await.expect("keeps");
    assert_eq!(store.snapshot(s, "another").await.expect("looks"), Some(other));
}

/// A tally that a thousand and more ones were added to, and its stream.
async fn long(store: &dyn EventStore, tenant: Id<Tenant>) -> (Id<Tally>, StreamId) {
    let tally = Id::from_uuid(id(1));
    let stream = StreamId::of(tenant, tally);
    let mut at = 0;
    while at < LONG {
        let upto = (at + 1_000).min(LONG);
        let events = (at + 1..=upto).map(|nth| Draft {
            id: id(nth.unsigned_abs().into()),
            name: "tally.added".to_owned(),
            schema: 1,
            body: r#"{"number":1}"#.to_owned(),
            opened: None,
            fact: None,
        });
        let streams = vec![part(stream, Expected::At(at), events.collect())];
        let append = Append { meta: meta(tenant), streams, reply: None, fence: None };
        store.append(append).await.expect("appends");
        at = upto;
    }
    (tally, stream)
}

async fn a_long_stream_is_gone_on_with_from_its_snapshot(store: &dyn EventStore) {
    let t = tenant(62);
    let (tally, stream) = long(store, t).await;
    let (whole, version) = load(store, t, tally).await.expect("loads");
    assert_eq!((whole.sum, version), (LONG, LONG));
    let kept = store.snapshot(stream, FOLD).await.expect("looks").expect("was kept");
    assert_eq!((kept.version, kept.event), (LONG, id(LONG.unsigned_abs().into())));
    let again = load(store, t, tally).await.expect("loads");
    assert_eq!(again, (whole, LONG), "all is as it was without one");
}

/// What a tally says if this is the only snapshot of it.
async fn sum_with(store: &dyn EventStore, nth: u128, snapshot: Snapshot) -> i64 {
    let t = tenant(nth);
    let (tally, stream) = long(store, t).await;
    store.keep(stream, snapshot).await.expect("keeps");
    let (state, version) = load(store, t, tally).await.expect("loads");
    assert_eq!(version, LONG);
    state.sum
}

async fn what_does_not_fit_is_ignored(store: &dyn EventStore) {
    const WRONG: &str = r#"{"sum":-9999,"opened":true,"closed":false}"#;
    let fitting = sum_with(store, 63, snapshot(1_050, 1_050, WRONG)).await;
    assert_eq!(fitting, -9999 + LONG - 1_050, "one that fits is taken at its word");
    let other = Snapshot { fold: "another".to_owned(), ..snapshot(1_050, 1_050, WRONG) };
    for (nth, misfit) in [
        other,
        snapshot(1_050, 1_049, WRONG),
        snapshot(LONG + 1, 1, WRONG),
        snapshot(40, 40, WRONG),
        snapshot(1_050, 1_050, r#"{"sum":-9999}"#),
        snapshot(1_050, 1_050, "\u{fffd}"),
    ]
    .into_iter()
    .enumerate()
    {
        let tenant = 64 + u128::try_from(nth).expect("few");
        assert_eq!(sum_with(store, tenant, misfit.clone()).await, LONG, "{misfit:?}");
    }
}

async fn whoever_goes_on_for_long_keeps_one(store: &dyn EventStore) {
    let kept = kept_after(store, 75, 501, &Command::Add(1)).await;
    assert_eq!(kept.version, 500);
    assert_eq!(String::from_utf8_lossy(&kept.state), r#"{"sum":500,"opened":true,"closed":false}"#);
    // Sooner if events are large: a megabyte is behind it at most.
    let remark = Command::Remark("x".repeat(20_000));
    assert_eq!(kept_after(store, 76, 60, &remark).await.version, 53);
}

/// The snapshot of a tally that was told the same so often.
async fn kept_after(store: &dyn EventStore, nth: u128, often: u128, command: &Command) -> Snapshot {
    let t = tenant(nth);
    let tally = Id::from_uuid(id(1));
    let mut held = Held::<Tally>::new(t, tally);
    for nth in 0..often {
        let meta = Metadata { causation: Uuid::from_u128(nth), ..meta(t) };
        held.execute(store, command, &Request::new(meta)).await.expect("is done");
    }
    store.snapshot(StreamId::of(t, tally), FOLD).await.expect("looks").expect("is kept")
}
