//! Branches that run beside each other.

use serde_json::{Value, json};

use super::run::nothing;
use super::{Run, failure, start};
use crate::execution::Standard;

const THREE: &str = r"
    do:
      - all:
          fork:
            compete: COMPETE
            branches:
              - a: {call: agent, with: {agent: a}}
              - b: {do: [{b1: {call: agent, with: {agent: b}}}, {b2: {set: {b: '${ . }'}}}]}
              - c: {wait: {seconds: 5}}
      - after: {set: {all: '${ . }'}}
";

fn three(compete: bool) -> Run {
    start(&THREE.replace("COMPETE", &compete.to_string()), json!({"n": 1}))
}

#[test]
fn a_fork_waits_for_all_of_its_branches() {
    let mut run = three(false);
    run.succeed("b1", json!(2)).pass(5_000).succeed("a", json!(1));
    run.gives(&json!({"all": [1, {"b": 2}, {"n": 1}]}));
    assert_eq!(run.done(), "b1 b2 b c a all after");
}

#[test]
fn a_branch_that_fails_stops_its_siblings_at_once() {
    let mut run = three(false);
    run.answer("b1", failure(500));
    run.faults(Standard::Communication, "/do/0/all/fork/branches/1/b/do/0/b1");
    assert_eq!(
        (run.fate("a").as_str(), run.fate("c").as_str()),
        ("started cancelled", "started cancelled")
    );
    assert_eq!(
        (run.fate("b").as_str(), run.fate("all").as_str()),
        ("started faulted", "started faulted")
    );
}

#[test]
fn the_first_of_competing_branches_wins_and_the_others_are_stopped() {
    let mut run = three(true);
    run.pass(5_000);
    run.gives(&json!({"all": {"n": 1}}));
    assert_eq!(
        (run.fate("a").as_str(), run.fate("b1").as_str()),
        ("started cancelled", "started cancelled")
    );
}

#[test]
fn a_competing_branch_that_fails_only_leaves_the_race() {
    let mut run = three(true);
    run.answer("a", failure(500));
    assert_eq!(run.calling(), "b1");
    run.succeed("b1", json!(2));
    run.gives(&json!({"all": {"b": 2}}));
}

#[test]
fn a_race_that_all_lose_fails_with_the_last_error() {
    let mut run = start(
        r"
        do:
          - race:
              fork:
                compete: true
                branches:
                  - a: {call: agent, with: {agent: a}}
                  - b: {call: agent, with: {agent: b}}
        ",
        nothing(),
    );
    run.answer("b", failure(502)).answer("a", failure(503));
    run.faults(Standard::Communication, "/do/0/race/fork/branches/0/a");
    assert_eq!(run.error().status, 503);
}

#[test]
fn branches_that_fail_in_one_turn_raise_one_error() {
    let mut run = start(
        r"
        do:
          - guarded:
              try:
                - all:
                    fork:
                      branches:
                        - a: {raise: {error: {type: 'https://example.com/a', status: 400}}}
                        - b: {raise: {error: {type: 'https://example.com/b', status: 500}}}
                        - c: {set: {c: 1}}
                        - d: {call: agent, with: {agent: d}}
              catch: {do: [{ask: {call: agent, with: {agent: z}}}]}
        ",
        nothing(),
    );
    assert_eq!(run.calling(), "ask", "the handler goes on undisturbed");
    assert_eq!(run.fate("b"), "", "the first error stops what has not begun");
    run.succeed("ask", json!("fine"));
    run.gives(&json!("fine"));
}

#[test]
fn end_in_a_branch_ends_the_workflow() {
    let run = start(
        r"
        do:
          - all:
              fork:
                branches:
                  - a: {call: agent, with: {agent: a}}
                  - b: {do: [{stop: {set: {stopped: '${ $input.n }'}, then: end}}]}
          - never: {set: {x: 1}}
        ",
        json!({"n": 7}),
    );
    run.gives(&json!({"stopped": 7}));
    assert_eq!((run.fate("never").as_str(), run.fate("a").as_str()), ("", "started cancelled"));
    assert_eq!(run.fate("all"), "started cancelled");
}

#[test]
fn exit_in_a_branch_ends_the_branch_only() {
    let mut run = start(
        r"
        do:
          - all:
              fork:
                branches:
                  - a: {set: {a: 1}, then: exit}
                  - b: {do: [{b1: {if: 'true', call: agent, with: {agent: b}, then: exit}}, {b2: {set: {b: 2}}}]}
        ",
        nothing(),
    );
    run.succeed("b1", json!(3));
    run.gives(&json!([{"a": 1}, 3]));
}

#[test]
fn a_branch_sees_the_variables_of_the_loop_around_the_fork() {
    let mut run = start(
        r"
        do:
          - each:
              for: {each: n, in: '[1, 2]'}
              do:
                - both:
                    fork:
                      branches:
                        - a: {set: {n: '${ $n * 10 }'}, output: {as: .n}}
                        - b: {call: agent, with: {agent: a, input: '${ $n }'}}
        ",
        nothing(),
    );
    run.succeed("b", json!(1)).succeed("b", json!(2));
    run.gives(&json!([20, 2]));
}

#[test]
fn forks_lie_inside_of_forks() {
    let mut run = start(
        r"
        do:
          - out:
              fork:
                branches:
                  - x:
                      fork:
                        compete: true
                        branches:
                          - x1: {call: agent, with: {agent: a}}
                          - x2: {call: agent, with: {agent: a}}
                  - y:
                      fork:
                        branches:
                          - y1: {call: agent, with: {agent: a}}
                          - y2: {call: agent, with: {agent: a}}
        ",
        nothing(),
    );
    run.succeed("y2", json!("y2")).succeed("x2", json!("x2"));
    assert_eq!(run.calling(), "y1");
    run.succeed("y1", json!("y1"));
    run.gives(&json!(["x2", ["y1", "y2"]]));
}

#[test]
fn a_branch_whose_condition_says_no_gives_its_input() {
    let run = start(
        "do: [{all: {fork: {branches: [{a: {if: 'false', set: {x: 1}}}, {b: {set: {y: 1}}}]}}}]",
        json!(5),
    );
    run.gives(&Value::from_iter([json!(5), json!({"y": 1})]));
}
