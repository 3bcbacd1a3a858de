//! Each check finds what it is for, and nothing in what is right.

use serde_json::{Value, json};
use testkit::outside::Told;
use uuid::Uuid;

use super::Fault;
use super::check::{Call, Seen, check};
use super::documents::Kind;
use super::history::{Ask, Op, Outcome, Window};
use super::log::{Event, fold};
use crate::check::Invariant;

const ID: Uuid = Uuid::from_u128(7);
/// Half past ten, in microseconds and as events say it.
const DUE: (i64, &str) = (1_767_263_400_000_000, "2026-01-01T10:30:00Z");
const SECOND: u64 = 1_000_000_000;

fn event(name: &str, body: Value, recorded: i64) -> Event {
    Event { execution: ID, name: format!("execution.{name}"), body, recorded }
}

fn timer() -> Value {
    json!({"id": 1, "task": "/do/0/pause", "what": {"timer": {"due_at": DUE.1, "purpose": "wait"}}})
}

fn call(id: u64, key: u64) -> Value {
    let what = json!({"call": {"key": key.to_string(), "request": {"call": "http"}}});
    json!({"id": id, "task": "/do/1/ask", "what": what})
}

/// An execution that waits, calls twice because nothing came of the first call, and ends.
fn story(fired: i64, second_key: u64) -> Vec<Event> {
    let input = json!({"$personal": [{"key": "k"}]});
    vec![
        event("started", json!({"trigger": "api", "input": input}), DUE.0),
        event("turn_taken", json!({"opened": [timer()]}), 0),
        event(
            "turn_taken",
            json!({"closed": [{"wait": 1, "how": "fired"}], "opened": [call(2, 2)]}),
            DUE.0 + fired,
        ),
        event(
            "turn_taken",
            json!({"closed": [{"wait": 2, "how": {"unknown": {}}}], "opened": [call(3, second_key)]}),
            DUE.0,
        ),
        event("turn_taken", json!({"closed": [{"wait": 3, "how": "succeeded"}]}), DUE.0),
        event("completed", json!({}), DUE.0),
    ]
}

fn called(key: u64, at: u64, told: Told) -> Call {
    let (step, key) = ("ask".to_owned(), format!("{ID}.{key}"));
    Call { execution: ID, step, key, at: at * SECOND, told: Some(told) }
}

fn op(outcome: Outcome) -> Op {
    let ask = Ask { key: "k".to_owned(), kind: Kind::Plain };
    Op { invoked: 10 * SECOND, ended: 12 * SECOND, server: 1, ask, outcome }
}

fn window(fault: Fault, target: Option<usize>) -> Window {
    Window { fault, target, from: 9 * SECOND, until: 11 * SECOND }
}

fn seen(events: Vec<Event>) -> Seen {
    Seen {
        ops: vec![op(Outcome::Ok(ID))],
        windows: vec![],
        executions: fold(events).expect("a story"),
        calls: vec![called(2, 1, Told::Nothing), called(2, 2, Told::Success)],
        zero: DUE.0,
    }
}

fn right() -> Seen {
    seen(story(5_000, 2))
}

fn broken(seen: &Seen) -> Vec<Invariant> {
    check(seen).0.into_iter().map(|found| found.invariant).collect()
}

#[test]
fn in_what_is_right_nothing_is_found() {
    let (found, figures) = check(&right());
    assert_eq!(found, []);
    assert_eq!((figures.calls, figures.extra, figures.quiet), (2, 0, vec![5_000]));
}

#[test]
fn what_was_accepted_and_is_not_there_is_lost_and_the_other_way_round_nobodys() {
    let mut other = right();
    other.ops = vec![op(Outcome::Ok(Uuid::nil()))];
    assert_eq!(broken(&other), [Invariant::I1, Invariant::I2]);
}

