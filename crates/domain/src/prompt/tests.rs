use proptest::prelude::*;
use serde_json::json;

use super::{Command, Event, Prompt, Refusal, plain, render};
use crate::scenario::{NOON, given};
use crate::{Aggregate, Refusal as _};

fn create(user: &str) -> Command {
    Command::Create {
        name: "triage".to_owned(),
        system: None,
        user: user.to_owned(),
        message: None,
    }
}

fn revise(user: &str, message: &str) -> Command {
    let message = Some(message.to_owned());
    Command::Revise { system: None, user: user.to_owned(), message }
}

fn committed(version: u32, user: &str, message: Option<&str>) -> Event {
    Event::VersionCommitted {
        name: "triage".to_owned(),
        version,
        system: None,
        user: user.to_owned(),
        message: message.map(str::to_owned),
    }
}

#[test]
fn versions_count_on_even_after_a_deletion() {
    let first = committed(1, "a", None);
    given::<Prompt>([]).when(create("a")).then([first.clone()]);
    given::<Prompt>([first.clone()]).when(revise("b", "why")).then([committed(
        2,
        "b",
        Some("why"),
    )]);
    given::<Prompt>([first.clone(), Event::Deleted {}])
        .when(create("a"))
        .then([committed(2, "a", None)]);
    given::<Prompt>([first]).when(create("a")).refuses(Refusal::Exists);
}

#[test]
fn the_same_text_again_is_no_new_version() {
    given::<Prompt>([committed(1, "a", None)]).when(revise("a", "other words")).then([]);
}

#[test]
fn what_is_not_there_can_neither_be_changed_nor_deleted() {
    for history in [vec![], vec![committed(1, "a", None), Event::Deleted {}]] {
        given::<Prompt>(history.clone()).when(revise("b", "")).refuses(Refusal::NotFound);
        given::<Prompt>(history).when(Command::Delete).refuses(Refusal::NotFound);
    }
}

#[test]
fn a_pinned_version_outlives_changes_and_deletion() {
    let [one, two] = [committed(1, "a", None), committed(2, "b", None)];
    let prompt = Prompt::replay(&[one.clone(), two.clone()]);
    assert_eq!(prompt.version(None).map(|version| version.version), Some(2));
    assert_eq!(prompt.version(Some(1)).map(|version| version.user.as_str()), Some("a"));
    assert_eq!(prompt.version(Some(3)), None);
    let gone = Prompt::replay(&[one, two, Event::Deleted {}]);
    assert_eq!(gone.version(None), None);
    assert_eq!(gone.version(Some(2)).map(|version| version.user.as_str()), Some("b"));
}

#[test]
fn all_faults_are_told_at_once_with_their_lines() {
    let bad = Command::Create {
        name: "Big".to_owned(),
        system: Some("ok\n{% if %}".to_owned()),
        user: "{{ open".to_owned(),
        message: None,
    };
    let no = Prompt::default().decide(&bad, NOON).unwrap_err();
    let places: Vec<_> =
        no.faults().iter().map(|fault| (fault.pointer.as_str(), fault.line)).collect();
    assert_eq!(places, [("/name", None), ("/system", Some(2)), ("/user", Some(1))]);
    assert_eq!(no.code(), "prompt_invalid");
}

#[test]
fn a_prompt_sees_the_input_and_its_members() {
    let input = json!({"title": "Crash", "tags": ["a", "b"], "input": "hidden"});
    let rendered = render(
        Some("You sort {{ tags|join(', ') }}."),
        "{{ title }}: {{ input.title }} {{ input.input }}",
        &input,
    );
    let rendered = rendered.unwrap();
    assert_eq!(rendered.system.as_deref(), Some("You sort a, b."));
    assert_eq!(rendered.user, "Crash: Crash hidden");
    assert_eq!(render(None, "{{ input }}", &json!("text")).unwrap().user, "text");
}

#[test]
fn what_the_input_says_is_never_a_template() {
    let input = json!({"title": "{{ input }}{% for %}"});
    assert_eq!(render(None, "{{ title }}", &input).unwrap().user, "{{ input }}{% for %}");
}

#[test]
fn a_prompt_that_cannot_be_filled_is_an_error() {
    for bad in ["{{ missing }}", "{{ input.missing.more }}", "{% include 'x' %}", "{{ 1/0 }}"] {
        assert!(render(None, bad, &json!({})).is_err(), "{bad}");
    }
}

#[test]
fn a_prompt_that_eats_time_or_memory_is_an_error() {
    let doubling = format!("{{% set x = 'x' %}}{}{{{{ x }}}}", "{% set x = x ~ x %}".repeat(60));
    for bad in [
        "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
        "{{ 'x' * 1000000000 }}",
        &doubling,
        "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    ] {
        assert!(render(None, bad, &json!({})).is_err(), "{bad:.60}");
    }
}

#[test]
fn without_a_prompt_the_input_is_the_message() {
    assert_eq!(plain(&json!("as it is")), "as it is");
    assert_eq!(plain(&json!({"a": 1})), r#"{"a":1}"#);
}

fn any_command() -> impl Strategy<Value = Command> {
    let user = prop::sample::select(vec!["a", "b", "{{"]);
    prop_oneof![
        user.clone().prop_map(create),
        user.prop_map(|user| revise(user, "")),
        Just(Command::Delete),
    ]
}

proptest! {
    /// Whatever is asked, in whatever order: nothing panics, nothing but a new version follows
    /// the end, versions count on, and the state is exactly what a replay of the history gives.
    #[test]
    fn histories_are_well_formed(commands in prop::collection::vec(any_command(), 0..40)) {
        let (mut state, mut history, mut last) = (Prompt::default(), Vec::new(), 0);
        for command in &commands {
            for event in state.decide(command, NOON).unwrap_or_default() {
                if let Event::VersionCommitted { version, .. } = &event {
                    last += 1;
                    prop_assert_eq!(*version, last);
                } else {
                    let there = !matches!(history.last(), None | Some(Event::Deleted {}));
                    prop_assert!(there, "deleted what was not there");
                }
                state.evolve(&event);
                history.push(event);
            }
        }
        prop_assert_eq!(state, Prompt::replay(&history));
    }

    /// Any text is a prompt or is not: it never panics.
    #[test]
    fn any_text_can_be_tried(text in "[{%} a-z0-9|().'\"~*+\n-]{0,60}") {
        let _ = render(None, &text, &json!({"a": [1, {"b": null}]}));
    }
}
