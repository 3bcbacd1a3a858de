//! Workflow documents that must not be published.

use serde_json::Value;

use super::{Case, Scene};

/// What every document is answered that has a fault.
const INVALID: (u16, &str) = (422, "workflow_invalid");

const HEAD: &str = "document: {dsl: 1.0.3, namespace: tests, name: bad, version: 1.0.0}\n";

/// A document with this first task.
fn task(task: &str) -> String {
    format!("{HEAD}do:\n  - one: {task}\n")
}

/// First tasks that must not be published, with the place of the fault below the task.
const TASKS: &[(&str, &str, &str)] = &[
    ("{set: {a: 1}, iff: '.a'}", "/iff", "unknown_field"),
    ("{jump: {to: moon}}", "", "unknown_task"),
    ("{listen: {to: {any: []}}}", "/listen", "not_supported_yet"),
    ("{call: grpc, with: {}}", "/call", "not_supported_yet"),
    ("{run: {shell: {command: ls}}}", "/run/shell", "not_supported_yet"),
    ("{call: teleport, with: {}}", "/call", "unknown_function"),
    (
        "{call: http, with: {method: brew, endpoint: 'https://a.example'}}",
        "/with/method",
        "unknown_method",
    ),
    (
        "{call: http, with: {method: get, endpoint: 'file:///etc/passwd'}}",
        "/with/endpoint",
        "malformed_uri",
    ),
    ("{set: {a: '${ .a + }'}}", "/set/a", "malformed_expression"),
    ("{set: {a: '${ frobnicate }'}}", "/set/a", "malformed_expression"),
    ("{set: {a: '${ $nobody }'}}", "/set/a", "malformed_expression"),
    ("{set: {a: 1}, if: '.a ='}", "/if", "malformed_expression"),
    ("{set: {a: 1}, then: nowhere}", "/then", "unknown_target"),
    ("{wait: {days: -1}}", "/wait/days", "malformed_duration"),
    ("{do: [{a: {set: {x: 1}}}, {a: {set: {x: 2}}}]}", "/do/1/a", "duplicate_task"),
];

#[tokio::test]
async fn a_task_with_a_fault_is_refused_with_its_place() {
    let scene = Scene::set().await;
    let bad = |(document, place, code): &(&'static str, &'static str, &'static str)| {
        let case = Case::new(document, scene.publish(task(document)), INVALID);
        case.at(format!("/do/0/one{place}"), code)
    };
    scene.judge(TASKS.iter().map(bad).collect()).await;
}

#[tokio::test]
async fn a_document_of_the_wrong_form_is_refused_with_the_place() {
    let scene = Scene::set().await;
    let good = "do:\n  - one: {set: {a: 1}}\n";
    let bad = |what, document: String, pointer: &str, code| {
        Case::new(what, scene.publish(document), INVALID).at(pointer, code)
    };
    let head = |from: &str, to: &str| format!("{}{good}", HEAD.replace(from, to));
    let map = format!("{HEAD}do: {{one: {{set: {{a: 1}}}}}}\n");
    let number = head("version: 1.0.0", "version: 1.0");
    let name = head("name: bad", "name: Bad_Name");
    let dsl = head("dsl: 1.0.3", "dsl: 2.0.0");
    scene
        .judge(vec![
            bad("a member", format!("{HEAD}{good}retries: 3\n"), "/retries", "unknown_field"),
            bad("tasks that are no list", map, "/do", "wrong_type"),
            bad("no document", good.to_owned(), "", "missing_field"),
            bad("no tasks", HEAD.to_owned(), "", "missing_field"),
            bad("a number", number, "/document/version", "wrong_type"),
            bad("a name", name, "/document/name", "malformed_name"),
            bad("a language", dsl, "/document/dsl", "unknown_dsl"),
        ])
        .await;
}

#[tokio::test]
async fn all_faults_of_a_document_are_told_at_once_with_lines_and_hints() {
    let scene = Scene::set().await;
    let document = format!(
        "{HEAD}do:\n  - one:\n      st: 1\n  - two:\n      set: {{a: 1}}\n      then: tree\n"
    );
    let answer = scene.api.send(scene.publish(document)).await;
    let errors = answer.body["errors"].as_array().cloned().expect("errors");
    let lines: Vec<&Value> = errors.iter().map(|error| &error["line"]).collect();
    assert_eq!(lines, [4, 7], "{}", answer.text);
    for error in errors {
        assert!(error["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{error}");
    }
}

#[tokio::test]
async fn a_document_that_names_what_is_not_there_is_refused() {
    let scene = Scene::set().await;
    let bad = |what, document: &str, pointer| {
        Case::new(what, scene.publish(task(document)), INVALID).at(pointer, "unknown_reference")
    };
    scene
        .judge(vec![
            bad("agent", "{call: agent, with: {agent: nobody}}", "/do/0/one/with/agent"),
            bad(
                "template",
                "{call: notify, with: {channel: email, to: a@example.com, template: none}}",
                "/do/0/one/with/template",
            ),
            bad(
                "integration",
                "{call: integration, with: {integration: none, operation: ping}}",
                "/do/0/one/with/integration",
            ),
            bad(
                "operation",
                "{call: integration, with: {integration: i, operation: pong}}",
                "/do/0/one/with/integration",
            ),
            bad(
                "workflow",
                "{run: {workflow: {namespace: tests, name: none, version: 1.0.0}}}",
                "/do/0/one/run/workflow/name",
            ),
        ])
        .await;
}

#[tokio::test]
async fn a_text_that_is_no_document_is_refused_before_it_costs_anything() {
    let scene = Scene::set().await;
    let bad = |what, document: String| Case::new(what, scene.publish(document), INVALID);
    let bombs = "a: &a [x, x, x]\nb: &b [*a, *a, *a]\nc: &c [*b, *b, *b]\n";
    let yaml = |name: &str| HEAD.replace("name: bad", &format!("name: {name}"));
    scene
        .judge(vec![
            bad("nothing", String::new()),
            bad("no object", "just words\n".to_owned()),
            bad("bad YAML", format!("{HEAD}do: [\n")),
            bad("bad indentation", format!("{HEAD}do:\n  - one:\n  set: 1\n\t- x\n")),
            bad("several documents", format!("{HEAD}---\n{HEAD}")),
            bad("a duplicate member", format!("{HEAD}do:\n  - one: {{set: {{a: 1}}}}\ndo: []\n")),
            bad("aliases", format!("{bombs}{HEAD}")),
            bad("a deep list", format!("{}{}", "[".repeat(50_000), "]".repeat(50_000))),
            bad("a deep map", "{a: ".repeat(50_000)),
            bad("NUL in text", format!("{}do:\n  - one: {{set: {{a: \"x\\0y\"}}}}\n", yaml("nul"))),
            bad("a tag", format!("{HEAD}do:\n  - one: {{set: {{a: !!python/object x}}}}\n")),
            bad("bad JSON", "{\"document\": ".to_owned()),
            Case::new("raw NUL", scene.publish("\0\0\0"), INVALID),
            Case::new(
                "not UTF-8",
                scene.publish(vec![0xff, 0xfe, 0x00]),
                (400, "malformed_request"),
            )
            .at("", "not_utf8"),
            Case::new("2 MB", scene.publish("x".repeat(2_000_000)), (413, "payload_too_large")),
        ])
        .await;
}
