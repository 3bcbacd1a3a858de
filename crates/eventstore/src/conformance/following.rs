//! Conformance of readers that filter and of those that follow.

use std::pin::pin;

use futures::{FutureExt, join};

use super::{append, one, part, stream, tenant, things};
use crate::{EventStore, Expected, Filter, Position, StreamId, Stretch, Subscription};

pub(super) async fn check(store: &dyn EventStore) {
    a_filter_gives_what_is_wanted_and_says_how_far_it_looked(store).await;
    no_stretch_has_more_than_was_asked_for(store).await;
    a_subscription_goes_on_exactly_where_another_stands(store).await;
    a_subscription_moves_past_what_it_does_not_want(store).await;
    a_subscription_waits_for_what_comes(store).await;
}

fn positions(stretch: &Stretch, from: Position) -> Vec<Position> {
    stretch.events.iter().map(|event| event.position - from).collect()
}

fn of_tenant(nth: u128) -> Filter {
    Filter { tenant: Some(tenant(nth)), categories: None }
}

fn of_category(name: &'static str) -> Filter {
    Filter { tenant: None, categories: Some(vec![name]) }
}

async fn a_filter_gives_what_is_wanted_and_says_how_far_it_looked(store: &dyn EventStore) {
    let head = store.head().await.expect("head");
    let (mine, theirs) = (stream(tenant(40), 1), stream(tenant(41), 1));
    let rare = StreamId { category: "rare", ..theirs };
    for (to, ids) in [(mine, 1..3), (theirs, 3..6), (rare, 6..7), (mine, 7..8)] {
        store.append(one(to, Expected::Any, ids)).await.expect("appends");
    }
    let both = Filter { tenant: Some(tenant(41)), categories: Some(vec!["rare", "other"]) };
    let nothing = Filter { tenant: None, categories: Some(vec![]) };
    let all = Filter::default();
    for (filter, expected) in [
        (of_tenant(40), vec![1, 2, 7]),
        (of_category("rare"), vec![6]),
        (both, vec![6]),
        (nothing, vec![]),
        (all, (1..=7).collect()),
    ] {
        let stretch = store.select(&filter, head, 100).await.expect("reads");
        assert_eq!(positions(&stretch, head), expected, "{filter:?}");
        assert_eq!(stretch.upto, head + 7, "{filter:?}");
        assert!(stretch.events.iter().all(|event| filter.wants(event)));
    }
}

async fn no_stretch_has_more_than_was_asked_for(store: &dyn EventStore) {
    let head = store.head().await.expect("head");
    let streams = [(42, 1), (43, 1), (42, 2)];
    for (nth, id) in streams {
        let events = part(stream(tenant(nth), id), Expected::None, things(1..=3));
        store.append(append(tenant(nth), [events])).await.expect("appends");
    }
    let mine = of_tenant(42);
    for (after, limit, expected, upto) in [
        (0, 2, vec![1, 2], 2),
        (2, 2, vec![3, 7], 7),
        (7, 2, vec![8, 9], 9),
        (9, 2, vec![], 9),
        (3, 100, vec![7, 8, 9], 9),
    ] {
        let stretch = store.select(&mine, head + after, limit).await.expect("reads");
        assert_eq!(positions(&stretch, head), expected, "after {after}");
        assert_eq!(stretch.upto - head, upto, "after {after}");
    }
}

async fn a_subscription_goes_on_exactly_where_another_stands(store: &dyn EventStore) {
    let head = store.head().await.expect("head");
    store.append(one(stream(tenant(44), 1), Expected::None, 1..=7)).await.expect("appends");
    let mut read = vec![];
    let mut at = head;
    while at < head + 7 {
        let mut subscription = Subscription::new(store, Filter::default(), at, 2);
        let stretch = subscription.next().await.expect("reads");
        assert!((1..=2).contains(&stretch.events.len()));
        read.extend(positions(&stretch, head));
        at = subscription.position();
        assert_eq!(at, stretch.upto);
    }
    assert_eq!(read, (1..=7).collect::<Vec<_>>());
}

async fn a_subscription_moves_past_what_it_does_not_want(store: &dyn EventStore) {
    let head = store.head().await.expect("head");
    let mut subscription = Subscription::new(store, of_category("absent"), head, 2);
    store.append(one(stream(tenant(45), 1), Expected::None, 1..=7)).await.expect("appends");
    while subscription.position() < head + 7 {
        let stretch = subscription.next().await.expect("reads");
        assert!(stretch.events.is_empty());
    }
}

async fn a_subscription_waits_for_what_comes(store: &dyn EventStore) {
    let head = store.head().await.expect("head");
    let mut subscription = Subscription::new(store, of_tenant(46), head, 10);
    {
        let mut early = pin!(subscription.next());
        assert!(early.as_mut().now_or_never().is_none(), "there is nothing yet");
    }
    let append = store.append(one(stream(tenant(46), 1), Expected::None, [1]));
    let (stretch, appended) = join!(subscription.next(), append);
    appended.expect("appends");
    assert_eq!(positions(&stretch.expect("reads"), head), [1], "a wait given up lost nothing");
}
