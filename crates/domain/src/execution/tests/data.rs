//! How data flow: `if`, `input`, `output`, `export`, `$context`, the workflow's own.

use serde_json::{Value, json};

use super::run::nothing;
use super::{Run, start};
use crate::execution::{INPUT_LIMIT, Refusal, Standard};

#[test]
fn a_condition_sees_the_raw_input_and_no_skips_the_task_with_all_it_says() {
    let run = start(
        r"
        do:
          - no: {if: .missing, input: {from: .x}, set: {a: 1}, then: end}
          - yes: {if: '.x == 1', set: {x: '${ .x + 1 }'}}
        ",
        json!({"x": 1}),
    );
    run.gives(&json!({"x": 2}));
    assert_eq!(
        (run.fate("no").as_str(), run.fate("yes").as_str()),
        ("skipped", "started completed")
    );
}

#[test]
fn a_condition_takes_anything_but_false_and_null_for_a_yes() {
    for (value, holds) in
        [(json!(0), true), (json!(""), true), (json!(false), false), (Value::Null, false)]
    {
        let run = start("do: [{a: {if: .x, set: {ran: true}}}]", json!({"x": value}));
        assert_eq!(run.output() == &json!({"ran": true}), holds, "{value}");
    }
}

#[test]
fn an_input_is_checked_raw_and_then_transformed() {
    let document = r"
        do:
          - a:
              input:
                schema: {document: {type: object, required: [user]}}
                from: .user.name
              set: {name: '${ . }', same: '${ $input }'}
    ";
    start(document, json!({"user": {"name": "Ada"}})).gives(&json!({"name": "Ada", "same": "Ada"}));
    let run = start(document, json!({"name": "Ada"}));
    run.faults(Standard::Validation, "/do/0/a");
    assert_eq!(run.error().status, 400);
    assert_eq!(run.fate("a"), "faulted", "it never began");
}

#[test]
fn an_output_is_transformed_with_the_input_in_sight_and_then_checked() {
    let document = r"
        do:
          - a:
              input: {from: .n}
              set: {m: '${ . * 2 }'}
              output:
                as: '{sum: ($input + .m), same: ($output == .)}'
                schema: {document: {properties: {sum: {maximum: 10}}}}
    ";
    start(document, json!({"n": 3})).gives(&json!({"sum": 9, "same": true}));
    let run = start(document, json!({"n": 4}));
    run.faults(Standard::Validation, "/do/0/a");
    assert_eq!(run.fate("a"), "started faulted");
    assert!(run.error().detail.as_ref().unwrap().contains("/sum"), "{:?}", run.error());
}

#[test]
fn an_export_replaces_the_context_and_leaves_the_output_alone() {
    let run = start(
        r"
        do:
          - a: {set: {n: 1}, export: {as: '{seen: [.n, $context]}'}}
          - b: {set: {n: 2}, export: {as: '{seen: [$output.n, $context.seen]}'}}
          - c: {set: {context: '${ $context }', was: '${ .n }'}}
        ",
        nothing(),
    );
    run.gives(&json!({"context": {"seen": [2, [1, null]]}, "was": 2}));
}

#[test]
fn a_context_that_its_schema_refuses_is_not_taken() {
    let run = start(
        r"
        do:
          - guarded:
              try:
                - a: {set: {n: 1}, export: {as: .n, schema: {document: {type: string}}}}
              catch:
                do: [{look: {set: {context: '${ $context }', why: '${ $error.type }'}}}]
        ",
        nothing(),
    );
    run.gives(&json!({"context": null, "why": Standard::Validation.uri()}));
}

#[test]
fn the_context_lives_on_from_turn_to_turn() {
    let mut run = start(
        r"
        do:
          - a: {set: {n: 1}, export: {as: .n}}
          - b: {call: agent, with: {agent: a}}
          - c: {set: {n: '${ $context }'}}
        ",
        nothing(),
    );
    run.succeed("b", json!(0));
    run.gives(&json!({"n": 1}));
    assert_eq!(run.turns().filter(|turn| turn.context.is_some()).count(), 1, "said once");
}

