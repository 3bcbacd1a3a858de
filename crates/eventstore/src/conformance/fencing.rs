//! Appends on behalf of slices that change hands.

use futures::future::join_all;

use super::{append, key, one, part, reply, stream, tenant, things};
use crate::{Append, Error, EventStore, Expected, Fence};

const LEASE: &str = "conformance";

pub(super) async fn check(store: &dyn EventStore) {
    whoever_was_given_a_slice_appends_for_it(store).await;
    whoever_lost_a_slice_does_not_append_any_more(store).await;
    a_slice_that_nobody_was_given_is_appended_for_by_nobody(store).await;
    an_older_epoch_never_comes_back(store).await;
    what_was_stored_in_time_is_recognised_afterwards(store).await;
    neighbours_are_judged_by_their_own_slices(store).await;
}

fn fence(slice: i16, epoch: i64) -> Fence {
    Fence { lease: LEASE, slice, epoch }
}

fn under(fence: Fence, append: Append) -> Append {
    Append { fence: Some(fence), ..append }
}

fn is_fenced(error: &Error, by: Fence) -> bool {
    matches!(error, Error::Fenced(fence) if *fence == by)
}

async fn whoever_was_given_a_slice_appends_for_it(store: &dyn EventStore) {
    let s = stream(tenant(60), 60_000);
    store.fence(&[fence(0, 5), fence(1, 6)]).await.expect("is given");
    let first = under(fence(0, 5), one(s, Expected::None, [60_001]));
    assert_eq!(store.append(first).await.expect("appends").versions, [1]);
    let other = under(fence(1, 6), one(s, Expected::Any, [60_002]));
    assert_eq!(store.append(other).await.expect("appends").versions, [2]);
}

async fn whoever_lost_a_slice_does_not_append_any_more(store: &dyn EventStore) {
    let t = tenant(61);
    let s = stream(t, 61_000);
    store.fence(&[fence(2, 7)]).await.expect("is given");
    store.append(under(fence(2, 7), one(s, Expected::None, [61_001]))).await.expect("appends");
    store.fence(&[fence(2, 8)]).await.expect("is given to another");
    let two = [
        part(s, Expected::At(1), things([61_002])),
        part(stream(t, 61_100), Expected::Any, things([61_003])),
    ];
    let late = Append { reply: Some((key("late", 1), reply(""))), ..append(t, two) };
    for late in [one(s, Expected::At(1), [61_002]), one(s, Expected::Any, [61_002]), late] {
        let refused = store.append(under(fence(2, 7), late)).await.expect_err("is refused");
        assert!(is_fenced(&refused, fence(2, 7)), "{refused}");
    }
    assert_eq!(store.version(s).await.expect("version"), 1);
    assert_eq!(store.version(stream(t, 61_100)).await.expect("version"), 0);
    store.append(under(fence(2, 8), one(s, Expected::At(1), [61_004]))).await.expect("appends");
}

async fn a_slice_that_nobody_was_given_is_appended_for_by_nobody(store: &dyn EventStore) {
    let s = stream(tenant(62), 62_000);
    let append = under(fence(3, 1), one(s, Expected::None, [62_001]));
    let refused = store.append(append).await.expect_err("is refused");
    assert!(is_fenced(&refused, fence(3, 1)), "{refused}");
}

async fn an_older_epoch_never_comes_back(store: &dyn EventStore) {
    let s = stream(tenant(63), 63_000);
    store.fence(&[fence(4, 20)]).await.expect("is given");
    store.fence(&[fence(4, 19)]).await.expect("comes late");
    store.fence(&[fence(4, 20)]).await.expect("is said again");
    let refused = store.append(under(fence(4, 19), one(s, Expected::None, [63_001]))).await;
    assert!(is_fenced(&refused.expect_err("is refused"), fence(4, 19)));
    store.append(under(fence(4, 20), one(s, Expected::None, [63_001]))).await.expect("appends");
}

async fn what_was_stored_in_time_is_recognised_afterwards(store: &dyn EventStore) {
    let s = stream(tenant(64), 64_000);
    store.fence(&[fence(5, 30)]).await.expect("is given");
    let append = under(fence(5, 30), one(s, Expected::None, [64_001, 64_002]));
    let first = store.append(append.clone()).await.expect("appends");
    store.fence(&[fence(5, 31)]).await.expect("is given to another");
    assert_eq!(store.append(append).await.expect("stands already"), first);
}

async fn neighbours_are_judged_by_their_own_slices(store: &dyn EventStore) {
    let t = tenant(65);
    store.fence(&[fence(6, 40), fence(7, 41)]).await.expect("is given");
    store.fence(&[fence(7, 42)]).await.expect("is given to another");
    let appends = (0..60_u128).map(|nth| {
        let append = one(stream(t, 65_000 + nth), Expected::None, [65_100 + nth]);
        store.append(match nth % 3 {
            0 => under(fence(6, 40), append),
            1 => under(fence(7, 41), append),
            _ => append,
        })
    });
    for (nth, done) in join_all(appends).await.into_iter().enumerate() {
        match done {
            Ok(_) => assert_ne!(nth % 3, 1, "{nth} has lost its slice"),
            Err(error) => {
                assert!(nth % 3 == 1 && is_fenced(&error, fence(7, 41)), "{nth}: {error}");
            }
        }
    }
}
