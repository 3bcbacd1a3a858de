use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Command, Event, FailureClass, Invocation, NewInvocation, Refusal, Report, accept,
    repair_message,
};
use crate::execution::{Answer, Caller};
use crate::scenario::{NOON, given};
use crate::{Aggregate, Id};

const CALLER: Option<Caller> =
    Some(Caller { execution: Id::from_uuid(Uuid::from_u128(9)), wait: 3 });

fn new(input: &str) -> NewInvocation {
    NewInvocation {
        agent: Id::from_uuid(Uuid::from_u128(1)),
        revision: 2,
        prompt: Some((Id::from_uuid(Uuid::from_u128(2)), 1)),
        input: json!(input),
        subject: None,
        caller: CALLER,
    }
}

fn requested(input: &str) -> Event {
    let NewInvocation { agent, revision, prompt, input, subject, caller } = new(input);
    Event::Requested { agent, revision, prompt, input: input.into(), subject, caller }
}

fn report(calls: u32) -> Report {
    Report { calls, ..Report::default() }
}

fn complete(output: &str) -> Command {
    Command::Complete { output: json!(output), report: report(1) }
}

fn completed(output: &str) -> Event {
    Event::Completed { output: json!(output).into(), report: report(1), caller: CALLER }
}

fn fail() -> Command {
    let detail = "slow".to_owned();
    Command::Fail { class: FailureClass::Timeout, detail, report: report(2) }
}

fn failed() -> Event {
    let detail = "slow".to_owned();
    Event::Failed {
        class: FailureClass::Timeout,
        detail: detail.into(),
        report: report(2),
        caller: CALLER,
    }
}

#[test]
fn asking_twice_is_asking_once() {
    given::<Invocation>([]).when(Command::Request(new("a"))).then([requested("a")]);
    given::<Invocation>([requested("a")]).when(Command::Request(new("a"))).then([]);
}

#[test]
fn the_first_end_counts_and_tells_who_waits_for_it() {
    given::<Invocation>([requested("a")]).when(complete("x")).then([completed("x")]);
    given::<Invocation>([requested("a")]).when(fail()).then([failed()]);
    given::<Invocation>([requested("a"), completed("x")]).when(fail()).then([]);
    given::<Invocation>([requested("a"), failed()]).when(complete("x")).then([]);
    given::<Invocation>([requested("a"), failed()]).when(Command::Request(new("a"))).then([]);
}

#[test]
fn what_nobody_asked_has_no_end() {
    given::<Invocation>([]).when(complete("x")).refuses(Refusal::NotFound);
    given::<Invocation>([]).when(fail()).refuses(Refusal::NotFound);
}

#[test]
fn an_invocation_is_pending_until_it_ends() {
    let open = Invocation::replay(&[requested("a")]);
    assert_eq!((open.pending(), open.answer()), (Some(&new("a")), None));
    let done = Invocation::replay(&[requested("a"), completed("x")]);
    assert_eq!((done.pending(), done.answer()), (None, Some(Answer::Success(json!("x")))));
}

#[test]
fn a_failure_is_an_error_that_workflows_can_tell_apart() {
    let cases = [
        (FailureClass::OutputInvalid, "runtime"),
        (FailureClass::InvalidRequest, "validation"),
        (FailureClass::Auth, "authentication"),
        (FailureClass::RateLimited, "communication"),
        (FailureClass::QuotaExhausted, "communication"),
        (FailureClass::ContentPolicy, "runtime"),
        (FailureClass::Unavailable, "configuration"),
        (FailureClass::Transient, "communication"),
        (FailureClass::Timeout, "timeout"),
    ];
    for (class, sort) in cases {
        let Answer::Failure(error) = class.answer("why") else { panic!("{class:?} is no failure") };
        assert!(error.kind.ends_with(&format!("/{sort}")), "{class:?}: {}", error.kind);
        assert_eq!(error.detail.as_deref().map(String::as_str), Some("why"));
    }
    let limited = FailureClass::RateLimited.answer("");
    assert!(matches!(limited, Answer::Failure(error) if error.status == 429));
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {"category": {"enum": ["bug", "question"]}, "score": {"type": "number"}},
        "required": ["category"],
        "additionalProperties": false
    })
}

