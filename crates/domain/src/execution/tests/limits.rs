//! Loops that are long, data that are large, and `for` in general.

use serde_json::{Value, json};

use super::run::nothing;
use super::{Run, start};
use crate::Aggregate as _;
use crate::execution::{
    Command, Event, Phase, Purpose, RUN_LIMIT, Standard, TRACE_LIMIT, TURN_LIMIT,
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

#[test]
fn data_that_outgrow_the_log_end_the_execution_cleanly() {
    let mut run = doubling(30);
    run.pass(60_000);
    let error = run.error();
    assert_eq!((error.kind.clone(), error.status), (Standard::Runtime.uri(), 413));
    assert!(error.detail.as_ref().unwrap().contains(&TURN_LIMIT.to_string()), "{error:?}");
    assert_eq!(run.fate("each"), "started cancelled");
}

#[test]
fn data_that_are_too_large_at_once_end_the_execution_at_its_start() {
    for task in [
        "{set: {x: '${ [range(60000)] }'}}",
        "{set: {x: 1}, export: {as: '[range(60000)]'}}",
        "{call: agent, with: {agent: a, input: '${ [range(60000)] }'}}",
        "{emit: {event: {with: {type: t, data: '${ [range(60000)] }'}}}}",
        "{raise: {error: {type: 'https://example.com/x', status: 500, detail: '${ [range(60000)] | tojson }'}}}",
    ] {
        let run = start(&format!("do: [{{a: {task}}}]"), nothing());
        assert_eq!(
            (run.error().kind.clone(), run.error().status),
            (Standard::Runtime.uri(), 413),
            "{task}"
        );
        assert_eq!(run.history.len(), 3, "{task}");
    }
}

#[test]
fn an_answer_that_is_too_large_ends_the_execution() {
    let mut run = start("do: [{a: {call: agent, with: {agent: a}}}]", nothing());
    run.succeed("a", json!("x".repeat(TURN_LIMIT)));
    assert_eq!(run.error().status, 413);
    assert_eq!(run.fate("a"), "started cancelled");
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
