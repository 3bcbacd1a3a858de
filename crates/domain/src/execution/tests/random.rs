//! Any workflow, whatever comes from outside in whatever order: it holds together and it ends.

use chrono::TimeDelta;
use proptest::prelude::*;
use serde_json::json;

use super::{Run, broken, start};
use crate::execution::{Answer, Phase, Standard, What};

/// A task in the making; names are given when it is written down.
#[derive(Debug, Clone)]
enum Sketch {
    Set,
    Export,
    Bad,
    Raise(u16),
    Wait(u8),
    Call,
    Child(bool),
    Emit,
    Switch(u8),
    Do(Vec<Sketch>),
    For(u8, Vec<Sketch>),
    Fork(bool, Vec<Sketch>),
    Try(Vec<Sketch>, Option<u8>, Vec<Sketch>),
    Timed(u8, Box<Sketch>),
    If(bool, Box<Sketch>),
}

fn sketch() -> impl Strategy<Value = Sketch> {
    let leaf = prop_oneof![
        2 => Just(Sketch::Set),
        1 => Just(Sketch::Export),
        1 => Just(Sketch::Bad),
        2 => prop_oneof![Just(400_u16), Just(500)].prop_map(Sketch::Raise),
        2 => (0..4_u8).prop_map(Sketch::Wait),
        4 => Just(Sketch::Call),
        1 => any::<bool>().prop_map(Sketch::Child),
        1 => Just(Sketch::Emit),
        2 => (0..4_u8).prop_map(Sketch::Switch),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let list = || prop::collection::vec(inner.clone(), 1..4);
        let retry = prop::option::of(0..4_u8);
        prop_oneof![
            1 => list().prop_map(Sketch::Do),
            2 => (0..4_u8, list()).prop_map(|(laps, body)| Sketch::For(laps, body)),
            3 => (any::<bool>(), list()).prop_map(|(compete, body)| Sketch::Fork(compete, body)),
            4 => (list(), retry, prop::collection::vec(inner.clone(), 0..2))
                .prop_map(|(body, retry, handler)| Sketch::Try(body, retry, handler)),
            2 => (0..4_u8, inner.clone()).prop_map(|(after, task)| Sketch::Timed(after, Box::new(task))),
            1 => (any::<bool>(), inner).prop_map(|(holds, task)| Sketch::If(holds, Box::new(task))),
        ]
    })
}

fn list(tasks: &[Sketch]) -> String {
    let item = |(at, task): (usize, &Sketch)| format!("{{t{at}: {{{}}}}}", fields(task));
    // Nothing may stand behind what always goes elsewhere.
    let last = tasks.iter().position(goes_elsewhere).map_or(tasks.len(), |at| at + 1);
    format!("[{}]", tasks[..last].iter().enumerate().map(item).collect::<Vec<_>>().join(", "))
}

fn goes_elsewhere(task: &Sketch) -> bool {
    match task {
        Sketch::Raise(_) | Sketch::Switch(0) => true,
        Sketch::Timed(_, task) => goes_elsewhere(task),
        Sketch::Set
        | Sketch::Export
        | Sketch::Bad
        | Sketch::Wait(_)
        | Sketch::Call
        | Sketch::Child(_)
        | Sketch::Emit
        | Sketch::Switch(_)
        | Sketch::Do(_)
        | Sketch::For(..)
        | Sketch::Fork(..)
        | Sketch::Try(..)
        | Sketch::If(..) => false,
    }
}

/// Whether a task has an `if` already, under whatever else it is wrapped in.
fn is_conditional(task: &Sketch) -> bool {
    if let Sketch::Timed(_, inner) = task {
        return is_conditional(inner);
    }
    matches!(task, Sketch::If(..))
}

/// Whether a task has a `timeout` already, under whatever else it is wrapped in.
fn is_timed(task: &Sketch) -> bool {
    if let Sketch::If(_, inner) = task {
        return is_timed(inner);
    }
    matches!(task, Sketch::Timed(..))
}

