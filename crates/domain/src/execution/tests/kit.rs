//! The semantics that the language's conformance kit asks for, in documents of our own.

use serde_json::json;

use super::{broken, start};
use crate::execution::{Answer, HttpOutput, Request, Standard};

#[test]
fn set_gives_what_it_says() {
    let run = start(
        "do:\n  - shape: {set: {kind: circle, size: '${ .given.size }'}}",
        json!({"given": {"size": {"width": 6}}}),
    );
    run.gives(&json!({"kind": "circle", "size": {"width": 6}}));
}

#[test]
fn tasks_of_a_do_run_in_order_and_hand_on_their_output() {
    let run = start(
        r#"
        do:
          - all:
              do:
                - red: {set: {colors: '${ .colors + ["red"] }'}}
                - green: {set: {colors: '${ .colors + ["green"] }'}}
        "#,
        json!({}),
    );
    run.gives(&json!({"colors": ["red", "green"]}));
    assert_eq!(run.done(), "red green all");
}

const SWITCH: &str = r#"
    do:
      - choose:
          switch:
            - red: {when: '.color == "red"', then: setRed}
            - green: {when: '.color == "green"', then: setGreen}
            - other: {then: setOther}
      - setRed: {set: {is: red}, then: end}
      - setGreen: {set: {is: green}, then: end}
      - setOther: {set: {is: '${ $input.color }'}}
"#;

#[test]
fn a_switch_takes_the_first_case_that_holds_and_else_the_default() {
    for (color, done) in
        [("red", "choose setRed"), ("green", "choose setGreen"), ("blue", "choose setOther")]
    {
        let run = start(SWITCH, json!({"color": color}));
        run.gives(&json!({"is": color}));
        assert_eq!(run.done(), done);
    }
}

#[test]
fn a_switch_without_a_case_that_holds_goes_where_its_then_says() {
    let run = start(
        r"
        do:
          - choose:
              switch: [{red: {when: .no, then: setRed}}]
              then: end
          - setRed: {set: {is: red}}
        ",
        json!({"color": "yellow"}),
    );
    run.gives(&json!({"color": "yellow"}));
    assert_eq!(run.done(), "choose");
}

#[test]
fn a_loop_hands_its_item_its_index_and_what_came_before_to_its_body() {
    let run = start(
        r"
        do:
          - loop:
              for: {each: color, in: .colors}
              do:
                - mark:
                    set:
                      seen: '${ .seen + [{color: $color, at: $index}] }'
        ",
        json!({"colors": ["red", "green"]}),
    );
    run.gives(&json!({"seen": [{"color": "red", "at": 0}, {"color": "green", "at": 1}]}));
}

#[test]
fn of_competing_branches_one_wins() {
    let run = start(
        r#"
        do:
          - race:
              fork:
                compete: true
                branches:
                  - red: {set: {colors: '${ .colors + ["red"] }'}}
                  - green: {set: {colors: '${ .colors + ["green"] }'}}
        "#,
        json!({}),
    );
    run.gives(&json!({"colors": ["red"]}));
    assert_eq!(run.done(), "red race");
}

#[test]
fn a_branch_leads_to_a_list_of_outputs_in_the_order_of_the_document() {
    let mut run = start(
        r"
        do:
          - both:
              fork:
                branches:
                  - one: {call: agent, with: {agent: a, input: 1}}
                  - two: {call: agent, with: {agent: b, input: 2}}
        ",
        json!({}),
    );
    assert_eq!(run.calling(), "one two");
    run.succeed("two", json!("second")).succeed("one", json!("first"));
    run.gives(&json!(["first", "second"]));
}

#[test]
fn then_leads_forwards_and_backwards() {
    let run = start(
        r"
        do:
          - first: {set: {n: '${ .n + [1] }'}, then: third}
          - second: {set: {n: '${ .n + [2] }'}, then: end}
          - third: {set: {n: '${ .n + [3] }'}, then: second}
        ",
        json!({}),
    );
    run.gives(&json!({"n": [1, 3, 2]}));
    assert_eq!(run.done(), "first third second");
}