#[test]
fn a_key_that_stands_for_two_executions_is_found() {
    let mut two = right();
    two.ops.push(op(Outcome::Ok(Uuid::nil())));
    assert_eq!(broken(&two), [Invariant::I1, Invariant::I16]);
}

#[test]
fn an_execution_without_an_end_or_with_two_is_found() {
    let mut events = story(0, 2);
    events.pop();
    assert_eq!(broken(&seen(events)), [Invariant::I10]);
    let mut events = story(0, 2);
    events.push(event("faulted", json!({}), DUE.0));
    assert_eq!(broken(&seen(events)), [Invariant::I10]);
}

#[test]
fn a_new_key_while_the_outcome_is_unknown_is_found() {
    let mut new = seen(story(0, 3));
    new.calls[1] = called(3, 2, Told::Success);
    assert_eq!(broken(&new), [Invariant::I11]);
}

#[test]
fn a_step_that_is_done_without_a_call_and_a_call_for_no_step_are_found() {
    let mut none = right();
    none.calls.pop();
    assert_eq!(broken(&none), [Invariant::I11]);
    let mut more = right();
    more.calls.push(called(9, 3, Told::Success));
    assert_eq!(broken(&more), [Invariant::I11]);
}

#[test]
fn a_call_that_is_made_again_is_found_unless_something_went_wrong_between() {
    let mut again = right();
    again.calls.push(called(2, 20, Told::Success));
    assert_eq!(broken(&again), [Invariant::I11]);
    again.windows = vec![window(Fault::KillServer, Some(1))];
    assert_eq!(broken(&again), [Invariant::I11]);
    again.windows = vec![window(Fault::KillEngine, Some(1))];
    assert_eq!(broken(&again), []);
    assert_eq!(check(&again).1.extra, 1);
}

#[test]
fn a_child_that_is_started_twice_is_found() {
    let mut events = story(0, 2);
    let run = json!({"call": {"key": "4", "request": {"call": "workflow"}}});
    let opened = json!({"opened": [{"id": 4, "task": "/do/2/run", "what": run}]});
    events.insert(1, event("turn_taken", opened, 0));
    for child in [1, 2] {
        let trigger = json!({"workflow": {"execution": ID, "wait": 4}});
        for (name, body) in [("started", json!({"trigger": trigger})), ("completed", json!({}))] {
            let execution = Uuid::from_u128(child);
            events.push(Event { execution, ..event(name, body, 0) });
        }
    }
    assert_eq!(broken(&seen(events)), [Invariant::I11]);
}

#[test]
fn a_timer_that_fires_early_or_an_hour_late_is_found() {
    assert_eq!(broken(&seen(story(-1, 2))), [Invariant::I12]);
    assert_eq!(broken(&seen(story(3_600_000_000, 2))), [Invariant::I12]);
}

#[test]
fn a_request_that_a_server_leaves_behind_when_it_stops_is_found() {
    let mut cut = right();
    let why = "cut off".to_owned();
    cut.ops.push(op(Outcome::Info { is_answered: false, why }));
    (cut.ops[0].invoked, cut.ops[0].ended) = (13 * SECOND, 14 * SECOND);
    assert_eq!(broken(&cut), []);
    cut.windows = vec![window(Fault::StopServer, Some(1))];
    assert_eq!(broken(&cut), [Invariant::I22]);
    // It began after the caller had given up: somebody asked again.
    cut.zero -= 13_000_000;
    assert_eq!((broken(&cut), check(&cut).1.unread), (vec![], 1));
    cut.zero += 13_000_000;
    // Somebody had asked for the same before: it was perhaps done for them.
    cut.ops[0].invoked = SECOND;
    assert_eq!((broken(&cut), check(&cut).1.unread), (vec![], 1));
    cut.ops[0].invoked = 13 * SECOND;
    cut.windows.push(window(Fault::KillPostgres, None));
    assert_eq!(broken(&cut), []);
    cut.windows = vec![window(Fault::StopServer, Some(0))];
    assert_eq!(broken(&cut), []);
}
