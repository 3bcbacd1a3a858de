//! Loops that are long, data that are large, and `for` in general.

use serde_json::{Value, json};

use super::run::nothing;
use super::{Run, start};
use crate::Aggregate as _;
use crate::execution::{
    Command, Event, INLINE_LIMIT, INPUT_LIMIT, Phase, Purpose, RUN_LIMIT, Standard, TRACE_LIMIT,
    TURN_LIMIT, VALUE_LIMIT,
};

#[test]
fn a_loop_of_ten_thousand_takes_several_turns_and_ends_right() {
    let mut run = start(
        r"
        do:
          - each: {for: {each: n, in: '[range(10000)]'}, do: [{add: {set: {sum: '${ .sum + $n }'}}}]}
          - done: {set: {sum: '${ .sum }'}}
        ",
        json!({"sum": 0}),
    );
    let breath = run.timers(Purpose::Breath);
    assert_eq!(breath.len(), 1, "it takes a breath");
    assert_eq!(run.pause(), 0, "and goes on at once");
    run.pass(0);
    run.gives(&json!({"sum": 49_995_000}));
    assert!((20..60).contains(&run.turns().count()), "{}", run.turns().count());
    assert_eq!(run.state.runs, 10_002);
}

#[test]
fn a_jump_back_and_forth_does_not_hold_up_the_turn() {
    let mut run = start(
        r"
        do:
          - count: {set: {n: '${ .n + 1 }'}}
          - again: {switch: [{more: {when: '.n < 2000', then: count}}]}
        ",
        json!({"n": 0}),
    );
    run.pass(0);
    run.gives(&json!({"n": 2000}));
    assert!(run.turns().count() >= 8);
}

#[test]
fn a_cancel_reaches_a_loop_without_an_end() {
    let mut run = start("do: [{on: {set: {x: 1}, then: on}}]", nothing());
    for _ in 0..3 {
        let (_, breath) = run.next_timer().unwrap();
        assert_eq!(run.fire(breath), 1);
    }
    run.cancel().unwrap();
}

#[test]
fn a_loop_without_an_end_is_ended() {
    let mut run = start("do: [{on: {set: {x: 1}, then: on}}]", nothing());
    run.state.runs = RUN_LIMIT;
    let (due_at, wait) = run.next_timer().unwrap();
    let fire = Command::Fire { plan: run.plan.clone(), wait };
    let events = run.state.decide(&fire, due_at).unwrap();
    let [Event::TurnTaken(turn), Event::Faulted { error, .. }] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert!(turn.opened.is_empty(), "nothing goes on");
    assert_eq!(error.kind, Standard::Runtime.uri());
    assert!(error.detail.as_deref().is_some_and(|text| text.contains("no end")), "{error:?}");
}

#[test]
fn a_loop_that_waits_each_time_goes_on_for_ever() {
    let rounds = "do: [{rest: {wait: {minutes: 1}}}, {on: {set: {x: 1}, then: rest}}]";
    let mut run = start(rounds, nothing());
    run.state.runs = 10 * RUN_LIMIT;
    let (due_at, wait) = run.next_timer().unwrap();
    let fire = Command::Fire { plan: run.plan.clone(), wait };
    let events = run.state.decide(&fire, due_at).unwrap();
    let [Event::TurnTaken(turn)] = events.as_slice() else { panic!("{events:?}") };
    assert!(turn.runs > 10 * RUN_LIMIT);
    assert_eq!(turn.opened.len(), 1, "it waits again");
}

#[test]
fn costly_expressions_take_several_turns_and_are_bounded_in_one_task() {
    let costly = "${ [range(20000)] | length }";
    let each = format!(
        "do: [{{each: {{for: {{in: '[range(100)]'}}, do: [{{add: {{set: {{n: '{costly}'}}}}}}]}}}}]"
    );
    let mut run = start(&each, nothing());
    assert_eq!(run.timers(Purpose::Breath).len(), 1, "others have their turn");
    run.pass(0);
    run.gives(&json!({"n": 20_000}));

    let members: Vec<String> = (0..400).map(|n| format!("m{n}: '{costly}'")).collect();
    let run = start(&format!("do: [{{all: {{set: {{{}}}}}}}]", members.join(", ")), nothing());
    let Phase::Faulted(error) = run.state.phase() else { panic!("{:?}", run.state.phase()) };
    assert_eq!(error.kind, Standard::Expression.uri());
}

