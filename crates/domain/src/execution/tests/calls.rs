//! What is asked of the outside, and answers that come late.

use serde_json::json;

use super::run::{nothing, object};
use super::{start, unknown};
use crate::execution::{Answer, Ending, HttpOutput, Purpose, Request};

const EVERY_CALL: &str = r#"
    do:
      - http:
          call: http
          with:
            method: post
            endpoint: 'https://example.com/{id}'
            headers: {x-name: '${ .name }'}
            query: {q: '${ .name }'}
            body: {name: '${ .name }', n: 1}
            output: response
            redirect: true
      - agent: {call: agent, with: {agent: triage, input: '${ .name }'}}
      - integration:
          call: integration
          with: {integration: hub, operation: label, parameters: {label: '${ "l-\(.)" }'}}
      - notify:
          call: notify
          with: {channel: email, to: '${ [.] }', template: hello, data: {name: '${ . }'}}
      - sub: {run: {workflow: {namespace: n, name: w, version: '1.2.3', input: {x: '${ . }'}}}}
"#;

#[test]
fn every_call_is_built_from_its_expressions() {
    let mut run = start(EVERY_CALL, json!({"id": "a/b", "name": "Ada"}));
    let Request::Http(http) = run.request("http") else { panic!("HTTP") };
    assert_eq!((http.method.as_str(), http.url.as_str()), ("POST", "https://example.com/a%2Fb"));
    assert_eq!(http.headers, object([("x-name", json!("Ada"))]).into());
    assert_eq!(http.query, object([("q", json!("Ada"))]).into());
    assert_eq!(http.body, Some(json!({"name": "Ada", "n": 1}).into()));
    assert_eq!((http.output, http.redirect), (HttpOutput::Response, true));
    run.succeed("http", json!({"name": "Bob"}));
    let agent = Request::Agent { agent: "triage".to_owned(), input: json!("Bob").into() };
    assert_eq!(run.request("agent"), &agent);
    run.succeed("agent", json!("bug"));
    assert_eq!(
        run.request("integration"),
        &Request::Integration {
            integration: "hub".to_owned(),
            operation: "label".to_owned(),
            parameters: object([("label", json!("l-bug"))]).into(),
        }
    );
    run.succeed("integration", json!("ada@example.com"));
    assert_eq!(
        run.request("notify"),
        &Request::Notify {
            channel: "email".to_owned(),
            to: vec!["ada@example.com".to_owned()].into(),
            template: "hello".to_owned(),
            data: json!({"name": "ada@example.com"}).into(),
        }
    );
    run.succeed("notify", json!(5));
    assert_eq!(
        run.request("sub"),
        &Request::Workflow {
            namespace: "n".to_owned(),
            name: "w".to_owned(),
            version: Some("1.2.3".to_owned()),
            input: json!({"x": 5}).into(),
            r#await: true,
        }
    );
    run.succeed("sub", json!("end"));
    run.gives(&json!("end"));
    assert_eq!(run.turns().count(), 6, "five calls one after the other are six turns");
}

#[test]
fn what_a_call_does_not_say_is_the_input_of_its_task() {
    let mut run = start(
        r"
        do:
          - agent: {call: agent, with: {agent: a}}
          - notify: {call: notify, with: {channel: email, to: a@example.com, template: t}}
          - sub: {run: {workflow: {namespace: n, name: w, version: latest}}}
        ",
        json!({"x": 1}),
    );
    let is_input = |request: &Request| match request {
        Request::Agent { input, .. } | Request::Workflow { input, version: None, .. } => {
            **input == json!({"x": 1})
        }
        Request::Notify { data, to, .. } => **data == json!({"x": 1}) && **to == ["a@example.com"],
        Request::Http(_) | Request::Integration { .. } | Request::Workflow { .. } => false,
    };
    for task in ["agent", "notify", "sub"] {
        assert!(is_input(run.request(task)), "{task}");
        run.succeed(task, json!({"x": 1}));
    }
    run.gives(&json!({"x": 1}));
}

#[test]
fn calls_one_after_the_other_cost_one_turn_each_and_one_more() {
    for calls in 1..6 {
        let tasks = (0..calls).map(|n| format!("  - t{n}: {{call: agent, with: {{agent: a}}}}\n"));
        let tasks: String = tasks.collect();
        let mut run = start(&format!("do:\n{tasks}  - last: {{set: {{x: 1}}}}"), nothing());
        for n in 0..calls {
            run.succeed(&format!("t{n}"), nothing());
        }
        assert_eq!(run.turns().count(), calls + 1);
        run.gives(&json!({"x": 1}));
    }
}

#[test]
fn an_answer_counts_once() {
    let mut run = start(
        "do: [{a: {call: agent, with: {agent: a}}}, {b: {call: agent, with: {agent: b}}}]",
        nothing(),
    );
    let wait = run.call("a").id;
    run.succeed("a", json!(1));
    assert_eq!(run.answer_wait(wait, Answer::Success(json!(2))), 0);
    assert_eq!(run.answer_wait(wait, unknown()), 0);
    assert_eq!(run.answer_wait(99, Answer::Success(json!(2))), 0, "never asked");
    run.succeed("b", json!(3));
    assert_eq!(run.answer_wait(wait, Answer::Success(json!(2))), 0, "it is over");
    run.gives(&json!(3));
}

#[test]
fn a_timer_cannot_be_answered_and_a_call_cannot_be_fired() {
    let mut run = start(
        "do: [{both: {fork: {branches: [{a: {call: agent, with: {agent: a}}}, {b: {wait: PT1H}}]}}}]",
        nothing(),
    );
    let (call, timer) = (run.call("a").id, run.timers(Purpose::Wait)[0].id);
    run.now += chrono::TimeDelta::days(1);
    assert_eq!((run.fire(call), run.answer_wait(timer, Answer::Success(json!(1)))), (0, 0));
    assert_eq!(run.fire(timer), 1);
}

#[test]
fn how_a_call_ended_is_written_down() {
    let mut run = start(
        r"
        do:
          - guarded:
              try: [{a: {call: agent, with: {agent: a}}}]
              catch: {retry: {limit: {attempt: {count: 3}}}}
        ",
        nothing(),
    );
    run.answer("a", super::failure(503)).pass(0).answer("a", unknown()).pass(0);
    run.succeed("a", json!(1));
    let endings: Vec<&str> = run
        .turns()
        .flat_map(|turn| &turn.closed)
        .map(|closed| match closed.how {
            Ending::Succeeded => "succeeded",
            Ending::Failed(_) => "failed",
            Ending::Unknown(_) => "unknown",
            Ending::Fired => "fired",
            Ending::Dropped => "dropped",
        })
        .collect();
    assert_eq!(endings, ["failed", "fired", "unknown", "fired", "succeeded"]);
}

#[test]
fn a_uri_takes_scalars_only_and_nothing_for_what_is_missing() {
    let run = start(
        "do: [{a: {call: http, with: {method: get, endpoint: 'https://example.com/{n}/{t}/{o}/{none}?q={s}'}}}]",
        json!({"n": 1.5, "t": true, "o": {}, "s": "ü&=/"}),
    );
    let Request::Http(http) = run.request("a") else { panic!("HTTP") };
    assert_eq!(*http.url, "https://example.com/1.5/true//?q=%C3%BC%26%3D%2F");
}