fn fields(task: &Sketch) -> String {
    match task {
        Sketch::Set => "set: {n: '${ (.n? // 0) + 1 }'}".to_owned(),
        Sketch::Export => "set: {n: 1}, export: {as: '($context // 0) + 1'}".to_owned(),
        Sketch::Bad => "set: {n: 1}, output: {as: .n.m}".to_owned(),
        Sketch::Raise(status) => {
            format!("raise: {{error: {{type: 'https://example.com/e', status: {status}}}}}")
        }
        Sketch::Wait(seconds) => format!("wait: {{seconds: {seconds}}}"),
        Sketch::Call => "call: agent, with: {agent: a, input: '${ .n? }'}".to_owned(),
        Sketch::Child(waits) => {
            format!("run: {{await: {waits}, workflow: {{namespace: n, name: w, version: latest}}}}")
        }
        Sketch::Emit => "emit: {event: {with: {type: t}}}".to_owned(),
        Sketch::Switch(0) => "switch: [{c: {then: end}}]".to_owned(),
        Sketch::Switch(1) => "switch: [{c: {when: '.n? == 1', then: exit}}]".to_owned(),
        Sketch::Switch(2) => "switch: [{c: {when: '.n? == 1', then: end}}]".to_owned(),
        Sketch::Switch(_) => "switch: [{c: {when: 'false', then: exit}}]".to_owned(),
        Sketch::Do(body) => format!("do: {}", list(body)),
        Sketch::For(laps, body) => format!("for: {{in: '[range({laps})]'}}, do: {}", list(body)),
        Sketch::Fork(compete, body) => {
            format!("fork: {{compete: {compete}, branches: {}}}", list(body))
        }
        Sketch::Try(body, retry, handler) => {
            let retry = retry.map_or(String::new(), |kind| {
                let limit = match kind {
                    0 => "{attempt: {count: 2}}",
                    1 => "{attempt: {count: 3, duration: PT2S}}",
                    2 => "{attempt: {count: 2}, duration: PT3S}",
                    _ => "{attempt: {count: 2, duration: PT0S}}",
                };
                format!("retry: {{delay: PT1S, limit: {limit}}}, ")
            });
            let handler =
                if handler.is_empty() { String::new() } else { format!("do: {}", list(handler)) };
            format!(
                "try: {}, catch: {{exceptWhen: '$error.status == 400', {retry}{handler}}}",
                list(body)
            )
        }
        Sketch::Timed(_, task) if is_timed(task) => fields(task),
        Sketch::Timed(after, task) => {
            format!("timeout: {{after: {{seconds: {after}}}}}, {}", fields(task))
        }
        Sketch::If(_, task) if is_conditional(task) => fields(task),
        Sketch::If(holds, task) => format!("if: '{holds}', {}", fields(task)),
    }
}

/// Does one of the things that can happen next.
fn happen(run: &mut Run, choice: u16) {
    let waits: Vec<u32> = run.state.waits().map(|wait| wait.id).collect();
    let wait = waits[usize::from(choice) % waits.len()];
    let is_call = matches!(run.state.wait(wait).unwrap().what, What::Call { .. });
    let happened = if is_call {
        let answer = match choice / 64 % 4 {
            0 => Answer::Failure(broken(500)),
            1 => Answer::Failure(broken(400)),
            2 => Answer::Unknown(broken(503)),
            _ => Answer::Success(json!({"n": choice % 3})),
        };
        run.answer_wait(wait, answer)
    } else {
        // Timers may fire late and in any order.
        let (due_at, next) = run.next_timer().unwrap();
        run.now = run.now.max(due_at) + TimeDelta::milliseconds(i64::from(choice % 3) * 700);
        run.fire(next)
    };
    assert_ne!(happened, 0, "what is waited for goes on");
    assert_eq!(run.answer_wait(wait, Answer::Success(json!(1))) * usize::from(is_call), 0, "once");
}

proptest! {
    #[test]
    fn a_number_that_was_stored_is_the_number_that_was_decided_on(number in any::<f64>()) {
        prop_assume!(number.is_finite());
        let stored = json!({"n": number}).to_string();
        let read: serde_json::Value = serde_json::from_str(&stored).unwrap();
        prop_assert_eq!(read, json!({"n": number}));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_workflow_holds_together_and_ends(
        tasks in prop::collection::vec(sketch(), 1..4),
        choices in prop::collection::vec(any::<u16>(), 40),
        cancel in prop::option::of(0..40_usize),
    ) {
        let text = format!("do: {}\ntimeout: {{after: PT10M}}", list(&tasks));
        let mut run = start(&text, json!({"n": 0}));
        // Every wake-up is checked; see `invariants`.
        for (at, choice) in choices.iter().cycle().take(3_000).enumerate() {
            if run.state.is_over() {
                break;
            }
            if cancel == Some(at) {
                run.cancel().unwrap();
                break;
            }
            happen(&mut run, choice.wrapping_add(u16::try_from(at).unwrap()));
        }
        prop_assert!(run.state.is_over(), "it ends");
        if let Phase::Faulted(error) = run.state.phase() {
            prop_assert!(error.status != 413, "the data are small");
            let known = Standard::ALL.iter().any(|sort| sort.uri() == error.kind);
            prop_assert!(known || error.kind == "https://example.com/e");
        }
    }
}
