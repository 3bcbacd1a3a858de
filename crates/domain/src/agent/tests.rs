use proptest::prelude::*;
use serde_json::json;

use super::{Agent, Command, Event, PromptRef, Refusal, Spec};
use crate::scenario::{NOON, given};
use crate::{Aggregate, Id, Refusal as _};

fn spec(model: &str) -> Box<Spec> {
    Box::new(Spec {
        description: None,
        provider: None,
        model: Some(model.to_owned()),
        prompt: None,
        output_schema: None,
        temperature: None,
        max_output_tokens: None,
        timeout_ms: None,
    })
}

fn create(name: &str, model: &str) -> Command {
    Command::Create { name: name.to_owned(), spec: spec(model) }
}

fn revised(revision: u32, model: &str) -> Event {
    Event::Revised { name: "triage".to_owned(), revision, spec: spec(model) }
}

#[test]
fn a_new_agent_has_revision_one() {
    given::<Agent>([]).when(create("triage", "a")).then([revised(1, "a")]);
}

#[test]
fn a_name_is_taken_until_its_agent_is_deleted() {
    given::<Agent>([revised(1, "a")]).when(create("triage", "a")).refuses(Refusal::Exists);
    given::<Agent>([revised(1, "a"), Event::Deleted {}])
        .when(create("triage", "b"))
        .then([revised(2, "b")]);
}

#[test]
fn a_change_makes_a_revision_and_the_same_again_does_not() {
    let revise = |model| Command::Revise { spec: spec(model) };
    given::<Agent>([revised(1, "a")]).when(revise("b")).then([revised(2, "b")]);
    given::<Agent>([revised(1, "a")]).when(revise("a")).then([]);
}

#[test]
fn what_is_not_there_can_neither_be_changed_nor_deleted() {
    for history in [vec![], vec![revised(1, "a"), Event::Deleted {}]] {
        let gone = || given::<Agent>(history.clone());
        gone().when(Command::Revise { spec: spec("b") }).refuses(Refusal::NotFound);
        gone().when(Command::Delete).refuses(Refusal::NotFound);
    }
    given::<Agent>([revised(1, "a")]).when(Command::Delete).then([Event::Deleted {}]);
}

#[test]
fn a_pinned_revision_outlives_changes_and_deletion() {
    let agent = Agent::replay(&[revised(1, "a"), revised(2, "b"), Event::Deleted {}]);
    assert_eq!(agent.revision(1), Some(&*spec("a")));
    assert_eq!(agent.revision(2), Some(&*spec("b")));
    assert_eq!((agent.revision(0), agent.revision(3), agent.current()), (None, None, None));
}

#[test]
fn all_faults_are_told_at_once() {
    let bad = Spec {
        provider: Some(String::new()),
        model: Some("a b".to_owned()),
        prompt: Some(PromptRef { name: "No".to_owned(), version: Some(0) }),
        output_schema: Some(json!({"$ref": "https://example.com/schema.json"})),
        temperature: Some(2.1),
        max_output_tokens: Some(0),
        timeout_ms: Some(600_001),
        ..*spec("a")
    };
    let no = Agent::default()
        .decide(&Command::Create { name: "-".to_owned(), spec: Box::new(bad) }, NOON)
        .unwrap_err();
    let mut pointers: Vec<&str> = no.faults().iter().map(|fault| fault.pointer.as_str()).collect();
    pointers.sort_unstable();
    let expected = [
        "/max_output_tokens",
        "/model",
        "/name",
        "/output_schema",
        "/prompt/name",
        "/prompt/version",
        "/provider",
        "/temperature",
        "/timeout_ms",
    ];
    assert_eq!(pointers, expected);
    assert_eq!(no.code(), "agent_invalid");
}

#[test]
fn the_limits_themselves_are_allowed() {
    let edge = Spec {
        temperature: Some(2.0),
        max_output_tokens: Some(1),
        timeout_ms: Some(600_000),
        output_schema: Some(json!({"type": "object"})),
        ..*spec("a")
    };
    let command = Command::Create { name: "a".to_owned(), spec: Box::new(edge) };
    assert!(Agent::default().decide(&command, NOON).is_ok());
    let nan = Spec { temperature: Some(f64::NAN), ..*spec("a") };
    let command = Command::Create { name: "a".to_owned(), spec: Box::new(nan) };
    assert!(Agent::default().decide(&command, NOON).is_err());
}

#[test]
fn the_same_name_is_another_agent_for_another_tenant() {
    let [one, other] = [1, 2].map(|number| Id::from_uuid(uuid::Uuid::from_u128(number)));
    assert_eq!(Agent::id(one, "triage"), Agent::id(one, "triage"));
    assert_ne!(Agent::id(one, "triage"), Agent::id(other, "triage"));
}

fn any_command() -> impl Strategy<Value = Command> {
    let model = prop::sample::select(vec!["a", "b", "not a model"]);
    prop_oneof![
        model.clone().prop_map(|model| create("triage", model)),
        Just(create("", "a")),
        model.prop_map(|model| Command::Revise { spec: spec(model) }),
        Just(Command::Delete),
    ]
}

proptest! {
    /// Whatever is asked, in whatever order: nothing panics, nothing but a new revision follows
    /// the end, revisions count on, and the state is exactly what a replay of the history gives.
    #[test]
    fn histories_are_well_formed(commands in prop::collection::vec(any_command(), 0..40)) {
        let (mut state, mut history, mut last) = (Agent::default(), Vec::new(), 0);
        for command in &commands {
            for event in state.decide(command, NOON).unwrap_or_default() {
                if let Event::Revised { revision, .. } = &event {
                    last += 1;
                    prop_assert_eq!(*revision, last);
                } else {
                    let there = !matches!(history.last(), None | Some(Event::Deleted {}));
                    prop_assert!(there, "deleted what was not there");
                }
                state.evolve(&event);
                history.push(event);
            }
        }
        prop_assert_eq!(state, Agent::replay(&history));
    }
}
