use proptest::prelude::*;
use serde_json::json;

use super::{Command, Event, Mail, Refusal, Template};
use crate::scenario::{NOON, given};
use crate::{Aggregate, Refusal as _};

fn create(subject: &str) -> Command {
    Command::Create {
        name: "mail".to_owned(),
        subject: subject.to_owned(),
        text: "Hello {{ who }}".to_owned(),
        html: Some("<p>Hello {{ who }}</p>".to_owned()),
    }
}

fn revise(subject: &str) -> Command {
    Command::Revise {
        subject: subject.to_owned(),
        text: "Hello {{ who }}".to_owned(),
        html: Some("<p>Hello {{ who }}</p>".to_owned()),
    }
}

fn saved(version: u32, subject: &str) -> Event {
    Event::VersionSaved {
        name: "mail".to_owned(),
        version,
        subject: subject.to_owned(),
        text: "Hello {{ who }}".to_owned(),
        html: Some("<p>Hello {{ who }}</p>".to_owned()),
    }
}

#[test]
fn versions_count_on_even_after_a_deletion() {
    given::<Template>([]).when(create("a")).then([saved(1, "a")]);
    given::<Template>([saved(1, "a")]).when(create("a")).refuses(Refusal::Exists);
    given::<Template>([saved(1, "a")]).when(revise("b")).then([saved(2, "b")]);
    given::<Template>([saved(1, "a")]).when(revise("a")).then([]);
    given::<Template>([saved(1, "a"), Event::Deleted {}]).when(create("a")).then([saved(2, "a")]);
}

#[test]
fn what_is_not_there_can_neither_be_changed_nor_deleted() {
    for history in [vec![], vec![saved(1, "a"), Event::Deleted {}]] {
        given::<Template>(history.clone()).when(revise("b")).refuses(Refusal::NotFound);
        given::<Template>(history).when(Command::Delete).refuses(Refusal::NotFound);
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let bad = Command::Create {
        name: "a b".to_owned(),
        subject: "two\nlines".to_owned(),
        text: "{{".to_owned(),
        html: Some("{% endif %}".to_owned()),
    };
    let no = Template::default().decide(&bad, NOON).unwrap_err();
    let pointers: Vec<&str> = no.faults().iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!(pointers, ["/name", "/subject", "/text", "/html"]);
    assert_eq!(no.code(), "template_invalid");
}

#[test]
fn data_are_escaped_in_html_and_nowhere_else() {
    let template = Template::replay(&[saved(1, "For {{ who }}")]);
    let mail = template.version(Some(1)).unwrap().render(&json!({"who": "<b>&\"Ann\""}));
    let expected = Mail {
        subject: "For <b>&\"Ann\"".to_owned(),
        text: "Hello <b>&\"Ann\"".to_owned(),
        html: Some("<p>Hello &lt;b&gt;&amp;&quot;Ann&quot;</p>".to_owned()),
    };
    assert_eq!(mail, Ok(expected));
}

#[test]
fn data_cannot_add_a_line_to_the_subject() {
    let template = Template::replay(&[saved(1, "For {{ who }}")]);
    let version = template.newest().unwrap();
    for bad in ["a\r\nBcc: x@example.com", "a\nb", "a\rb", "a\u{7f}", "\u{85}"] {
        assert!(version.render(&json!({"who": bad})).is_err(), "{bad:?}");
    }
    assert!(version.render(&json!({})).is_err(), "a missing value");
    assert!(version.render(&json!(null)).is_err(), "no data at all");
}

fn any_command() -> impl Strategy<Value = Command> {
    let subject = prop::sample::select(vec!["a", "b", "{{"]);
    prop_oneof![subject.clone().prop_map(create), subject.prop_map(revise), Just(Command::Delete),]
}

proptest! {
    /// Whatever is asked, in whatever order: nothing panics, nothing but a new version follows
    /// the end, versions count on, and the state is exactly what a replay of the history gives.
    #[test]
    fn histories_are_well_formed(commands in prop::collection::vec(any_command(), 0..40)) {
        let (mut state, mut history, mut last) = (Template::default(), Vec::new(), 0);
        for command in &commands {
            for event in state.decide(command, NOON).unwrap_or_default() {
                if let Event::VersionSaved { version, .. } = &event {
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
        prop_assert_eq!(state, Template::replay(&history));
    }
}
