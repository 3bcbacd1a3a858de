//! The log emitted again: whole, in order, once, for whoever may see it, and with no effects.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use testkit::rabbitmq::Broker;

use crate::documents::ECHO;
use crate::support::{Api, World, eventually, ok};

/// What nobody but Ada is called.
const CANARY: &str = "ada.lovelace@example.com";

/// Some executions, one of them about a person.
async fn history(api: &Api, executions: usize) {
    let echo = api.publish(ECHO).await;
    for number in 0..executions {
        api.run(&echo, &json!({"n": number})).await;
    }
    let body = json!({"input": {"to": CANARY}, "subject": CANARY});
    let started = ok(&api.post(&format!("/workflows/{echo}/execute"), &body).await, 202);
    let id = started["id"].as_str().expect("an id");
    let execution = format!("/workflows/{echo}/executions/{id}");
    api.until(&execution, |execution| execution["status"] == "completed").await;
}

fn positions(text: &str) -> Vec<i64> {
    let position = |line: &str| {
        let event: Value = serde_json::from_str(line).expect("a line of JSON");
        event["position"].as_str().expect("a position").parse().expect("a number")
    };
    text.lines().map(position).collect()
}

fn spawn(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("it starts")
}

fn kill(child: &mut Child) {
    child.kill().expect("it is killed");
    child.wait().expect("it is gone");
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test]
async fn events_go_out_as_lines_opened_and_without_those_who_were_erased() {
    let world = World::start().await;
    let api = world.api();
    history(&api, 3).await;
    let head = world.head().await;
    let all = world.run(&["replay", "--to", "ndjson"]).await;
    assert_eq!(all.code, 0, "{all:?}");
    assert_eq!(positions(&all.out), (1..=head).collect::<Vec<_>>());
    assert!(all.out.contains(CANARY), "personal values are opened");
    for line in all.out.lines() {
        let event: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(event["specversion"], "1.0");
        assert!(event.get("datasalt").is_none(), "that is for audits: {line}");
    }

    let only = ["replay", "--to", "ndjson", "--type", "execution.started", "--from", "2"];
    let some = world.run(&only).await;
    let expected: Vec<&str> = all
        .out
        .lines()
        .skip(1)
        .filter(|line| line.contains(r#""type":"execution.started""#))
        .collect();
    assert_eq!(some.out.lines().collect::<Vec<_>>(), expected);
    let nobody = "00000000-0000-0000-0000-000000000000";
    let none = world.run(&["replay", "--to", "ndjson", "--tenant", nobody]).await;
    assert_eq!((none.code, none.out.as_str()), (0, ""), "{none:?}");
    let early = world.run(&["replay", "--to", "ndjson", "--until", "4"]).await;
    assert_eq!(positions(&early.out), [1, 2, 3, 4]);

    let erased = world.run(&["subject", "erase", CANARY]).await;
    assert_eq!(erased.code, 0, "{erased:?}");
    let after = eventually("the erasure", async || {
        let all = world.run(&["replay", "--to", "ndjson"]).await;
        (all.code == 0 && !all.out.contains(CANARY)).then_some(all)
    })
    .await;
    assert!(positions(&after.out).len() > all.out.lines().count());
    assert_eq!(world.run(&["replay", "--verify"]).await.code, 0);
}

#[tokio::test]
async fn a_file_is_gone_on_with_after_a_kill_and_nothing_is_there_twice_or_missing() {
    let world = World::start().await;
    history(&world.api(), 12).await;
    let head = world.head().await;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("events.ndjson");
    let file = path.to_str().expect("a path");
    let until = head.to_string();
    let slow = ["replay", "--to", "ndjson", "--file", file, "--until", &until, "--rate", "20"];
    let mut child = spawn(world.server.setup().command(&slow));
    eventually("some lines", async || (text(&path).lines().count() >= 5).then_some(())).await;
    let busy = world.run(&slow).await;
    assert_eq!(busy.code, 5, "two cannot write one file: {busy:?}");
    kill(&mut child);
    let before = text(&path);
    assert!(i64::try_from(before.lines().count()).expect("few") < head, "it was killed too late");

    // A line that was cut off, as a kill within a write leaves it.
    let whole = before.lines().map(|line| format!("{line}\n")).collect::<Vec<_>>();
    let torn = format!("{}{}", whole[..3].concat(), &whole[3][..whole[3].len() / 2]);
    fs::write(&path, torn).expect("written");
    let rest = ["replay", "--to", "ndjson", "--file", file, "--until", &until];
    let done = world.run(&rest).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(positions(&text(&path)), (1..=head).collect::<Vec<_>>());
    let whole = text(&path);
    assert_eq!(world.run(&rest).await.code, 0);
    assert_eq!(text(&path), whole, "there was nothing left to add");

    // What is not of this replay is left alone.
    let other = world.run(&["replay", "--to", "ndjson", "--file", file, "--until", "3"]).await;
    assert_eq!(other.code, 2, "{other:?}");
    assert_eq!(text(&path), whole);
    fs::write(&path, "dear diary\n").expect("written");
    for more in [&rest[..], &[&rest[..], &["--restart"]].concat()] {
        let foreign = world.run(more).await;
        assert_eq!(foreign.code, 2, "{foreign:?}");
        assert_eq!(text(&path), "dear diary\n");
    }
    fs::write(&path, &whole).expect("written");
    let again = world.run(&[&rest[..], &["--restart"]].concat()).await;
    assert_eq!((again.code, text(&path)), (0, whole), "{again:?}");
}

#[tokio::test]
async fn flags_that_say_nothing_to_a_replay_are_refused() {
    let world = World::start().await;
    for wrong in [
        &["replay", "--from", "1"][..],
        &["replay", "--to", "ndjson", "--verify"],
        &["replay", "--to", "ndjson", "--exchange", "x"],
        &["replay", "--to", "amqp", "--file", "x"],
        &["replay", "--to", "amqp"],
        &["replay", "--to", "ndjson", "--from", "0"],
        &["replay", "--to", "ndjson", "--from", "3", "--until", "2"],
        &["replay", "--to", "ndjson", "--until", "999999"],
        &["replay", "--to", "ndjson", "--restart"],
    ] {
        let refused = world.run(wrong).await;
        assert_eq!(refused.code, 2, "{wrong:?}: {refused:?}");
    }
}

#[tokio::test]
async fn a_broker_gets_every_event_in_order_over_kills_and_nothing_else_happens() {
    let broker = Broker::start().await.expect("a broker");
    let url = broker.url();
    let world = World::with(&[("EVERSTEP_AMQP_URL", &url)]).await;
    let api = world.api();
    history(&api, 12).await;
    let head = world.head().await;
    let until = head.to_string();
    let missing = ["replay", "--to", "amqp", "--exchange", "everstep", "--until", &until];
    let refused = world.run(&missing).await;
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.err.contains("'everstep'"), "{refused:?}");
    assert!(!format!("{refused:?}").contains(Broker::PASSWORD), "{refused:?}");

    broker.bind("everstep", "all", "#").await.expect("a queue");
    let slow = [&missing[..], &["--rate", "20"]].concat();
    let mut child = spawn(world.server.setup().command(&slow));
    eventually("some messages", async || {
        broker.depth("all").await.is_ok_and(|depth| depth >= 20).then_some(())
    })
    .await;
    let busy = world.run(&missing).await;
    assert_eq!(busy.code, 5, "two cannot be at one replay: {busy:?}");
    kill(&mut child);
    let done = world.run(&[&missing[..], &["-o", "json"]].concat()).await;
    assert_eq!(done.code, 0, "{done:?}");
    let told: Value = serde_json::from_str(&done.out).expect("JSON");
    assert!(told["events"].as_i64().expect("a count") < head, "it began anew: {told}");

    let messages = broker.drain("all").await.expect("messages");
    let mut seen = BTreeSet::new();
    let lines = world.run(&["replay", "--to", "ndjson", "--until", &until]).await.out;
    let lines: Vec<&str> = lines.lines().collect();
    let mut first = vec![];
    for message in &messages {
        let properties = &message.properties;
        let event: Value = serde_json::from_slice(&message.body).expect("JSON");
        let id = properties.message_id().as_ref().expect("an id").to_string();
        assert_eq!(event["id"], id.as_str());
        assert_eq!(event["type"], message.routing_key.as_str());
        assert_eq!(*properties.delivery_mode(), Some(2), "it is persistent");
        assert_eq!(message.header("everstep-replay").as_deref(), Some("true"));
        assert_eq!(message.header("everstep-replay-id").as_deref(), told["replay"].as_str());
        let content_type = properties.content_type().as_ref().expect("a type").to_string();
        assert!(content_type.starts_with("application/cloudevents+json"), "{content_type}");
        if seen.insert(id) {
            first.push(String::from_utf8(message.body.clone()).expect("UTF-8"));
        }
    }
    assert_eq!(first, lines, "each event, and those that came twice are known by their ids");

    assert_eq!(world.head().await, head, "nothing was appended, so nothing was driven");
    let again = world.run(&[&missing[..], &["-o", "json"]].concat()).await;
    let told: Value = serde_json::from_str(&again.out).expect("JSON");
    assert_eq!((again.code, &told["events"]), (0, &json!(0)), "{again:?}");
    let keyed = [&missing[..], &["--restart", "--type", "execution.started"]].concat();
    let keyed = world.run(&keyed).await;
    assert_eq!(keyed.code, 0, "{keyed:?}");
    let started = broker.drain("all").await.expect("messages");
    assert!(!started.is_empty() && started.iter().all(|m| m.routing_key == "execution.started"));
}