#[test]
fn json_is_found_in_what_models_say() {
    let answers = [
        r#"{"category": "bug"}"#,
        "  {\"category\": \"bug\"}\n",
        "```json\n{\"category\": \"bug\"}\n```",
        "```\n{\"category\": \"bug\"}\n```",
        "Sure! Here it is:\n```json\n{\"category\": \"bug\"}\n```\nAnything else?",
        r#"The answer is {"category": "bug"}. I hope that {helps}."#,
        r#"As {you} wished: {"category": "bug"}"#,
    ];
    for text in answers {
        assert_eq!(accept(Some(&schema()), text), Ok(json!({"category": "bug"})), "{text}");
    }
    let braces = json!({"category": "question"});
    let text = format!("Look: {braces} {{");
    assert_eq!(accept(Some(&schema()), &text), Ok(braces));
}

#[test]
fn an_answer_that_does_not_fit_is_refused_with_reasons() {
    assert_eq!(accept(Some(&schema()), "no idea").unwrap_err().len(), 1);
    assert_eq!(accept(Some(&schema()), "{\"category\": ").unwrap_err().len(), 1);
    let wrong = r#"{"category": "rumour-4711", "score": "high", "more": 1}"#;
    let complaints = accept(Some(&schema()), wrong).unwrap_err();
    assert_eq!(complaints.len(), 3, "{complaints:?}");
    assert!(complaints.iter().any(|text| text.starts_with("/category")), "{complaints:?}");
    let asked = repair_message(&complaints);
    assert!(complaints.iter().all(|complaint| asked.contains(complaint)), "{asked}");
}

#[test]
fn complaints_do_not_repeat_what_the_model_said() {
    let wrong = r#"{"category": "rumour-4711", "score": "secret-4712"}"#;
    let complaints = accept(Some(&schema()), wrong).unwrap_err().join(" ");
    assert!(!complaints.contains("4711") && !complaints.contains("4712"), "{complaints}");
}

#[test]
fn without_a_schema_the_answer_is_the_text() {
    assert_eq!(accept(None, r#"{"a": 1}"#), Ok(json!(r#"{"a": 1}"#)));
    assert_eq!(accept(None, "a\0b"), Ok(json!("ab")));
}

#[test]
fn what_cannot_be_stored_is_refused() {
    let anything = json!({});
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    for bad in [deep.as_str(), r#"{"a": "\u0000"}"#] {
        assert!(accept(Some(&anything), bad).is_err(), "{bad:.20}");
    }
    assert!(accept(None, &"x".repeat(96 * 1024 + 1)).is_err());
    assert!(accept(Some(&anything), &"[".repeat(96 * 1024)).is_err());
}

fn any_command() -> impl Strategy<Value = Command> {
    let word = prop::sample::select(vec!["a", "b"]);
    prop_oneof![
        word.clone().prop_map(|input| Command::Request(new(input))),
        word.prop_map(complete),
        Just(fail()),
    ]
}

proptest! {
    /// Whatever is asked, in whatever order: nothing panics, nothing follows the end, and the
    /// state is exactly what a replay of the history gives.
    #[test]
    fn histories_are_well_formed(commands in prop::collection::vec(any_command(), 0..20)) {
        let (mut state, mut history) = (Invocation::default(), Vec::new());
        for command in &commands {
            for event in state.decide(command, NOON).unwrap_or_default() {
                let over = matches!(
                    history.last(),
                    Some(Event::Completed { .. } | Event::Failed { .. })
                );
                prop_assert!(!over, "{event:?} after the end");
                state.evolve(&event);
                history.push(event);
            }
        }
        prop_assert_eq!(state, Invocation::replay(&history));
    }

    /// Any text is an answer or is not: it never panics, and what is accepted fits.
    #[test]
    fn any_text_can_be_judged(text in "[{}\\[\\]\",:a-c0-9`\\\\ ]{0,60}") {
        if let Ok(value) = accept(Some(&schema()), &text) {
            prop_assert!(crate::agent::schema::compile(&schema()).unwrap().is_valid(&value));
        }
    }
}