#[test]
fn the_workflow_checks_and_shapes_what_comes_in_and_goes_out() {
    let document = r"
        input:
          schema: {document: {required: [n]}}
          from: '{m: .n}'
        output:
          as: '{out: .m, in: $input.m, raw: $workflow.input.n, task: $task}'
          schema: {document: {properties: {out: {minimum: 2}}}}
        do:
          - a: {do: [{b: {set: {m: '${ .m + 1 }'}, then: end}}]}
    ";
    let run = start(document, json!({"n": 1}));
    run.gives(&json!({"out": 2, "in": 1, "raw": 1, "task": null}));
    assert_eq!(run.fate("a"), "started cancelled", "the end stops what is around it");
    let wrong = start(document, json!({}));
    assert_eq!(wrong.error().kind, Standard::Validation.uri());
    assert_eq!(wrong.state.runs, 0, "nothing ran");
    let low = start(document, json!({"n": 0}));
    assert_eq!(low.error().kind, Standard::Validation.uri());
    assert_eq!(low.done(), "b");
}

#[test]
fn expressions_see_the_task_the_workflow_and_the_runtime() {
    let run = start(
        r"
        do:
          - a:
              set:
                task: '${ [$task.name, $task.reference, $task.definition.set.one, $task.startedAt.epoch.seconds] }'
                workflow: '${ [$workflow.id, $workflow.definition.document.name, $workflow.input.x] }'
                runtime: '${ $runtime.name }'
                one: 1
        ",
        json!({"x": 5}),
    );
    run.gives(&json!({
        "task": ["a", "/do/0/a", 1, 1_767_268_800],
        "workflow": ["00000000-0000-0000-0000-000000000001", "sample", 5],
        "runtime": "everstep",
        "one": 1,
    }));
}

#[test]
fn an_expression_that_fails_raises_an_error_of_its_task() {
    for (task, sort) in [
        ("set: {x: '${ .a.b }'}", Standard::Expression),
        ("set: {x: '${ error(\"no\") }'}", Standard::Expression),
        ("{if: '.a.b', set: {x: 1}}", Standard::Expression),
        ("{input: {from: '.a.b'}, set: {x: 1}}", Standard::Expression),
        ("{output: {as: '.x.y'}, set: {x: 1}}", Standard::Expression),
        ("{export: {as: '.x.y'}, set: {x: 1}}", Standard::Expression),
        ("{timeout: {after: '${ .a }'}, set: {x: 1}}", Standard::Validation),
        ("wait: '${ .a }'", Standard::Validation),
        ("{for: {in: .a}, do: [{b: {set: {x: 1}}}]}", Standard::Validation),
        ("{for: {in: '[1]'}, while: .a.b, do: [{b: {set: {x: 1}}}]}", Standard::Expression),
        ("switch: [{c: {when: .a.b, then: end}}]", Standard::Expression),
        ("{call: notify, with: {channel: email, to: '${ 5 }', template: t}}", Standard::Validation),
        (
            "{call: integration, with: {integration: i, operation: o, parameters: '${ 5 }'}}",
            Standard::Validation,
        ),
        ("{call: http, with: {method: get, endpoint: '${ 5 }'}}", Standard::Validation),
        ("raise: {error: {type: '${ 5 }', status: 400}}", Standard::Validation),
    ] {
        let task = if task.starts_with('{') { task.to_owned() } else { format!("{{{task}}}") };
        let run = start(&format!("do: [{{it: {task}}}]"), json!({"a": 1}));
        run.faults(sort, "/do/0/it");
    }
}

#[test]
fn an_expression_that_would_run_for_ever_is_stopped() {
    let run = start("do: [{it: {set: {x: '${ [range(1e9)] | length }'}}}]", nothing());
    run.faults(Standard::Expression, "/do/0/it");
}

#[test]
fn an_input_that_is_too_large_is_refused_at_the_start() {
    let refused = Run::new("do: [{a: {set: {x: 1}}}]", json!("x".repeat(INPUT_LIMIT)));
    assert_eq!(refused.err(), Some(Refusal::InputTooLarge { size: INPUT_LIMIT + 2 }));
    start("do: [{a: {set: {x: 1}}}]", json!("x".repeat(INPUT_LIMIT - 2))).gives(&json!({"x": 1}));
}
