//! Who catches what, and what becomes of the rest.

use serde_json::json;

use super::run::nothing;
use super::{broken, failure, start};
use crate::execution::{Answer, Standard};

const RAISE: &str = "raise: {error: {type: https://example.com/oops, status: 418, title: Oops}}";

#[test]
fn a_filter_compares_every_member_that_it_names() {
    for (filter, caught) in [
        ("{type: https://example.com/oops}", true),
        ("{status: 418, title: Oops}", true),
        ("{instance: /do/0/guarded/try/0/bad}", true),
        ("{status: 419}", false),
        ("{type: https://example.com/oops, title: oops}", false),
        ("{detail: any}", false),
    ] {
        let run = start(
            &format!(
                "do:\n  - guarded:\n      try: [{{bad: {{{RAISE}}}}}]\n      catch: {{errors: {{with: {filter}}}, do: [{{ok: {{set: {{ok: true}}}}}}]}}"
            ),
            nothing(),
        );
        assert_eq!(run.done() == "ok guarded", caught, "{filter}");
        assert!(caught || run.error().status == 418, "{filter}");
    }
}

#[test]
fn both_spellings_of_a_standard_error_are_one_also_when_computed() {
    let old = "https://serverlessworkflow.io/spec/1.0.0/errors/timeout";
    for kind in [old.to_owned(), format!("'${{ \"{old}\" }}'")] {
        let run = start(
            &format!(
                "
                do:
                  - guarded:
                      try: [{{bad: {{raise: {{error: {{type: {kind}, status: 408}}}}}}}}]
                      catch:
                        errors: {{with: {{type: https://open-workflow-specification.org/dsl/errors/types/timeout}}}}
                        do: [{{ok: {{set: {{kind: '${{ $error.type }}'}}}}}}]
                "
            ),
            nothing(),
        );
        run.gives(&json!({"kind": Standard::Timeout.uri()}));
    }
}

#[test]
fn when_and_except_when_see_the_error_by_its_name_and_the_input() {
    for (conditions, caught) in [
        ("when: '$problem.status == 418 and .go'", true),
        ("when: '$problem.status == 404'", false),
        ("exceptWhen: '$problem.title == \"Oops\"'", false),
        ("when: '.go', exceptWhen: '$problem.status == 404'", true),
    ] {
        let run = start(
            &format!(
                "do:\n  - guarded:\n      try: [{{bad: {{{RAISE}}}}}]\n      catch: {{as: problem, {conditions}, do: [{{ok: {{set: {{ok: '${{ $problem.status }}'}}}}}}]}}"
            ),
            json!({"go": true}),
        );
        assert_eq!(run.done() == "ok guarded", caught, "{conditions}");
        assert!(!caught || run.output() == &json!({"ok": 418}));
    }
}

#[test]
fn a_catch_without_a_handler_swallows_the_error_and_gives_the_input() {
    let run = start(
        &format!(
            "do:\n  - guarded: {{try: [{{a: {{set: {{x: 2}}}}}}, {{bad: {{{RAISE}}}}}], catch: {{}}}}\n  - next: {{set: {{x: '${{ .x }}', next: true}}}}"
        ),
        json!({"x": 1}),
    );
    run.gives(&json!({"x": 1, "next": true}));
    assert_eq!(run.fate("bad"), "started faulted");
    assert_eq!(run.fate("guarded"), "started completed");
}

#[test]
fn after_a_caught_error_the_catch_says_where_to_go_with_or_without_a_handler() {
    for handler in ["", "do: [{note: {set: {noted: true}}}], "] {
        let run = start(
            &format!(
                "do:\n  - guarded: {{try: [{{bad: {{{RAISE}}}}}], catch: {{{handler}then: last}}, then: middle}}\n  - middle: {{set: {{m: 1}}}}\n  - last: {{set: {{last: true}}}}"
            ),
            nothing(),
        );
        run.gives(&json!({"last": true}));
        assert_eq!(run.fate("middle"), "", "{handler}");
    }
}

#[test]
fn an_error_in_a_handler_is_for_the_next_try_around() {
    let document = |outer: &str| {
        format!(
            "
            do:
              - outer:
                  try:
                    - inner:
                        try: [{{bad: {{{RAISE}}}}}]
                        catch: {{do: [{{worse: {{raise: {{error: {{type: https://example.com/worse, status: 500}}}}}}}}]}}
                  catch:
                    errors: {{with: {{type: https://example.com/{outer}}}}}
                    do: [{{saved: {{set: {{from: '${{ $error.instance }}'}}}}}}]
            "
        )
    };
    let run = start(&document("worse"), nothing());
    run.gives(&json!({"from": "/do/0/outer/try/0/inner/catch/do/0/worse"}));
    assert_eq!(run.fate("inner"), "started faulted");
    let run = start(&document("oops"), nothing());
    assert_eq!(run.error().kind, "https://example.com/worse");
}

#[test]
fn an_error_of_the_try_task_itself_is_not_for_itself_to_catch() {
    for (own, instance) in [
        ("output: {as: .x.y}", "/do/0/guarded"),
        ("input: {from: .x.y}", "/do/0/guarded"),
        ("export: {as: .x.y}", "/do/0/guarded"),
    ] {
        let run = start(
            &format!(
                "do:\n  - guarded: {{{own}, try: [{{a: {{set: {{x: 1}}}}}}], catch: {{do: [{{c: {{set: {{x: 2}}}}}}]}}}}"
            ),
            json!({"x": 1}),
        );
        run.faults(Standard::Expression, instance);
        assert_eq!(run.fate("c"), "");
    }
}

#[test]
fn a_condition_that_fails_replaces_the_error_and_keeps_its_place() {
    let run = start(
        &format!("do:\n  - guarded: {{try: [{{bad: {{{RAISE}}}}}], catch: {{when: .x.y}}}}"),
        json!({"x": 1}),
    );
    run.faults(Standard::Expression, "/do/0/guarded/try/0/bad");
}

#[test]
fn an_inner_error_hides_the_outer_one_only_inside() {
    let run = start(
        &format!(
            "
            do:
              - outer:
                  try: [{{bad: {{{RAISE}}}}}]
                  catch:
                    do:
                      - inner:
                          try: [{{bad: {{raise: {{error: {{type: https://example.com/b, status: 500}}}}}}}}]
                          catch: {{do: [{{in: {{set: {{seen: '${{ [$error.status] }}'}}}}}}]}}
                      - out: {{set: {{seen: '${{ .seen + [$error.status] }}'}}}}
            "
        ),
        nothing(),
    );
    run.gives(&json!({"seen": [500, 418]}));
}

#[test]
fn an_error_from_outside_is_that_of_the_task_that_called() {
    let mut run = start(
        "do: [{sub: {run: {workflow: {namespace: n, name: other, version: latest}}}}]",
        nothing(),
    );
    let mut error = broken(503);
    error.instance = Some("/do/7/elsewhere".to_owned());
    run.answer("sub", Answer::Failure(error));
    run.faults(Standard::Communication, "/do/0/sub");
}

#[test]
fn a_failure_in_a_loop_leaves_the_loop() {
    let mut run = start(
        r"
        do:
          - guarded:
              try:
                - each:
                    for: {in: .items}
                    do: [{ask: {call: agent, with: {agent: a, input: '${ $item }'}}}]
              catch: {do: [{note: {set: {status: '${ $error.status }'}}}]}
        ",
        json!({"items": [1, 2, 3]}),
    );
    run.succeed("ask", json!(1)).answer("ask", failure(500));
    run.gives(&json!({"status": 500}));
    assert_eq!(run.fate("ask"), "started completed started faulted");
    assert_eq!(run.fate("each"), "started faulted");
}
