//! Conformance of [`execute`] on a store: history, contention, `if_match`, repeated commands.

use domain::{Id, Tenant};
use futures::future::join_all;
use uuid::Uuid;

use super::tally::{Command, Refused, Tally};
use super::{key, meta, reply, tenant};
use crate::{
    Error, EventStore, ExecuteError, Held, Keyed, Known, Metadata, Reply, Request, StreamId,
    Version, execute, load,
};

pub(super) async fn check(store: &dyn EventStore) {
    commands_become_history(store).await;
    another_tenants_aggregate_is_unknown(store).await;
    what_is_known_is_as_new_as_the_question(store).await;
    who_is_wrongly_taken_for_unborn_is_looked_at(store).await;
    what_others_were_like_when_it_was_decided_they_still_are(store).await;
    a_stale_caller_is_told_the_version(store).await;
    a_repeated_command_gets_its_answer(store).await;
    a_command_that_changes_nothing_is_answered_too(store).await;
    one_command_sent_many_times_at_once_happens_once(store).await;
    a_contended_command_is_decided_anew(store).await;
    what_is_held_is_read_on_and_decided_on(store).await;
    another_decision_of_the_same_cause_is_not_taken_for_it(store).await;
    a_newer_releases_event_stops_its_stream(store).await;
}

fn id(nth: u128) -> Id<Tally> {
    Id::from_uuid(Uuid::from_u128(nth))
}

/// Circumstances of the `nth` command of a tenant.
fn nth(tenant: Id<Tenant>, nth: u128) -> Request<'static, Tally> {
    Request::new(Metadata { causation: Uuid::from_u128(nth), ..meta(tenant) })
}

fn sum(tally: &Tally) -> Reply {
    reply(&tally.sum.to_string())
}

fn keyed(tenant: Id<Tenant>, cause: u128, name: &str, print: u8) -> Request<'static, Tally> {
    Request { reply: Some(Keyed { key: key(name, print), reply: &sum }), ..nth(tenant, cause) }
}

