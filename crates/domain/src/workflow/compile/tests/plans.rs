//! Plans: a good document compiled, part by part.

use std::time::Duration;

use serde_json::json;

use super::{HEAD, compiled, document, finds, indented, task_compiles, task_finds};
use crate::execution::Standard;
use crate::expression::Expression;
use crate::workflow::{Backoff, Kind, Plan, Retry, Span, Template, Try};

/// A document with every kind of task, in YAML.
pub(super) const EVERYTHING: &str = include_str!("everything.yaml");

fn attempt<'p>(plan: &'p Plan, pointer: &str) -> &'p Try {
    let kind = &plan.tasks[plan.by_pointer[pointer]].kind;
    let Kind::Try(attempt) = kind else { panic!("{kind:?}") };
    attempt
}

#[test]
fn a_document_with_everything_compiles() {
    let plan = compiled(EVERYTHING);
    assert_eq!((plan.namespace.as_str(), plan.name.as_str()), ("examples", "everything"));
    assert_eq!(plan.title.as_deref(), Some("Every kind of task"));
    for pointer in [
        "/do/0/read",
        "/do/2/each/do/0/mark",
        "/do/3/both/fork/branches/1/right",
        "/do/3/both/fork/branches/1/right/do/0/inner",
        "/do/4/careful/try/0/ask",
        "/do/4/careful/catch/do/0/note",
    ] {
        let task = &plan.tasks[plan.by_pointer[pointer]];
        assert_eq!(task.pointer, pointer);
        assert!(pointer.ends_with(&task.name));
        assert!(plan.definition.pointer(pointer).is_some(), "{pointer}");
    }
}

#[test]
fn json_and_yaml_compile_to_the_same() {
    let plan = compiled(EVERYTHING);
    let from_json = compiled(&serde_json::to_string_pretty(&*plan.definition).unwrap());
    assert_eq!(plan.definition, from_json.definition);
    assert_eq!(plan.by_pointer, from_json.by_pointer);
    assert_eq!(plan.tasks.len(), from_json.tasks.len());
}

#[test]
fn expressions_are_expressions_with_or_without_their_wrapping() {
    let plan =
        task_compiles("set: {a: .b, c: '${ .b }', d: [1, '${ .e }'], f: 'it costs $5'}\nif: .x");
    let task = &plan.tasks[0];
    assert_eq!(task.condition.as_ref().map(Expression::source), Some(".x"));
    let Kind::Set(Template::Object(members)) = &task.kind else { panic!("{:?}", task.kind) };
    assert!(matches!(&members[0].1, Template::Literal(text) if *text == json!(".b")));
    assert!(matches!(&members[1].1, Template::Expression(it) if it.source() == ".b"));
    assert!(matches!(&members[2].1, Template::Array(items) if items.len() == 2));
    assert!(matches!(&members[3].1, Template::Literal(_)));
    let plan = task_compiles("set: {a: {b: [1, {c: d}]}}\ninput: {from: '${ .x }'}");
    assert!(matches!(&plan.tasks[0].kind, Kind::Set(Template::Literal(_))));
    assert!(
        matches!(&plan.tasks[0].input.map, Some(Template::Expression(it)) if it.source() == ".x")
    );
    let plan = task_compiles("set: '${ . }'\noutput: {as: {a: .literal, b: '${ .x }'}}");
    assert!(matches!(&plan.tasks[0].output.map, Some(Template::Object(_))));
}

#[test]
fn timeouts_retries_and_errors_are_written_out_or_named() {
    let text = format!(
        "{HEAD}use:
  timeouts: {{short: {{after: PT5S}}}}
  retries: {{often: {{delay: {{seconds: 1}}, backoff: {{linear: {{}}}}, when: $error.status > 499}}}}
  errors: {{gone: {{type: 'https://a.example/gone', status: 410, title: Gone}}}}
timeout: short
do:
  - it:
      timeout: short
      try: [{{a: {{raise: {{error: gone}}}}}}]
      catch: {{retry: often}}
"
    );
    let plan = compiled(&text);
    assert!(matches!(plan.timeout, Some(Span::Fixed(span)) if span == Duration::from_secs(5)));
    let retry = attempt(&plan, "/do/0/it").retry.as_ref().unwrap();
    assert_eq!((retry.backoff, retry.attempts), (Backoff::Linear, None));
    let Kind::Raise(error) = &plan.tasks[plan.by_pointer["/do/0/it/try/0/a"]].kind else {
        panic!()
    };
    assert!(matches!(&error.status, Template::Literal(status) if *status == json!(410)));
    finds(
        &text
            .replace("timeout: short", "timeout: shrt")
            .replace("{retry: often}", "{as: e, retry: often}"),
        &[
            ("/timeout", 6, "unknown_reference"),
            ("/do/0/it/timeout", 9, "unknown_reference"),
            ("/do/0/it/catch/retry", 11, "malformed_expression"),
        ],
    );
    finds(
        &text.replace("seconds: 1", "second: 1"),
        &[("/use/retries/often/delay/second", 4, "unknown_field")],
    );
}

