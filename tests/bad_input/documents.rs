//! Workflow documents that must not be published.

use super::{Case, Scene};

/// What every document is answered that has a fault.
const INVALID: (u16, &str) = (422, "workflow_invalid");

const HEAD: &str = "document: {dsl: 1.0.3, namespace: tests, name: bad, version: 1.0.0}\n";

/// A document with this first task.
fn task(task: &str) -> String {
    format!("{HEAD}do:\n  - one: {task}\n")
}

#[tokio::test]
async fn a_document_with_a_fault_is_refused_with_its_place() {
    let scene = Scene::set().await;
    let bad = |what, document: String, pointer, code| {
        Case::new(what, scene.publish(document), INVALID).at(pointer, code)
    };
    let good = "do:\n  - one: {set: {a: 1}}\n";
    scene
        .judge(vec![
            bad("unknown member", format!("{HEAD}{good}retries: 3\n"), "/retries", "unknown_field"),
            bad(
                "unknown field of a task",
                task("{set: {a: 1}, iff: '.a'}"),
                "/do/0/one/iff",
                "unknown_field",
            ),
            bad("unknown task", task("{jump: {to: moon}}"), "/do/0/one", "unknown_task"),
            bad(
                "not yet",
                task("{listen: {to: {any: []}}}"),
                "/do/0/one/listen",
                "not_supported_yet",
            ),
            bad(
                "tasks that are no list",
                format!("{HEAD}do: {{one: {{set: {{a: 1}}}}}}\n"),
                "/do",
                "wrong_type",
            ),
            bad("no document", good.to_owned(), "", "missing_field"),
            bad("no tasks", HEAD.to_owned(), "", "missing_field"),
            bad(
                "a version that is a number",
                format!("{}{good}", HEAD.replace("version: 1.0.0", "version: 1.0")),
                "/document/version",
                "wrong_type",
            ),
            bad(
                "a name that is none",
                format!("{}{good}", HEAD.replace("name: bad", "name: Bad_Name")),
                "/document/name",
                "malformed_name",
            ),
            bad(
                "an expression that does not compile",
                task("{set: {a: '${ .a + }'}}"),
                "/do/0/one/set/a",
                "malformed_expression",
            ),
            bad(
                "an unknown function",
                task("{set: {a: '${ frobnicate }'}}"),
                "/do/0/one/set/a",
                "malformed_expression",
            ),
            bad(
                "an unknown variable",
                task("{set: {a: '${ $nobody }'}}"),
                "/do/0/one/set/a",
                "malformed_expression",
            ),
            bad(
                "a jump to nowhere",
                task("{set: {a: 1}, then: nowhere}"),
                "/do/0/one/then",
                "unknown_target",
            ),
            bad(
                "a duration that is none",
                task("{wait: {days: -1}}"),
                "/do/0/one/wait/days",
                "malformed_duration",
            ),
            bad(
                "a duplicate task",
                format!("{HEAD}do:\n  - a: {{set: {{x: 1}}}}\n  - a: {{set: {{x: 2}}}}\n"),
                "/do/1/a",
                "duplicate_task",
            ),
        ])
        .await;
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