#[test]
fn a_raised_error_ends_the_execution_with_the_place_it_came_from() {
    let run = start(
        r"
        do:
          - refuse:
              raise:
                error: {type: https://example.com/compliance, status: 400, title: No, detail: '${ .why }'}
        ",
        json!({"why": "because"}),
    );
    let error = run.error();
    assert_eq!((error.kind.as_str(), error.status), ("https://example.com/compliance", 400));
    assert_eq!(
        (error.title.as_deref(), error.detail.as_deref().map(String::as_str)),
        (Some("No"), Some("because"))
    );
    assert_eq!(error.instance.as_deref(), Some("/do/0/refuse"));
    assert_eq!(run.fate("refuse"), "started faulted");
}

const PET: &str = r"
    do:
      - find:
          try:
            - get:
                call: http
                with: {method: get, endpoint: {uri: 'https://pets.example/{name}'}}
          catch:
            errors:
              with:
                type: https://open-workflow-specification.org/dsl/errors/types/communication
                status: 404
            as: err
            do:
              - note: {set: {error: '${ $err }'}}
";

#[test]
fn a_caught_error_is_told_to_the_handler_with_its_place() {
    let mut run = start(PET, json!({"name": "Mi lou"}));
    let Request::Http(http) = run.request("get") else { panic!("an HTTP call") };
    assert_eq!((http.method.as_str(), http.url.as_str()), ("GET", "https://pets.example/Mi%20lou"));
    assert_eq!((http.output, http.redirect), (HttpOutput::Content, false));
    run.answer("get", Answer::Failure(broken(404)));
    let error = &run.output()["error"];
    assert_eq!(error["instance"], "/do/0/find/try/0/get");
    assert_eq!(error["type"], Standard::Communication.uri());
    assert_eq!((&error["status"], &error["title"]), (&json!(404), &json!("Communication Error")));
}

#[test]
fn an_error_that_nothing_catches_ends_the_execution() {
    let mut run = start(PET, json!({"name": "Milou"}));
    run.answer("get", Answer::Failure(broken(503)));
    run.faults(Standard::Communication, "/do/0/find/try/0/get");
    assert_eq!(run.error().status, 503);
    assert_eq!(
        (run.fate("get"), run.fate("find")),
        ("started faulted".into(), "started faulted".into())
    );
}

#[test]
fn an_answer_may_be_anything_and_an_output_may_see_the_input() {
    let mut run = start(
        r"
        do:
          - one:
              call: http
              with: {method: get, endpoint: 'https://pets.example/{id}'}
              output: {as: .id}
          - two:
              call: http
              with: {method: get, endpoint: https://pets.example/2}
              output: {as: '{ids: [$input, .id]}'}
        ",
        json!({"id": 1}),
    );
    run.succeed("one", json!({"id": 1})).succeed("two", json!({"id": 2}));
    run.gives(&json!({"ids": [1, 2]}));
}

#[test]
fn an_emitted_event_is_published_and_is_the_output() {
    let run = start(
        r#"
        do:
          - tell:
              emit:
                event:
                  with: {type: greeted, data: {text: '${ "Hello \(.name)" }'}}
        "#,
        json!({"name": "Ada"}),
    );
    let event = run.output();
    assert_eq!(run.emitted(), [event]);
    assert_eq!((&event["type"], &event["specversion"]), (&json!("greeted"), &json!("1.0")));
    assert_eq!(event["data"], json!({"text": "Hello Ada"}));
    assert_eq!(event["source"], "/test/sample/1.0.0");
    assert_eq!(event["time"], "2026-01-01T12:00:00.000000Z");
    assert!(event["id"].as_str().is_some_and(|id| id.len() == 36));
}
