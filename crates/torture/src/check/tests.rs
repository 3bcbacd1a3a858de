//! A history that is right, and what must be found when it is bent.

use uuid::Uuid;

use super::*;
use crate::history::{Intent, Op, Outcome, Page, Part, Refusal, Tail};

const A: Uuid = Uuid::from_u128(0xa);
const B: Uuid = Uuid::from_u128(0xb);

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn event(position: i64, stream: Uuid, version: i64) -> Event {
    let id = id(u128::try_from(position).expect("positions are positive"));
    Event { position, stream, version, id, is_intact: true }
}

/// An append of event `number` to a stream, sent at `number` × 10 and answered 5 later.
fn op(number: u64, stream: Uuid, expected: Option<i64>, outcome: Option<Outcome>) -> Op {
    let part = Part { stream, expected, ids: vec![id(number.into())] };
    let outcome = outcome.unwrap_or_else(|| ok(number, expected.unwrap_or_default() + 1));
    Op { invoked: number * 10, intent: Intent { parts: vec![part], key: None }, outcome }
}

fn ok(number: u64, version: i64) -> Outcome {
    let position = i64::try_from(number).ok();
    Outcome::Ok { answered: number * 10 + 5, position, versions: vec![version] }
}

fn pages(seen: Vec<(i64, Vec<(i64, Uuid)>)>) -> Vec<Page> {
    seen.into_iter().map(|(after, events)| Page { at: 0, after, events }).collect()
}

/// Three appends to two streams, read by one reader in two pages.
fn right() -> (History, Vec<Event>) {
    let ops = vec![op(1, A, Some(0), None), op(2, B, Some(0), None), op(3, A, Some(1), None)];
    let pages = pages(vec![(0, vec![(1, id(1))]), (1, vec![(2, id(2)), (3, id(3))])]);
    let tails = vec![Tail { name: "r".to_owned(), pages }];
    (History { ops, tails }, vec![event(1, A, 1), event(2, B, 1), event(3, A, 2)])
}

/// What is found when a right history is bent.
fn found(bend: impl FnOnce(&mut History, &mut Vec<Event>)) -> Vec<Invariant> {
    let (mut history, mut log) = right();
    bend(&mut history, &mut log);
    let mut found: Vec<_> = check(&history, &log).iter().map(|found| found.invariant).collect();
    found.dedup();
    found
}

#[test]
fn nothing_is_wrong_with_a_right_history() {
    assert_eq!(found(|_, _| {}), []);
}

#[test]
fn whatever_may_have_happened_is_allowed() {
    let unknown = |history: &mut History, log: &mut Vec<Event>| {
        history.ops.push(op(4, B, Some(1), Some(Outcome::Info)));
        history.ops.push(op(5, B, Some(2), Some(Outcome::Info)));
        log.push(event(4, B, 2));
    };
    assert_eq!(found(unknown), []);
}

#[test]
fn a_lost_end_of_the_log_is_found() {
    let lose = |history: &mut History, log: &mut Vec<Event>| {
        log.pop();
        history.tails.clear();
    };
    assert_eq!(found(lose), [Invariant::I1]);
}

#[test]
fn another_body_another_place_and_another_position_than_promised_are_found() {
    assert_eq!(found(|_, log| log[1].is_intact = false), [Invariant::I1]);
    let elsewhere = |history: &mut History, _: &mut Vec<Event>| {
        history.ops[1].outcome = ok(2, 7);
    };
    assert_eq!(found(elsewhere), [Invariant::I1]);
    let position = |history: &mut History, _: &mut Vec<Event>| {
        history.ops[2].outcome = ok(9, 2);
    };
    assert_eq!(found(position), [Invariant::I1]);
}

#[test]
fn what_was_refused_or_never_asked_for_must_not_be_there() {
    let refused = |history: &mut History, _: &mut Vec<Event>| {
        history.ops[1].outcome = Outcome::Fail(Refusal::Other("no".to_owned()));
    };
    assert_eq!(found(refused), [Invariant::I2]);
    assert_eq!(found(|_, log| log.push(event(4, B, 2))), [Invariant::I2]);
}

#[test]
fn an_event_that_is_there_twice_is_found() {
    let twice = |_: &mut History, log: &mut Vec<Event>| {
        log.push(Event { position: 4, version: 3, ..log[2].clone() });
    };
    assert!(found(twice).contains(&Invariant::I2));
}

