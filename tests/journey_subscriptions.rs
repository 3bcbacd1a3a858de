//! Subscriptions by the command line: how far they are, who works on them, and what to do about an
//! event that they cannot go on with.

use std::process::{Child, Command, Stdio};

use domain::{Actor, Id};
use eventstore::{
    Append, Clock, Draft, EventStore, Expected, Metadata, Role, StreamAppend, StreamId,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{World, eventually};

/// The `policies` as `subscription list` shows them.
async fn policies(world: &World) -> Value {
    let listed = world.run(&["subscription", "list", "-o", "json"]).await;
    assert_eq!(listed.code, 0, "{listed:?}");
    let listed: Value = serde_json::from_str(&listed.out).expect("JSON");
    let items = listed["items"].as_array().expect("a list");
    items.iter().find(|one| one["name"] == "policies").expect("is there").clone()
}

/// How many slices each worker has.
fn shares(policies: &Value) -> Vec<usize> {
    let mut shares = std::collections::BTreeMap::<&str, usize>::new();
    for slice in policies["slices"].as_array().expect("a list") {
        if let Some(owner) = slice["owner"].as_str() {
            *shares.entry(owner).or_default() += 1;
        }
    }
    shares.into_values().collect()
}

/// A delivery of a webhook, as a newer release writes it, and one more event behind it.
async fn of_a_newer_release(world: &World) -> (Uuid, i64) {
    let pool = world.pool_as(Role::Command).await;
    let clock = Clock::of(&pool).await.expect("the time");
    let stream = Uuid::new_v4();
    let draft = |name: &str, schema| Draft {
        id: Uuid::new_v4(),
        name: name.to_owned(),
        schema,
        body: "{}".to_owned(),
        opened: None,
        fact: None,
    };
    let tenant = Id::from_uuid(Uuid::new_v4());
    let meta = Metadata {
        tenant,
        actor: Actor::System,
        correlation: clock.id(),
        causation: clock.id(),
        traceparent: None,
        at: clock.now(),
    };
    let events = vec![draft("agent.deleted", 99), draft("agent.deleted", 1)];
    let stream_id = StreamId { tenant, category: "agent", id: stream };
    let streams =
        vec![StreamAppend { stream: stream_id, expected: Expected::None, subject: None, events }];
    let append = Append { meta, streams, reply: None, fence: None };
    let done = world.log().await.append(append).await.expect("appends");
    (stream, done.position - 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_handled_is_shown_and_skipped_on_purpose() {
    let world = World::start().await;
    let (stream, position) = of_a_newer_release(&world).await;
    let suspended = eventually("the stream is suspended", async || {
        let policies = policies(&world).await;
        (policies["parked"] == 1 && policies["lag_events"] == 0).then_some(policies)
    })
    .await;
    assert_eq!(suspended["error"], Value::Null, "everything else goes on");
    assert_eq!(suspended["lag_seconds"], 0);
    let shown = world.run(&["subscription", "parked", "policies", "-o", "json"]).await;
    let shown: Value = serde_json::from_str(&shown.out).expect("JSON");
    let row = &shown["items"][0];
    assert_eq!((&row["stream"], &row["position"]), (&json!(stream), &json!(position)));
    assert_eq!((&row["cause"], &row["tries"]), (&json!("newer"), &json!(1)));
    assert_eq!(row["reason"], "agent.deleted v99 was written by a newer release");

    let other = Uuid::new_v4().to_string();
    let position = position.to_string();
    for (args, code) in [
        (vec!["parked", "nobody"], 3),
        (vec!["retry", "policies", &other], 3),
        (vec!["skip", "policies", "1", "--reason", "why"], 3),
        (vec!["skip", "policies", &position], 2),
        (vec!["skip", "policies", &position, "--reason", ""], 2),
    ] {
        let ended = world.run(&[vec!["subscription"], args.clone()].concat()).await;
        assert_eq!(ended.code, code, "{args:?}: {ended:?}");
    }
    let tried = world.run(&["subscription", "retry", "policies"]).await;
    assert!(tried.out.starts_with("1 stream will be tried again"), "{tried:?}");
    let skip = ["subscription", "skip", "policies", &position, "--reason", "of no use"];
    assert_eq!(world.run(&skip).await.code, 0);
    eventually("the stream goes on", async || {
        (policies(&world).await["parked"] == 0).then_some(())
    })
    .await;
    let shown = ["subscription", "parked", "policies", "--skipped", "-o", "json"];
    let shown: Value = serde_json::from_str(&world.run(&shown).await.out).expect("JSON");
    assert_eq!(shown["items"][0]["reason"], "of no use");
    assert_eq!(shown["items"][0]["stream"], json!(stream));
}

/// Another process that works on the same database.
struct Worker(Child);

impl Worker {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("starts"))
    }

    fn kill(&mut self) {
        self.0.kill().expect("is killed");
        self.0.wait().expect("ends");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_share_a_subscription_and_take_over_from_one_that_is_killed() {
    let world = World::start().await;
    let url = world.server.dev().database_url.clone();
    let work = ["work", "--database-url", &url];
    let mut worker = Worker::start(world.server.setup().command(&work));
    eventually("a fair share each", async || {
        (shares(&policies(&world).await) == [8, 8]).then_some(())
    })
    .await;
    worker.kill();
    eventually("all slices have an owner again", async || {
        (shares(&policies(&world).await) == [16]).then_some(())
    })
    .await;
}