#[test]
fn a_retry_says_when_how_often_and_how_long() {
    let with = |retry: &str| format!("try: [{{a: {{wait: PT1S}}}}]\ncatch:\n  retry: {retry}");
    let plan = task_compiles(&with(
        "{when: $error.status == 503, exceptWhen: .stop, delay: PT1S, backoff: {exponential: {}}, \
         jitter: {from: PT0S, to: PT1S}, limit: {attempt: {count: 3, duration: PT9S}, duration: PT1M}}",
    ));
    let retry = attempt(&plan, "/do/0/it").retry.as_ref().unwrap();
    let Retry { when: Some(_), except: Some(_), delay: Some(_), jitter: Some(_), .. } = retry
    else {
        panic!("{retry:?}")
    };
    assert_eq!((retry.backoff, retry.attempts), (Backoff::Exponential, Some(3)));
    assert!(retry.attempt_timeout.is_some() && retry.duration.is_some());
    for (bad, pointer, code) in [
        ("{}", "", "endless_retry"),
        ("{delay: PT0S}", "", "endless_retry"),
        ("{limit: {attempt: {}}}", "/limit", "endless_retry"),
        ("{delay: PT1S, limit: {attempt: {count: 0}}}", "/limit/attempt/count", "wrong_type"),
        ("{delay: PT1S, backoff: {}}", "/backoff", "wrong_type"),
        ("{delay: PT1S, backoff: {square: {}}}", "/backoff/square", "unknown_field"),
        ("{delay: PT1S, backoff: {linear: {by: 2}}}", "/backoff/linear/by", "unknown_field"),
        ("{delay: PT1S, jitter: {from: PT2S, to: PT1S}}", "/jitter", "out_of_range"),
        ("{delay: PT1S, jitter: {to: PT1S}}", "/jitter", "missing_field"),
        ("{delay: P1Y}", "/delay", "malformed_duration"),
        ("{delay: PT1S, limits: {}}", "/limits", "unknown_field"),
        ("{delay: PT1S, when: '.a |'}", "/when", "malformed_expression"),
        ("unknown", "", "unknown_reference"),
    ] {
        task_finds(&with(bad), &format!("/catch/retry{pointer}"), 6, code);
    }
}

#[test]
fn standard_errors_have_one_spelling_in_raise_and_catch() {
    let old = "https://serverlessworkflow.io/dsl/errors/types/timeout";
    let plan = task_compiles(&format!(
        "try: [{{a: {{raise: {{error: {{type: '{old}', status: 408}}}}}}}}]\n\
         catch: {{errors: {{with: {{type: '{old}', status: 408, details: d}}}}}}"
    ));
    let timeout = json!(Standard::Timeout.uri());
    assert_eq!(
        attempt(&plan, "/do/0/it").filter,
        [
            ("type".to_owned(), timeout.clone()),
            ("status".to_owned(), json!(408)),
            ("detail".to_owned(), json!("d")),
        ]
    );
    let Kind::Raise(error) = &plan.tasks[plan.by_pointer["/do/0/it/try/0/a"]].kind else {
        panic!()
    };
    assert!(matches!(&error.kind, Template::Literal(kind) if *kind == timeout));
}

#[test]
fn what_catches_is_constant() {
    let with = |errors: &str| format!("try: [{{a: {{wait: PT1S}}}}]\ncatch:\n  errors: {errors}");
    task_compiles(&with("{}"));
    for (bad, pointer, code) in [
        ("{with: {}}", "/with", "empty_object"),
        ("{with: {status: '404'}}", "/with/status", "wrong_type"),
        ("{with: {title: '${ .t }'}}", "/with/title", "constant_wanted"),
        ("{with: {titel: a}}", "/with/titel", "unknown_field"),
        ("{wiht: {}}", "/wiht", "unknown_field"),
    ] {
        task_finds(&with(bad), &format!("/catch/errors{pointer}"), 6, code);
    }
}

#[test]
fn loops_and_events_take_what_the_language_lets_them() {
    let plan =
        task_compiles("for: {in: [{a: 1}, {a: '${ .b }'}]}\ndo: [{a: {set: {b: '${ $item.a }'}}}]");
    let Kind::For(each) = &plan.tasks[0].kind else { panic!() };
    assert_eq!((each.each.as_str(), each.at.as_str()), ("item", "index"));
    task_compiles(
        "emit: {event: {with: {type: a.b, source: '/x', time: '2026-01-01T00:00:00Z', data: [1], ext: 5}}}",
    );
    task_compiles("emit: {event: {with: {type: a.b, time: '${ .t }', data: '${ . }'}}}");
}

#[test]
fn a_plan_does_not_grow_with_the_depth_of_its_document() {
    let mut tasks = "  - a: {set: {b: 1}}\n".to_owned();
    for _ in 0..15 {
        tasks = format!("  - a:\n      do:\n{}", indented(&tasks));
    }
    let plan = compiled(&document(&tasks));
    assert_eq!(plan.tasks.len(), 16);
    assert_eq!(plan.root.len(), 1);
}
