//! Calls: what a task may ask of the outside, and how a document says it.

use super::{compiled, document, hint_of, task_compiles, task_finds};
use crate::workflow::{Call, Kind, Plan, Referent, Template};

fn call(plan: &Plan) -> &Call {
    let Kind::Call(call) = &plan.tasks[0].kind else { panic!("{:?}", plan.tasks[0].kind) };
    call
}

fn http(with: &str) -> String {
    format!("call: http\nwith: {{{with}}}")
}

#[test]
fn an_http_call_has_a_method_and_an_endpoint() {
    let plan = task_compiles(&http("method: get, endpoint: 'https://a.example/{id}?q={q}'"));
    let Call::Http { method, endpoint: Template::Uri(uri), .. } = call(&plan) else { panic!() };
    assert_eq!((method.as_str(), uri.as_str()), ("GET", "https://a.example/{id}?q={q}"));
    task_compiles(&http("method: POST, endpoint: {uri: '${ .url }'}, body: {a: '${ .b }'}"));
    task_compiles(&http(
        "method: put, endpoint: 'http://localhost:8080', headers: {x-a: '${ .b }'}, \
         query: '${ .q }', output: response, redirect: true",
    ));
}

#[test]
fn what_is_no_http_call_is_refused() {
    let uri = "endpoint: 'https://a.example'";
    for (with, pointer, code) in [
        (uri.to_owned(), "", "missing_field"),
        ("method: get".to_owned(), "", "missing_field"),
        (format!("method: fetch, {uri}"), "/method", "unknown_method"),
        (format!("method: [get], {uri}"), "/method", "wrong_type"),
        (format!("method: get, {uri}, output: json"), "/output", "unknown_value"),
        (format!("method: get, {uri}, redirect: 'yes'"), "/redirect", "wrong_type"),
        (format!("method: get, {uri}, headers: text"), "/headers", "wrong_type"),
        (format!("method: get, {uri}, headers: {{a b: c}}"), "/headers/a b", "malformed_header"),
        (format!("method: get, {uri}, headers: {{Host: c}}"), "/headers/Host", "reserved_header"),
        (
            format!("method: get, {uri}, headers: {{Authorization: c}}"),
            "/headers/Authorization",
            "reserved_header",
        ),
        (
            format!("method: get, {uri}, headers: {{a: \"b\\nc\"}}"),
            "/headers/a",
            "malformed_header",
        ),
        (format!("method: get, {uri}, query: {{page: 1}}"), "/query/page", "wrong_type"),
        (format!("method: get, {uri}, bodi: 1"), "/bodi", "unknown_field"),
    ] {
        task_finds(&http(&with), &format!("/with{pointer}"), 5, code);
    }
    task_finds("call: http", "", 3, "missing_field");
    task_finds("call: http\nwith: []", "/with", 5, "wrong_type");
}

#[test]
fn endpoints_are_absolute_and_hold_no_credentials() {
    for bad in [
        "''",
        "/pets",
        "a.example",
        "ftp://a.example",
        "'https://'",
        "'https:///a'",
        "'https://user@a.example'",
        "'https://user:pass@a.example'",
        "'https://a.example/a b'",
        "'https://a.example/{'",
        "'https://a.example/}'",
        "'https://a.example/{}'",
        "'https://a.example/{?q}'",
        "'https://a.example/{a,b}'",
        "'https://a.example:99999'",
    ] {
        task_finds(
            &http(&format!("method: get, endpoint: {bad}")),
            "/with/endpoint",
            5,
            "malformed_uri",
        );
    }
    let partial = http("method: get, endpoint: 'https://a.example/${ .id }'");
    task_finds(&partial, "/with/endpoint", 5, "partial_expression");
    task_finds(
        &http("method: get, endpoint: {uri: 'https://a.example', authentication: {basic: {}}}"),
        "/with/endpoint/authentication",
        5,
        "not_supported_yet",
    );
}

