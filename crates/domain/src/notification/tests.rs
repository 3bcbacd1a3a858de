use chrono::TimeDelta;
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::{Channel, Command, Event, Notification, Refusal, Status};
use crate::scenario::{NOON, given};
use crate::{Aggregate, Id, Refusal as _};

fn request(to: &[&str]) -> Command {
    Command::Request {
        channel: Channel::Email,
        to: to.iter().map(|address| (*address).to_owned()).collect(),
        template: Id::from_uuid(Uuid::from_u128(1)),
        version: 1,
        data: json!({"who": "Ann"}),
        subject: None,
        caller: None,
    }
}

fn requested() -> Event {
    Event::Requested {
        channel: Channel::Email,
        to: vec!["ann@example.com".to_owned()].into(),
        template: Id::from_uuid(Uuid::from_u128(1)),
        version: 1,
        data: json!({"who": "Ann"}).into(),
        subject: None,
        caller: None,
    }
}

fn record_sent() -> Command {
    Command::RecordSent { via: "smtp".to_owned(), message_id: "m1".to_owned() }
}

fn sent(attempt: u32) -> Event {
    Event::Sent { attempt, via: "smtp".to_owned(), message_id: "m1".to_owned() }
}

fn record_failure(permanent: bool) -> Command {
    Command::RecordFailure { detail: "busy".to_owned(), permanent }
}

fn attempt_failed(attempt: u32, pause: i64) -> Event {
    let retry_at = NOON + TimeDelta::seconds(pause);
    Event::AttemptFailed { attempt, detail: "busy".to_owned().into(), retry_at }
}

fn failed(attempt: u32) -> Event {
    Event::Failed { attempt, detail: "busy".to_owned().into() }
}

#[test]
fn asking_twice_is_asking_once() {
    given::<Notification>([]).when(request(&["ann@example.com"])).then([requested()]);
    given::<Notification>([requested()]).when(request(&["ann@example.com"])).then([]);
}

#[test]
fn only_addresses_that_mail_can_carry_are_taken() {
    let good = ["a@b", "ann.o'hara+x@mail.example.co.uk", "1@2.example"];
    assert!(Notification::default().decide(&request(&good), NOON).is_ok());
    for bad in [
        "",
        "ann",
        "@example.com",
        "ann@",
        "ann@@example.com",
        "ann b@example.com",
        "ann@example..com",
        "ann@exa_mple.com",
        "ann@example.com\r\nBcc: x@example.com",
        "Ann <ann@example.com>",
        "ann@example.com,bob@example.com",
        "\u{e4}nn@example.com",
        &format!("{}@example.com", "a".repeat(65)),
    ] {
        let no = Notification::default().decide(&request(&["a@b", bad]), NOON).unwrap_err();
        assert_eq!(no.faults()[0].pointer, "/to/1", "{bad:?}");
    }
}

#[test]
fn there_are_one_to_fifty_addresses() {
    for (count, good) in [(0, false), (1, true), (50, true), (51, false)] {
        let answer = Notification::default().decide(&request(&vec!["a@b"; count]), NOON);
        assert_eq!(answer.is_ok(), good, "{count}");
    }
}

#[test]
fn data_that_cannot_be_stored_are_refused() {
    let Command::Request { channel, to, template, version, caller, .. } = request(&["a@b"]) else {
        panic!("a request is a request")
    };
    let command = Command::Request {
        channel,
        to,
        template,
        version,
        subject: None,
        caller,
        data: json!({"who": "\0"}),
    };
    let no = Notification::default().decide(&command, NOON).unwrap_err();
    assert_eq!(no.faults()[0].pointer, "/data");
}

#[test]
fn pauses_grow_threefold_up_to_an_hour_and_the_eighth_failure_is_the_last() {
    let mut history = vec![requested()];
    for (attempt, pause) in [(1, 5), (2, 15), (3, 45), (4, 135), (5, 405), (6, 1215), (7, 3600)] {
        let next = attempt_failed(attempt, pause);
        given::<Notification>(history.clone()).when(record_failure(false)).then([next.clone()]);
        history.push(next);
    }
    given::<Notification>(history).when(record_failure(false)).then([failed(8)]);
}

#[test]
fn a_hopeless_failure_is_the_last_one() {
    given::<Notification>([requested()]).when(record_failure(true)).then([failed(1)]);
}

#[test]
fn what_went_out_went_out_and_late_news_change_nothing() {
    given::<Notification>([requested(), attempt_failed(1, 5)]).when(record_sent()).then([sent(2)]);
    for end in [sent(1), failed(1)] {
        let over = || given::<Notification>([requested(), end.clone()]);
        over().when(record_sent()).then([]);
        over().when(record_failure(true)).then([]);
        over().when(request(&["ann@example.com"])).then([]);
    }
}

#[test]
fn what_is_over_can_be_sent_again_with_all_its_attempts() {
    for end in [sent(1), failed(8)] {
        let over = given::<Notification>([requested(), end.clone()]);
        over.when(Command::Resend).then([Event::ResendRequested {}]);
        let again = given::<Notification>([requested(), end, Event::ResendRequested {}]);
        again.when(record_failure(false)).then([attempt_failed(1, 5)]);
    }
    for open in [vec![requested()], vec![requested(), attempt_failed(1, 5)]] {
        given::<Notification>(open).when(Command::Resend).refuses(Refusal::Pending);
    }
}

#[test]
fn what_nobody_asked_for_has_no_news() {
    for command in [record_sent(), record_failure(false), Command::Resend] {
        given::<Notification>([]).when(command).refuses(Refusal::NotFound);
    }
}

#[test]
fn an_attempt_is_due_at_once_and_then_at_its_time() {
    let queued = Notification::replay(&[requested()]);
    assert!(queued.due(NOON).is_some());
    let retrying = Notification::replay(&[requested(), attempt_failed(1, 5)]);
    assert_eq!(retrying.due(NOON + TimeDelta::seconds(4)), None);
    assert!(retrying.due(NOON + TimeDelta::seconds(5)).is_some());
    let over = Notification::replay(&[requested(), sent(1)]);
    assert_eq!((over.due(NOON), over.status()), (None, &Status::Sent));
}

fn any_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        Just(request(&["ann@example.com"])),
        Just(request(&["nobody"])),
        Just(record_sent()),
        any::<bool>().prop_map(record_failure),
        Just(record_failure(false)),
        Just(Command::Resend),
    ]
}

proptest! {
    /// Whatever is asked, in whatever order: nothing panics, only a resend follows the end, and
    /// the state is exactly what a replay of the history gives.
    #[test]
    fn histories_are_well_formed(commands in prop::collection::vec(any_command(), 0..60)) {
        let (mut state, mut history) = (Notification::default(), Vec::new());
        for command in &commands {
            for event in state.decide(command, NOON).unwrap_or_default() {
                let over = matches!(
                    history.last(),
                    Some(Event::Sent { .. } | Event::Failed { .. })
                );
                let again = event == Event::ResendRequested {};
                prop_assert_eq!(over, again, "{:?}", event);
                state.evolve(&event);
                history.push(event);
            }
        }
        prop_assert_eq!(state, Notification::replay(&history));
    }
}
