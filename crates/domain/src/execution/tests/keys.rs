//! Idempotency keys: the same while the outcome is unknown, new after a definite failure.

use serde_json::json;

use super::run::nothing;
use super::{Run, failure, start, unknown};

const RETRY: &str = "catch: {retry: {limit: {attempt: {count: 9, duration: {seconds: 60}}}}}";

fn tried(body: &str) -> Run {
    start(&format!("do:\n  - guarded:\n      try: [{body}]\n      {RETRY}"), json!({"n": [1, 2]}))
}

const ASK: &str = "{ask: {call: agent, with: {agent: a}}}";

#[test]
fn while_the_outcome_is_unknown_the_key_stays() {
    let mut run = tried(ASK);
    let first = run.key("ask");
    run.answer("ask", unknown()).pass(0);
    assert_eq!(run.key("ask"), first);
    run.answer("ask", unknown()).pass(0);
    assert_eq!(run.key("ask"), first, "however often");
}

#[test]
fn a_definite_failure_earns_a_new_key() {
    let mut run = tried(ASK);
    let first = run.key("ask");
    run.answer("ask", failure(503)).pass(0);
    let second = run.key("ask");
    assert_ne!(second, first);
    run.answer("ask", unknown()).pass(0).answer("ask", failure(503)).pass(0);
    assert!(![first, second].contains(&run.key("ask")));
}

#[test]
fn a_call_that_was_stopped_by_a_limit_keeps_its_key() {
    let mut run = tried(ASK);
    let first = run.key("ask");
    run.pass(60_000);
    assert_eq!(run.key("ask"), first, "it may have been carried out");
    let mut run = tried("{ask: {call: agent, with: {agent: a}, timeout: {after: PT1S}}}");
    let first = run.key("ask");
    run.pass(1_000);
    assert_eq!(run.key("ask"), first);
}

#[test]
fn a_call_that_was_stopped_for_its_siblings_keeps_its_key() {
    let mut run = tried(
        "{all: {fork: {branches: [{a: {call: agent, with: {agent: a}}}, {b: {call: agent, with: {agent: a}}}]}}}",
    );
    let (a, b) = (run.key("a"), run.key("b"));
    run.answer("a", failure(500)).pass(0);
    assert_eq!(run.key("b"), b);
    assert_ne!(run.key("a"), a);
}

#[test]
fn each_lap_of_a_loop_has_its_own_key() {
    let mut run =
        tried("{each: {for: {in: .n}, do: [{ask: {call: agent, with: {agent: a, input: same}}}]}}");
    let first = run.key("ask");
    run.succeed("ask", json!(1));
    let second = run.key("ask");
    run.answer("ask", unknown()).pass(0);
    assert!(![&first, &second].contains(&&run.key("ask")), "the first lap is not the second");
    run.succeed("ask", json!(1));
    assert_eq!(run.key("ask"), second);
}

#[test]
fn a_key_is_not_used_for_another_request() {
    let mut run = start(
        &format!(
            "
            do:
              - guarded:
                  try:
                    - count: {{set: {{n: '${{ $context + 1 }}'}}, export: {{as: .n}}}}
                    - ask: {{call: agent, with: {{agent: a, input: '${{ .n }}'}}}}
                  {RETRY}
            "
        ),
        nothing(),
    );
    let first = run.key("ask");
    run.answer("ask", unknown()).pass(0);
    assert_ne!(run.key("ask"), first);
}

#[test]
fn a_key_outlives_the_inner_try_for_the_outer_one() {
    for catch in [
        "{errors: {with: {status: 404}}}",
        "{do: [{bad: {raise: {error: {type: 'https://example.com/x', status: 500}}}}]}",
    ] {
        let inner = format!("{{inner: {{try: [{ASK}], catch: {catch}}}}}");
        let mut run = tried(&inner);
        let first = run.key("ask");
        run.answer("ask", unknown()).pass(0);
        assert_eq!(run.key("ask"), first, "{catch}");
    }
}

#[test]
fn a_key_lasts_through_pauses_and_tasks_before_the_call() {
    let mut run = start(
        r"
        do:
          - guarded:
              try:
                - before: {call: agent, with: {agent: b}}
                - ask: {call: agent, with: {agent: a}}
              catch: {retry: {delay: {hours: 1}, limit: {attempt: {count: 9}}}}
        ",
        nothing(),
    );
    run.succeed("before", json!(1));
    let first = run.key("ask");
    run.answer("ask", unknown()).pass(3_600_000);
    run.answer("before", failure(500)).pass(3_600_000);
    run.succeed("before", json!(1));
    assert_eq!(run.key("ask"), first);
}

#[test]
fn calls_of_different_tasks_have_different_keys() {
    let mut run = start(&format!("do: [{ASK}, {}]", ASK.replace("ask", "again")), nothing());
    let first = run.key("ask");
    run.succeed("ask", nothing());
    assert_ne!(run.key("again"), first);
}
