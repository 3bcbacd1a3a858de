use std::collections::BTreeMap;

use serde_json::json;
use uuid::Uuid;

use super::{Do, POLICIES, Seen};
use crate::execution::{self, Answer, Caller, Cause, Closed, Ending, Standard, Trigger, Turn};
use crate::integration::WorkflowRef;
use crate::invocation::{self, FailureClass, Report};
use crate::{Actor, Fact, Id, agent, notification, webhook};

const STREAM: Uuid = Uuid::from_u128(5);

fn caller() -> Caller {
    Caller { execution: Id::from_uuid(Uuid::from_u128(9)), wait: 3 }
}

/// What all policies together ask for.
fn react(fact: &Fact) -> Vec<Do> {
    let tenant = Id::from_uuid(Uuid::from_u128(1));
    let seen = Seen { tenant, stream: STREAM, event_id: Uuid::from_u128(2), fact };
    POLICIES.iter().flat_map(|(_, policy)| policy(&seen)).collect()
}

fn answered(answer: Answer) -> Vec<Do> {
    let Caller { execution, wait } = caller();
    vec![Do::Answer { execution, wait, answer }]
}

fn received(starts: Option<WorkflowRef>) -> Fact {
    Fact::Webhook(webhook::Event::Received {
        integration: Id::from_uuid(Uuid::from_u128(7)),
        event_type: Some("issues".to_owned()),
        dedupe_key: "d-1".to_owned(),
        headers: BTreeMap::new().into(),
        body: json!({"n": 1}).into(),
        digest: String::new().into(),
        subject: None,
        starts,
    })
}

#[test]
fn a_delivery_starts_one_execution_of_its_workflow() {
    let workflow = WorkflowRef { namespace: "a".to_owned(), name: "b".to_owned() };
    let start = Do::StartExecution {
        id: Id::derived(STREAM, "start"),
        workflow: workflow.clone(),
        input: json!({"event": "issues", "delivery": "d-1", "body": {"n": 1}}),
        subject: None,
        trigger: Trigger::Webhook(Id::from_uuid(STREAM)),
    };
    let fact = received(Some(workflow));
    assert_eq!(react(&fact), [start]);
    assert_eq!(react(&fact), react(&fact), "seen twice, it is the same execution");
    assert_eq!(react(&received(None)), []);
}

#[test]
fn the_end_of_an_execution_answers_whoever_started_it() {
    let parent = Some(caller());
    let output = json!({"done": true});
    let completed = execution::Event::Completed { output: output.clone().into(), parent };
    assert_eq!(react(&Fact::Execution(completed)), answered(Answer::Success(output)));
    let error = Standard::Timeout.error("slow");
    let faulted = execution::Event::Faulted { error: error.clone(), parent };
    assert_eq!(react(&Fact::Execution(faulted)), answered(Answer::Failure(error)));
    let cancelled = execution::Event::Cancelled {
        by: Actor::System,
        reason: "budget".to_owned().into(),
        parent,
    };
    let error = Standard::Runtime.error("the execution was cancelled");
    assert_eq!(react(&Fact::Execution(cancelled)), answered(Answer::Failure(error)));
}

#[test]
fn the_end_of_an_execution_that_nobody_waits_for_answers_nobody() {
    let completed = execution::Event::Completed { output: json!(1).into(), parent: None };
    assert_eq!(react(&Fact::Execution(completed)), []);
}

#[test]
fn the_end_of_an_invocation_answers_whoever_asked() {
    let report = Report::default();
    let output = json!("bug");
    let completed = invocation::Event::Completed {
        output: output.clone().into(),
        report: report.clone(),
        caller: Some(caller()),
    };
    assert_eq!(react(&Fact::Invocation(completed)), answered(Answer::Success(output.clone())));
    let failed = invocation::Event::Failed {
        class: FailureClass::RateLimited,
        detail: "patience".to_owned().into(),
        report: report.clone(),
        caller: Some(caller()),
    };
    let error = Standard::Communication.error("patience").with_status(429);
    assert_eq!(react(&Fact::Invocation(failed)), answered(Answer::Failure(error)));
    let unasked = invocation::Event::Completed { output: output.into(), report, caller: None };
    assert_eq!(react(&Fact::Invocation(unasked)), []);
}

#[test]
fn executions_that_nobody_waits_for_any_more_are_cancelled() {
    let child = Id::from_uuid(Uuid::from_u128(11));
    let closed = |wait, child| Closed { wait, how: Ending::Dropped, child };
    let turn = Turn {
        cause: Cause::Cancelled,
        steps: vec![],
        threads: BTreeMap::new(),
        context: None,
        opened: vec![],
        closed: vec![closed(1, None), closed(2, Some(child))],
        emitted: vec![],
        runs: 1,
        serial: 2,
    };
    let asked = react(&Fact::Execution(execution::Event::TurnTaken(Box::new(turn))));
    assert!(matches!(&asked[..], [Do::CancelExecution { id, .. }] if *id == child), "{asked:?}");
}

#[test]
fn everything_else_asks_for_nothing() {
    let facts = [
        Fact::Agent(agent::Event::Deleted {}),
        Fact::Notification(notification::Event::ResendRequested {}),
    ];
    for fact in facts {
        assert_eq!(react(&fact), [], "{fact:?}");
    }
}

#[test]
fn no_two_policies_share_a_name() {
    let names: std::collections::BTreeSet<&str> = POLICIES.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), POLICIES.len());
}