#[test]
fn data_that_nest_deeper_than_the_log_takes_end_the_execution() {
    let deeper = "do: [{each: {for: {in: '[range(120)]'}, do: [{nest: {set: {a: '${ . }'}}}]}}]";
    let mut run = start(deeper, nothing());
    run.pass(0);
    let Phase::Faulted(error) = run.state.phase() else { panic!("{:?}", run.state.phase()) };
    assert_eq!(error.status, 413);
    let mut answer = json!(1);
    for _ in 0..110 {
        answer = json!([answer]);
    }
    let mut run = start("do: [{ask: {call: agent, with: {agent: a}}}]", nothing());
    run.succeed("ask", answer);
    let Phase::Faulted(error) = run.state.phase() else { panic!("{:?}", run.state.phase()) };
    assert_eq!(error.status, 413);
}

#[test]
fn what_is_written_down_of_a_loop_does_not_fill_the_turn() {
    let body = "x".repeat(TRACE_LIMIT - 100);
    let mut run = start(
        "do: [{each: {for: {in: '[range(300)]'}, do: [{keep: {set: {text: '${ .text }', n: '${ $item }'}}}]}}]",
        json!({"text": body}),
    );
    run.pass(0);
    run.gives(&json!({"text": body, "n": 299}));
    let mut run = start(
        "do: [{each: {for: {in: '[range(300)]'}, do: [{tell: {emit: {event: {with: {type: t, data: {text: '${ $workflow.input.text }'}}}}}}]}}]",
        json!({"text": body}),
    );
    run.pass(0);
    assert_eq!(run.emitted().len(), 300);
}

#[test]
fn deep_nesting_with_much_data_drops_values_from_steps_and_not_from_the_flow() {
    let body = "x".repeat(TRACE_LIMIT - 100);
    let mut tasks = "{bottom: {set: {text: '${ .text }'}}}".to_owned();
    for depth in 0..15 {
        tasks = format!("{{d{depth}: {{do: [{tasks}]}}}}");
    }
    let mut run = start(&format!("do: [{tasks}]"), json!({"text": body}));
    run.pass(0);
    run.gives(&json!({"text": body}));
}

#[test]
fn values_that_are_large_are_not_kept_in_steps() {
    let run = start("do: [{a: {set: {text: '${ .text }'}}}]", json!({"text": "x".repeat(5_000)}));
    let largest = run.steps().iter().map(|step| serde_json::to_vec(step).unwrap().len()).max();
    assert!(largest.unwrap() < 200);
}

/// Data that double with every lap.
fn doubling(laps: u32) -> Run {
    start(
        &format!(
            "do: [{{each: {{for: {{in: '[range({laps})]'}}, do: [{{grow: {{set: {{text: '${{ .text + .text }}'}}}}}}, {{pause: {{wait: PT1S}}}}]}}}}]"
        ),
        json!({"text": "x".repeat(1024)}),
    )
}

/// A task that fails for its size, in a `try` that catches just that.
fn caught(task: &str) -> Run {
    start(
        &format!(
            "do: [{{t: {{try: [{{a: {task}}}], catch: {{errors: {{with: {{status: 413}}}}, as: e, do: [{{b: {{set: {{e: '${{ $e }}'}}}}}}]}}}}}}]"
        ),
        json!({"text": "x".repeat(INPUT_LIMIT - 100)}),
    )
}

#[test]
fn a_large_document_passes_through_tasks() {
    let text = "x".repeat(INPUT_LIMIT - 100);
    let mut run = start(
        "do: [{a: {set: {text: '${ .text }'}}}, {b: {call: agent, with: {agent: a}}}]",
        json!({"text": text}),
    );
    run.succeed("b", json!({"text": text}));
    run.gives(&json!({"text": text}));
}

#[test]
fn data_that_outgrow_the_log_end_the_execution_cleanly() {
    let mut run = doubling(30);
    run.pass(60_000);
    let error = run.error();
    assert_eq!((error.kind.clone(), error.status), (Standard::Validation.uri(), 413));
    assert!(error.detail.as_ref().unwrap().contains(&VALUE_LIMIT.to_string()), "{error:?}");
    assert!(run.fate("each").ends_with("faulted"));
}

/// An expression whose value is larger than a value may be.
const LARGE: &str = "${ . as $in | [range(9)] | map($in.text) }";

