//! Timeouts and waits: never early, never twice, and who may catch them.

use serde_json::json;

use super::run::nothing;
use super::{failure, start};
use crate::execution::{Purpose, Standard};

#[test]
fn a_wait_ends_on_time_and_gives_its_input() {
    let mut run =
        start("do: [{pause: {wait: PT10S}}, {done: {set: {n: '${ .n }'}}}]", json!({"n": 1}));
    run.pass(9_999);
    assert!(!run.state.is_over());
    run.pass(1);
    run.gives(&json!({"n": 1}));
}

#[test]
fn a_wait_may_be_computed_and_may_be_nothing() {
    let mut run = start("do: [{pause: {wait: '${ {minutes: .n} }'}}]", json!({"n": 2}));
    assert_eq!(run.pause(), 120_000);
    run.pass(120_000);
    assert!(run.state.is_over());
    let mut run = start("do: [{pause: {wait: PT0S}}]", nothing());
    run.pass(0);
    assert!(run.state.is_over());
}

#[test]
fn a_timer_does_not_fire_early_nor_twice() {
    let mut run = start("do: [{one: {wait: PT1S}}, {two: {wait: PT1S}}]", nothing());
    let (_, wait) = run.next_timer().unwrap();
    assert_eq!(run.fire(wait), 0, "not due");
    run.pass(1_000);
    assert_eq!(run.fire(wait), 0, "fired before");
    assert_eq!(run.done(), "one");
}

#[test]
fn a_task_that_takes_too_long_is_stopped() {
    let mut run = start(
        r"
        do:
          - slow:
              timeout: {after: PT5S}
              do:
                - ask: {call: agent, with: {agent: a}}
                - more: {call: agent, with: {agent: a}}
        ",
        nothing(),
    );
    run.pass(4_000).succeed("ask", json!(1)).pass(999);
    assert_eq!(run.calling(), "more");
    run.pass(1);
    run.faults(Standard::Timeout, "/do/0/slow");
    assert_eq!(run.error().status, 408);
    assert_eq!(
        (run.fate("more").as_str(), run.fate("slow").as_str()),
        ("started cancelled", "started faulted")
    );
}

#[test]
fn a_task_in_time_takes_its_timer_with_it() {
    let mut run = start(
        "do: [{quick: {timeout: {after: PT5S}, call: agent, with: {agent: a}}}, {next: {wait: PT1H}}]",
        nothing(),
    );
    run.succeed("quick", json!(1));
    assert!(run.timers(Purpose::TaskTimeout).is_empty());
    run.pass(3_600_000);
    run.gives(&json!(1));
}

#[test]
fn a_try_around_catches_the_timeout_of_a_task() {
    let mut run = start(
        r"
        do:
          - guarded:
              try:
                - all:
                    timeout: {after: PT5S}
                    fork:
                      branches: [{a: {wait: PT1H}}, {b: {call: agent, with: {agent: a}}}]
              catch:
                errors: {with: {type: https://serverlessworkflow.io/spec/1.0.0/errors/timeout, status: 408}}
                do: [{late: {set: {at: '${ $error.instance }'}}}]
        ",
        nothing(),
    );
    run.pass(5_000);
    run.gives(&json!({"at": "/do/0/guarded/try/0/all"}));
    assert_eq!(
        (run.fate("a").as_str(), run.fate("b").as_str()),
        ("started cancelled", "started cancelled")
    );
}

#[test]
fn a_try_does_not_catch_its_own_timeout() {
    let document = |pause: &str| {
        format!(
            "
            do:
              - outer:
                  try:
                    - guarded:
                        timeout: {{after: PT10S}}
                        try: [{{ask: {{call: agent, with: {{agent: a}}}}}}]
                        catch: {{retry: {{delay: {pause}, limit: {{attempt: {{count: 9}}}}}}, do: [{{no: {{set: {{x: 1}}}}}}]}}
                  catch: {{do: [{{yes: {{set: {{at: '${{ $error.instance }}'}}}}}}]}}
            "
        )
    };
    let mut run = start(&document("PT1S"), nothing());
    run.pass(10_000);
    run.gives(&json!({"at": "/do/0/outer/try/0/guarded"}));
    let mut run = start(&document("PT1H"), nothing());
    run.answer("ask", failure(500)).pass(10_000);
    run.gives(&json!({"at": "/do/0/outer/try/0/guarded"}));
    assert_eq!(run.fate("guarded"), "started retrying faulted", "also while it pauses");
}

#[test]
fn a_timeout_also_binds_the_handler() {
    let mut run = start(
        r"
        do:
          - guarded:
              timeout: {after: PT10S}
              try: [{ask: {call: agent, with: {agent: a}}}]
              catch: {do: [{help: {call: agent, with: {agent: b}}}]}
        ",
        nothing(),
    );
    run.pass(4_000).answer("ask", failure(500)).pass(6_000);
    run.faults(Standard::Timeout, "/do/0/guarded");
    assert_eq!(run.fate("help"), "started cancelled");
}

#[test]
fn a_workflow_that_takes_too_long_faults() {
    let mut run = start(
        r"
        timeout: {after: {seconds: 30}}
        do:
          - guarded:
              try: [{ask: {call: agent, with: {agent: a}}}]
              catch: {}
        ",
        nothing(),
    );
    run.pass(30_000);
    assert_eq!(run.error().kind, Standard::Timeout.uri());
    assert_eq!(run.error().instance, None, "no task can catch it");
    assert_eq!(run.fate("guarded"), "started cancelled");
}

#[test]
fn of_two_timers_due_at_once_either_may_fire_first() {
    for first in [0, 1] {
        let mut run = start("do: [{a: {timeout: {after: PT1S}, wait: PT1S}}]", nothing());
        let mut waits: Vec<u32> = run.state.waits().map(|wait| wait.id).collect();
        waits.sort_unstable();
        run.now += chrono::TimeDelta::seconds(1);
        assert_eq!(run.fire(waits[first]), 2);
        assert_eq!(run.fire(waits[1 - first]), 0);
    }
}
