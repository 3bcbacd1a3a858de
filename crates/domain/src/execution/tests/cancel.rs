//! Stopping an execution, and the executions it started.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::run::{id, nothing};
use super::{Run, start, unknown};
use crate::execution::{
    Answer, Caller, Cause, Command, Event, Execution, Phase, Purpose, Refusal, Trigger, Turn,
};
use crate::{Actor, Aggregate as _, Id, PERSONAL};

const BUSY: &str = r"
    do:
      - all:
          timeout: {after: P1D}
          fork:
            branches:
              - a: {do: [{ask: {call: agent, with: {agent: a}}}]}
              - b: {wait: PT1H}
              - c: {run: {workflow: {namespace: n, name: w, version: latest}}}
              - d: {run: {workflow: {namespace: n, name: w, version: latest}, await: false}}
";

/// The execution that a task started.
fn child(run: &Run, task: &str) -> Id<Execution> {
    Id::derived(id().as_uuid(), &run.key(task))
}

fn children(turn: &Turn) -> Vec<Id<Execution>> {
    turn.closed.iter().filter_map(|closed| closed.child).collect()
}

#[test]
fn a_cancel_stops_everything_and_names_the_child_that_was_waited_for() {
    let mut run = start(BUSY, nothing());
    let awaited = child(&run, "c");
    assert_eq!(run.cancel(), Ok(2));
    assert_eq!(run.state.phase(), &Phase::Cancelled);
    for task in ["all", "a", "ask", "b", "c", "d"] {
        assert_eq!(run.fate(task), "started cancelled", "{task}");
    }
    let last = run.turns().last().unwrap();
    assert_eq!(last.cause, Cause::Cancelled);
    assert_eq!(last.closed.len(), 5);
    assert_eq!(children(last), [awaited], "the other one goes on alone");
}

#[test]
fn a_cancel_can_be_repeated_and_comes_too_late_for_what_has_ended() {
    let mut run = start(BUSY, nothing());
    run.cancel().unwrap();
    assert_eq!(run.cancel(), Ok(0));
    let mut run = start("do: [{a: {set: {x: 1}}}]", nothing());
    assert_eq!(run.cancel(), Err(Refusal::Finished));
    let stop = Command::Cancel { by: Actor::System, reason: String::new() };
    assert_eq!(Execution::default().decide(&stop, run.now), Err(Refusal::NotFound));
}

#[test]
fn nothing_happens_after_a_cancel() {
    let mut run = start(BUSY, nothing());
    let waits: Vec<u32> = run.state.waits().map(|wait| wait.id).collect();
    run.cancel().unwrap();
    run.now += chrono::TimeDelta::days(2);
    for wait in waits {
        assert_eq!(run.answer_wait(wait, Answer::Success(json!(1))), 0);
        assert_eq!(run.answer_wait(wait, unknown()), 0);
        assert_eq!(run.fire(wait), 0);
    }
}

#[test]
fn a_cancel_during_the_pause_before_an_attempt_ends_it() {
    let mut run = start(
        r"
        do:
          - guarded:
              try: [{ask: {call: agent, with: {agent: a}}}]
              catch: {retry: {delay: PT6H, limit: {attempt: {count: 5}}}}
        ",
        nothing(),
    );
    run.answer("ask", unknown());
    run.cancel().unwrap();
    assert_eq!(run.fate("guarded"), "started retrying cancelled");
}

#[test]
fn a_child_whose_parent_goes_on_without_it_is_named() {
    let mut run = start(
        r"
        do:
          - race:
              fork:
                compete: true
                branches:
                  - sub: {run: {workflow: {namespace: n, name: w, version: latest}}}
                  - quick: {call: agent, with: {agent: a}}
          - next: {call: agent, with: {agent: b}}
        ",
        nothing(),
    );
    let lost = child(&run, "sub");
    run.succeed("quick", json!(1));
    assert_eq!(children(run.turns().last().unwrap()), [lost]);
    assert_eq!(run.calling(), "next");
}

#[test]
fn a_child_that_was_stopped_is_not_started_again_under_its_id() {
    let mut run = start(
        r"
        do:
          - guarded:
              try: [{sub: {run: {workflow: {namespace: n, name: w, version: latest}}}}]
              catch: {retry: {limit: {attempt: {count: 3, duration: PT1M}}}}
        ",
        nothing(),
    );
    let stopped = child(&run, "sub");
    run.pass(60_000);
    assert_ne!(child(&run, "sub"), stopped);
    let unsure = child(&run, "sub");
    run.answer("sub", unknown()).pass(0);
    assert_eq!(child(&run, "sub"), unsure, "nobody stopped this one");
}

#[test]
fn every_end_tells_the_execution_that_waits() {
    let parent = Caller { execution: Id::from_uuid(uuid::Uuid::from_u128(9)), wait: 4 };
    let document = "do: [{a: {call: agent, with: {agent: a}}}]";
    for ending in 0..3 {
        let mut run = start(document, nothing());
        let Some(Event::Started { trigger, .. }) = run.history.first_mut() else { panic!("first") };
        *trigger = Trigger::Workflow(parent);
        run.state = Execution::replay(&run.history);
        match ending {
            0 => drop(run.succeed("a", json!(1))),
            1 => drop(run.answer("a", super::failure(500))),
            _ => drop(run.cancel()),
        }
        let told = match run.history.last() {
            Some(
                Event::Completed { parent, .. }
                | Event::Faulted { parent, .. }
                | Event::Cancelled { parent, .. },
            ) => *parent,
            Some(Event::Started { .. } | Event::TurnTaken(_)) | None => None,
        };
        assert_eq!(told, Some(parent));
    }
}

#[test]
fn an_execution_starts_once() {
    let run = start(BUSY, nothing());
    let again = crate::execution::NewExecution {
        id: id(),
        workflow: Id::from_uuid(uuid::Uuid::from_u128(2)),
        revision: 1,
        plan: run.plan.clone(),
        input: nothing(),
        subject: None,
        trigger: Trigger::Api,
    };
    let again = Command::Start(Box::new(again));
    assert_eq!(run.state.decide(&again, run.now), Err(Refusal::AlreadyStarted));
}

/// An event as it is read once its personal values were erased.
fn erased(event: &Event) -> Event {
    fn erase(value: &mut Value) {
        match value {
            Value::Object(members) => match members.get_mut(PERSONAL) {
                Some(marked) => *marked = Value::Null,
                None => members.values_mut().for_each(erase),
            },
            Value::Array(items) => items.iter_mut().for_each(erase),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut stored = serde_json::to_value(event).unwrap();
    erase(&mut stored);
    serde_json::from_str(&format!(r#"{{"type":{},"data":{}}}"#, stored["type"], stored["data"]))
        .unwrap()
}

#[test]
fn an_execution_whose_data_were_erased_ends_when_it_is_woken() {
    let mut run = start(BUSY, json!({"name": "Ada"}));
    let timer = run.timers(Purpose::Wait)[0].id;
    let call = run.call("ask").id;
    run.state = Execution::replay(&run.history.iter().map(erased).collect::<Vec<_>>());
    run.now += TimeDelta::hours(2);
    let plan = run.plan.clone();
    let fire = Command::Fire { plan: plan.clone(), wait: timer };
    let answer = Command::Answer { plan, wait: call, answer: Answer::Success(json!("x")) };
    for wake in [fire, answer] {
        let events = run.state.decide(&wake, run.now).unwrap();
        assert!(matches!(events.as_slice(), [_, Event::Cancelled { by: Actor::System, .. }]));
    }
}