#[test]
fn data_that_are_too_large_fail_their_task_and_can_be_caught() {
    for task in [
        format!("{{set: {{x: '{LARGE}'}}}}"),
        format!("{{set: {{x: 1}}, input: {{from: '{LARGE}'}}}}"),
        format!("{{set: {{x: 1}}, output: {{as: '{}'}}}}", LARGE.replace(". as", "$input as")),
        format!("{{set: {{x: 1}}, export: {{as: '{}'}}}}", LARGE.replace(". as", "$input as")),
        format!("{{call: agent, with: {{agent: a, input: '{LARGE}'}}}}"),
        format!("{{emit: {{event: {{with: {{type: t, data: '{LARGE}'}}}}}}}}"),
        format!("{{for: {{in: '{LARGE}'}}, do: [{{x: {{set: {{x: 1}}}}}}]}}"),
        format!(
            "{{raise: {{error: {{type: 'https://example.com/x', status: 500, detail: '{}'}}}}}}",
            LARGE.replace(" }", " | tojson }")
        ),
    ] {
        let run = caught(&task);
        let Phase::Completed(output) = run.state.phase() else {
            panic!("{task}: {:?}", run.state.phase())
        };
        assert_eq!(output["e"]["type"], json!(Standard::Validation.uri()), "{task}");
        assert_eq!(output["e"]["instance"], json!("/do/0/t/try/0/a"), "{task}");
    }
}

#[test]
fn an_answer_that_is_too_large_fails_its_task() {
    let mut run = caught("{call: agent, with: {agent: a, input: 1}}");
    run.succeed("a", json!("x".repeat(VALUE_LIMIT)));
    let Phase::Completed(output) = run.state.phase() else { panic!("{:?}", run.state.phase()) };
    assert!(output["e"]["detail"].as_str().unwrap().contains("payload too large"));
}

#[test]
fn many_values_that_are_too_large_together_end_the_execution() {
    let branch = |nth| format!("{{b{nth}: {{wait: PT1S}}}}");
    let branches: Vec<String> = (0..100).map(branch).collect();
    for (size, limit) in [(INPUT_LIMIT - 100, TURN_LIMIT), (7_000, INLINE_LIMIT)] {
        let run = start(
            &format!("do: [{{f: {{fork: {{branches: [{}]}}}}}}]", branches.join(", ")),
            json!({"text": "x".repeat(size)}),
        );
        let error = run.error();
        assert_eq!((error.kind.clone(), error.status), (Standard::Runtime.uri(), 413));
        assert!(error.detail.as_ref().unwrap().contains(&limit.to_string()), "{error:?}");
        assert_eq!(run.history.len(), 3);
    }
}

#[test]
fn a_loop_over_nothing_gives_its_input() {
    for input in [json!({"in": []}), json!({"in": null}), json!({})] {
        let run = start("do: [{each: {for: {in: .in}, do: [{a: {set: {x: 1}}}]}}]", input.clone());
        run.gives(&input);
    }
}

#[test]
fn a_loop_goes_on_while_its_condition_holds() {
    let run = start(
        "do: [{each: {for: {each: n, at: i, in: '[5, 6, 7]'}, while: '$i < 2 and .stop != true', do: [{a: {set: {n: '${ $n }', i: '${ $i }'}}}]}}]",
        nothing(),
    );
    run.gives(&json!({"n": 6, "i": 1}));
}

#[test]
fn exit_in_the_body_ends_the_loop_and_end_ends_the_workflow() {
    let document = |then: &str| {
        format!(
            "
            do:
              - each:
                  for: {{in: '[1, 2, 3]'}}
                  do:
                    - a: {{set: {{n: '${{ $item }}'}}}}
                    - b: {{switch: [{{two: {{when: '.n == 2', then: {then}}}}}]}}
                    - c: {{set: {{n: '${{ .n * 10 }}'}}}}
              - after: {{set: {{n: '${{ .n }}', after: true}}}}
            "
        )
    };
    start(&document("exit"), nothing()).gives(&json!({"n": 2, "after": true}));
    start(&document("end"), nothing()).gives(&json!({"n": 2}));
    start(&document("continue"), nothing()).gives(&json!({"n": 30, "after": true}));
}

#[test]
fn exit_ends_the_list_it_stands_in() {
    let run = start(
        r"
        do:
          - in:
              do:
                - a: {if: 'true', set: {a: 1}, then: exit}
                - b: {set: {b: 1}}
          - out: {set: {a: '${ .a }', out: true}, then: exit}
        ",
        nothing(),
    );
    run.gives(&json!({"a": 1, "out": true}));
}

#[test]
fn loops_lie_inside_of_loops() {
    let run = start(
        "do: [{x: {for: {each: x, in: '[1, 2]'}, do: [{y: {for: {each: y, in: '[10, 20]'}, do: [{a: {set: {all: '${ .all + [$x + $y] }'}}}]}}]}}]",
        nothing(),
    );
    run.gives(&json!({"all": [11, 21, 12, 22]}));
}

#[test]
fn events_are_small() {
    let mut run = start("do: [{a: {call: agent, with: {agent: a}}}]", nothing());
    run.succeed("a", Value::Null);
    let sizes: Vec<usize> =
        run.history.iter().map(|event: &Event| serde_json::to_vec(event).unwrap().len()).collect();
    assert!(sizes.iter().all(|size| *size < 900), "{sizes:?}");
}