#[test]
fn versions_that_repeat_or_are_missing_are_found() {
    for version in [1, 3] {
        let bend = |history: &mut History, log: &mut Vec<Event>| {
            log[2].version = version;
            history.ops[2].outcome = Outcome::Info;
        };
        assert_eq!(found(bend), [Invariant::I3]);
    }
}

#[test]
fn two_winners_at_one_version_are_found() {
    let two = |history: &mut History, log: &mut Vec<Event>| {
        history.ops.push(op(4, A, Some(1), Some(ok(4, 3))));
        log.push(event(4, A, 3));
    };
    assert_eq!(found(two), [Invariant::I4]);
}

#[test]
fn a_conflict_with_what_was_expected_is_found() {
    let conflict = |history: &mut History, _: &mut Vec<Event>| {
        let why = Refusal::Conflict { stream: A, actual: 2 };
        history.ops.push(op(4, A, Some(2), Some(Outcome::Fail(why))));
    };
    assert_eq!(found(conflict), [Invariant::I4]);
}

#[test]
fn a_hole_between_positions_is_found() {
    let hole = |history: &mut History, log: &mut Vec<Event>| {
        log[2].position = 4;
        history.ops[2].outcome = Outcome::Info;
        history.tails.clear();
    };
    assert_eq!(found(hole), [Invariant::I5]);
}

#[test]
fn positions_against_the_order_of_answers_are_found() {
    let late = |history: &mut History, _: &mut Vec<Event>| {
        // The first append was sent when the third had been answered long ago.
        history.ops[0].invoked = 1_000;
        history.ops[0].outcome =
            Outcome::Ok { answered: 1_005, position: Some(1), versions: vec![1] };
    };
    assert_eq!(found(late), [Invariant::I6]);
}

#[test]
fn an_append_that_is_repeated_counts_from_the_first_time() {
    let again = |history: &mut History, _: &mut Vec<Event>| {
        let mut again = history.ops[0].clone();
        again.invoked = 1_000;
        again.outcome = Outcome::Ok { answered: 1_005, position: Some(1), versions: vec![1] };
        history.ops.push(again);
    };
    assert_eq!(found(again), []);
}

#[test]
fn readers_that_skip_repeat_reorder_or_jump_are_found() {
    type Pages = Vec<(i64, Vec<(i64, Uuid)>)>;
    let wrong: [Pages; 4] = [
        vec![(0, vec![(1, id(1)), (3, id(3))])],
        vec![(0, vec![(1, id(1)), (1, id(1))])],
        vec![(0, vec![(2, id(2)), (1, id(1))])],
        vec![(0, vec![(1, id(1))]), (2, vec![(3, id(3))])],
    ];
    for seen in wrong {
        let seen = pages(seen);
        let bend = |history: &mut History, _: &mut Vec<Event>| history.tails[0].pages = seen;
        assert_eq!(found(bend), [Invariant::I7]);
    }
}

#[test]
fn a_reader_may_begin_anywhere_and_end_anywhere() {
    let middle = |history: &mut History, _: &mut Vec<Event>| {
        history.tails[0].pages = pages(vec![(1, vec![(2, id(2))])]);
    };
    assert_eq!(found(middle), []);
}

#[test]
fn a_key_with_two_answers_or_two_effects_is_found() {
    let keyed = |body: u8| {
        move |history: &mut History, _: &mut Vec<Event>| {
            history.ops[0].intent.key = Some(("k".to_owned(), 1));
            history.ops[1].intent.key = Some(("k".to_owned(), body));
        }
    };
    assert_eq!(found(keyed(1)), [Invariant::I16]);
    assert_eq!(found(keyed(2)), [Invariant::I16]);
}

#[test]
fn a_key_that_was_refused_to_another_command_is_right() {
    let refused = |history: &mut History, _: &mut Vec<Event>| {
        history.ops[0].intent.key = Some(("k".to_owned(), 1));
        let mut other = op(9, B, Some(0), Some(Outcome::Fail(Refusal::KeyUsed)));
        other.intent.key = Some(("k".to_owned(), 2));
        history.ops.push(other);
    };
    assert_eq!(found(refused), []);
}