#[test]
fn our_own_functions_are_called_by_name() {
    let agent = task_compiles("call: agent\nwith: {agent: triage, input: {text: '${ .t }'}}");
    assert!(matches!(call(&agent), Call::Agent { agent, input: Some(_) } if agent == "triage"));
    task_compiles("call: agent\nwith: {agent: triage}");
    task_compiles(
        "call: integration\nwith: {integration: crm, operation: add, parameters: '${ . }'}",
    );
    task_compiles(
        "call: notify\nwith: {channel: email, to: ['a@b.c', '${ .to }'], template: hello}",
    );
    for (task, pointer, code) in [
        ("call: agent\nwith: {agent: Big One}", "/with/agent", "malformed_name"),
        ("call: agent\nwith: {agent: '${ .agent }'}", "/with/agent", "malformed_name"),
        ("call: agent\nwith: {input: 1}", "/with", "missing_field"),
        ("call: integration\nwith: {integration: crm}", "/with", "missing_field"),
        (
            "call: integration\nwith: {integration: crm, operation: add, parameters: [1]}",
            "/with/parameters",
            "wrong_type",
        ),
        (
            "call: notify\nwith: {channel: sms, to: 'a@b.c', template: hello}",
            "/with/channel",
            "unknown_value",
        ),
        (
            "call: notify\nwith: {channel: email, to: [], template: hello}",
            "/with/to",
            "out_of_range",
        ),
        (
            "call: notify\nwith: {channel: email, to: [x], template: hello}",
            "/with/to/0",
            "malformed_address",
        ),
        ("call: notify\nwith: {channel: email, to: 5, template: hello}", "/with/to", "wrong_type"),
    ] {
        task_finds(task, pointer, 5, code);
    }
}

#[test]
fn unknown_functions_are_named_with_the_known_ones() {
    task_finds("call: slack\nwith: {}", "/call", 4, "unknown_function");
    task_finds("call: 'https://a.example/f.yaml'\nwith: {}", "/call", 4, "unknown_function");
    assert_eq!(hint_of("call: slack\nwith: {}"), "http, agent, integration, notify");
    assert_eq!(hint_of("call: agnet\nwith: {}"), "did you mean `agent`?");
}

#[test]
fn a_workflow_runs_another_by_its_full_name() {
    let plan = task_compiles(
        "run: {workflow: {namespace: a, name: b, version: latest, input: {c: '${ .d }'}}, await: false}",
    );
    let Call::Workflow { version, input, r#await, .. } = call(&plan) else { panic!() };
    assert!(version.is_none() && input.is_some() && !r#await);
    let plan = task_compiles("run: {workflow: {namespace: a, name: b, version: 1.2.0}}");
    let Call::Workflow { version, r#await, .. } = call(&plan) else { panic!() };
    assert_eq!((version.as_deref(), *r#await), (Some("1.2.0"), true));
    for (run, pointer, code) in [
        ("{}", "", "missing_field"),
        ("{workflow: {namespace: a, name: b}}", "/workflow", "missing_field"),
        (
            "{workflow: {namespace: a, name: B, version: latest}}",
            "/workflow/name",
            "malformed_name",
        ),
        (
            "{workflow: {namespace: a, name: b, version: '1'}}",
            "/workflow/version",
            "malformed_version",
        ),
        (
            "{workflow: {namespace: a, name: b, version: latest, input: .}}",
            "/workflow/input",
            "wrong_type",
        ),
        (
            "{workflow: {namespace: a, name: b, version: latest}, return: none}",
            "/return",
            "not_supported_yet",
        ),
    ] {
        task_finds(&format!("run: {run}"), &format!("/run{pointer}"), 4, code);
    }
}

#[test]
fn everything_that_is_named_outside_is_listed_with_its_place() {
    let plan = compiled(&document(
        "  - a: {call: agent, with: {agent: triage}}\n\
         \x20 - b:\n      call: integration\n      with:\n        integration: crm\n        operation: add\n\
         \x20 - c: {call: notify, with: {channel: email, to: 'a@b.c', template: hello}}\n\
         \x20 - d: {run: {workflow: {namespace: x, name: y, version: latest}}}\n",
    ));
    let found: Vec<_> = plan
        .references
        .iter()
        .map(|it| (it.to.clone(), it.name.as_str(), it.pointer.as_str(), it.line))
        .collect();
    assert_eq!(
        found,
        [
            (Referent::Agent, "triage", "/do/0/a/with/agent", 3),
            (Referent::Integration("add".to_owned()), "crm", "/do/1/b/with/integration", 7),
            (Referent::Template, "hello", "/do/2/c/with/template", 9),
            (Referent::Workflow("x".to_owned()), "y", "/do/3/d/run/workflow/name", 10),
        ]
    );
}