async fn commands_become_history(store: &dyn EventStore) {
    let (t, tally) = (tenant(40), id(1));
    let none = execute(store, tally, &Command::Close, &nth(t, 1)).await;
    assert!(matches!(none, Err(ExecuteError::Refused(Refused::NotFound))), "{none:?}");

    let added = execute(store, tally, &Command::Add(2), &nth(t, 2)).await.expect("adds");
    assert_eq!((added.version, added.changed, added.state.sum), (1, true, 2));
    assert_eq!(added.position, store.head().await.expect("head"));
    let closed = execute(store, tally, &Command::Close, &nth(t, 3)).await.expect("closes");
    let again = execute(store, tally, &Command::Close, &nth(t, 4)).await.expect("is closed");
    assert_eq!((again.version, again.changed, again.position), (2, false, closed.position));
    assert_eq!(again.state, closed.state, "what was decided is what is loaded");
    let refused = execute(store, tally, &Command::Add(1), &nth(t, 5)).await;
    assert!(matches!(refused, Err(ExecuteError::Refused(Refused::Closed))), "{refused:?}");

    let (state, version) = load(store, t, tally).await.expect("loads");
    assert_eq!((state, version), (closed.state, 2));
    let rows = store.load(StreamId::of(t, tally), 0, 1_000).await.expect("loads");
    assert_eq!(rows[0].name, "tally.added");
    assert_eq!(rows[0].body.get(), r#"{"number":2}"#);
    assert_ne!(rows[0].id, rows[1].id);
}

async fn another_tenants_aggregate_is_unknown(store: &dyn EventStore) {
    let tally = id(1);
    execute(store, tally, &Command::Add(2), &nth(tenant(41), 1)).await.expect("adds");
    let stranger = Request { if_match: Some(1), ..nth(tenant(42), 2) };
    let refused = execute(store, tally, &Command::Close, &stranger).await;
    assert!(matches!(refused, Err(ExecuteError::Refused(Refused::NotFound))), "{refused:?}");
}

async fn what_is_known_is_as_new_as_the_question(store: &dyn EventStore) {
    let (t, tally, known) = (tenant(70), id(1), Known::new(2));
    let sum = async |t| known.look(store, t, tally).await.expect("looks").sum;
    assert_eq!(sum(t).await, 0);
    for nth_time in 1..=3 {
        execute(store, tally, &Command::Add(1), &nth(t, nth_time)).await.expect("adds");
        assert_eq!(sum(t).await, i64::try_from(nth_time).expect("is small"));
    }
    assert_eq!(sum(tenant(71)).await, 0, "of another tenant");
    assert_eq!(sum(t).await, 3);
}

async fn who_is_wrongly_taken_for_unborn_is_looked_at(store: &dyn EventStore) {
    let (t, tally) = (tenant(72), id(1));
    let mut first = Held::unborn(t, tally);
    assert!(first.execute(store, &Command::Add(1), &nth(t, 1)).await.expect("adds"));
    let mut second = Held::unborn(t, tally);
    assert!(second.execute(store, &Command::Add(2), &nth(t, 2)).await.expect("adds"));
    assert_eq!((second.version, second.state.sum), (2, 3));
}

async fn what_others_were_like_when_it_was_decided_they_still_are(store: &dyn EventStore) {
    let (t, other, new) = (tenant(73), id(1), id(2));
    execute(store, other, &Command::Add(1), &nth(t, 1)).await.expect("adds");
    let given = |cause, versions: &[(Id<Tally>, Version)]| Request {
        given: versions.iter().map(|(id, version)| (StreamId::of(t, *id), *version)).collect(),
        ..nth(t, cause)
    };
    let add = async |request| Held::unborn(t, new).execute(store, &Command::Add(5), &request).await;
    let outdated = add(given(2, &[(other, 0)])).await;
    assert!(matches!(outdated, Err(ExecuteError::Outdated)), "{outdated:?}");
    let outdated = add(given(2, &[(other, 1), (id(3), 1)])).await;
    assert!(matches!(outdated, Err(ExecuteError::Outdated)), "{outdated:?}");
    assert_eq!(store.version(StreamId::of(t, new)).await.expect("asks"), 0, "nothing was stored");
    assert!(add(given(2, &[(other, 1), (id(3), 0)])).await.expect("adds"));

    execute(store, other, &Command::Add(1), &nth(t, 3)).await.expect("adds");
    assert!(add(given(2, &[(other, 1)])).await.expect("is told that it was stored before"));
    assert_eq!(store.version(StreamId::of(t, new)).await.expect("asks"), 1, "once");
    assert_eq!(load(store, t, other).await.expect("loads").1, 2, "nothing was added to it");
}

async fn a_stale_caller_is_told_the_version(store: &dyn EventStore) {
    let (t, tally) = (tenant(43), id(1));
    let matching = |cause, version| Request { if_match: Some(version), ..nth(t, cause) };
    execute(store, tally, &Command::Add(1), &matching(1, 0)).await.expect("adds");
    let stale = execute(store, tally, &Command::Add(1), &matching(2, 0)).await;
    assert!(matches!(stale, Err(ExecuteError::Stale { actual: 1 })), "{stale:?}");
    execute(store, tally, &Command::Add(1), &matching(3, 1)).await.expect("adds");
}

async fn a_repeated_command_gets_its_answer(store: &dyn EventStore) {
    let (t, tally) = (tenant(44), id(1));
    let add = Command::Add(5);
    let done = execute(store, tally, &add, &keyed(t, 1, "k", 1)).await.expect("adds");
    execute(store, tally, &Command::Add(1), &nth(t, 2)).await.expect("adds");
    execute(store, tally, &Command::Close, &nth(t, 5)).await.expect("closes: no more adding");

    match execute(store, tally, &add, &keyed(t, 3, "k", 1)).await {
        Err(ExecuteError::Replayed(answered)) => {
            assert_eq!(answered.reply, reply("5"), "the state after the events");
            assert_eq!((answered.position, answered.version), (done.position, done.version));
        }
        other => panic!("expected the answer, got {other:?}"),
    }
    let other = execute(store, tally, &add, &keyed(t, 4, "k", 2)).await;
    assert!(matches!(other, Err(ExecuteError::KeyReused)), "{other:?}");
    assert_eq!(load(store, t, tally).await.expect("loads").0.sum, 6);
}

async fn a_command_that_changes_nothing_is_answered_too(store: &dyn EventStore) {
    let (t, tally) = (tenant(45), id(1));
    execute(store, tally, &Command::Add(5), &nth(t, 1)).await.expect("adds");
    execute(store, tally, &Command::Close, &nth(t, 2)).await.expect("closes");
    let quiet = execute(store, tally, &Command::Close, &keyed(t, 3, "k", 1)).await;
    let quiet = quiet.expect("is closed");
    assert_eq!((quiet.changed, quiet.version), (false, 2));
    let again = execute(store, tally, &Command::Close, &keyed(t, 4, "k", 1)).await;
    assert!(matches!(again, Err(ExecuteError::Replayed(a)) if a.version == 2));
    assert_eq!(load(store, t, tally).await.expect("loads").1, 2);
}

async fn one_command_sent_many_times_at_once_happens_once(store: &dyn EventStore) {
    let (t, tally) = (tenant(46), id(1));
    let send = |cause| async move {
        execute(store, tally, &Command::Add(1), &keyed(t, cause, "k", 1)).await
    };
    let (mut done, mut replayed) = (0, 0);
    for answer in join_all((0..8).map(send)).await {
        match answer {
            Ok(_) => done += 1,
            Err(ExecuteError::Replayed(answered)) => {
                assert_eq!(answered.reply, reply("1"));
                replayed += 1;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!((done, replayed), (1, 7));
    assert_eq!(load(store, t, tally).await.expect("loads").0.sum, 1);
}

async fn a_contended_command_is_decided_anew(store: &dyn EventStore) {
    let (t, tally) = (tenant(47), id(1));
    let writer = |writer: u128| async move {
        let mut added = 0;
        for turn in 0..10 {
            match execute(store, tally, &Command::Add(1), &nth(t, 100 * writer + turn)).await {
                Ok(_) => added += 1,
                Err(ExecuteError::Store(Error::Conflict { .. })) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        added
    };
    let added: i64 = join_all((0..4).map(writer)).await.into_iter().sum();
    let (state, version) = load(store, t, tally).await.expect("loads");
    assert_eq!((state.sum, version), (added, Version::from(added)), "no update is lost");
    assert!(added >= 10, "somebody gets through");
}

async fn what_is_held_is_read_on_and_decided_on(store: &dyn EventStore) {
    let (t, tally) = (tenant(49), id(1));
    let mut held = Held::new(t, tally);
    assert!(held.execute(store, &Command::Add(1), &nth(t, 1)).await.expect("adds"));
    execute(store, tally, &Command::Add(2), &nth(t, 2)).await.expect("somebody else adds");
    assert!(held.execute(store, &Command::Add(3), &nth(t, 3)).await.expect("adds"));
    assert_eq!((held.state.sum, held.version), (6, 3), "nothing is missed");
    execute(store, tally, &Command::Close, &nth(t, 4)).await.expect("somebody else closes");
    let refused = held.execute(store, &Command::Add(1), &nth(t, 5)).await;
    assert!(matches!(refused, Err(ExecuteError::Refused(Refused::Closed))), "{refused:?}");
    let (state, version) = load(store, t, tally).await.expect("loads");
    assert_eq!((&held.state, held.version), (&state, version), "it is what the log says");
}

/// Two workers that do the same work and get different answers of the world.
async fn another_decision_of_the_same_cause_is_not_taken_for_it(store: &dyn EventStore) {
    let (t, tally) = (tenant(50), id(1));
    let (mut one, mut other) = (Held::new(t, tally), Held::new(t, tally));
    assert!(one.execute(store, &Command::Add(1), &nth(t, 1)).await.expect("adds"));
    assert!(other.execute(store, &Command::Add(2), &nth(t, 1)).await.expect("adds"));
    let (state, _) = load(store, t, tally).await.expect("loads");
    assert_eq!((state.sum, &other.state), (3, &state), "what is held is what the log says");
}

async fn a_newer_releases_event_stops_its_stream(store: &dyn EventStore) {
    let t = tenant(48);
    for (nth_stream, name, schema) in [(1, "tally.added", 2), (2, "tally.doubled", 1)] {
        let stream = StreamId::of(t, id(nth_stream));
        let mut append = super::one(stream, crate::Expected::None, [1]);
        name.clone_into(&mut append.streams[0].events[0].name);
        append.streams[0].events[0].schema = schema;
        store.append(append).await.expect("appends");
        let stopped = execute(store, id(nth_stream), &Command::Add(1), &nth(t, 1)).await;
        assert!(matches!(&stopped, Err(ExecuteError::Store(Error::Newer { .. }))), "{stopped:?}");
        assert_eq!(store.load(stream, 0, 1_000).await.expect("loads").len(), 1);
    }
}
