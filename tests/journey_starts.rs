//! Starts that are decided on what was known a moment ago, when something has changed since.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Api, World, ok};

const WORKFLOW: &str = "
document: {dsl: 1.0.3, namespace: starts, name: greet, version: 1.0.0}
do: [{greet: {set: {hello: '${ .name }'}}}]
";

/// An instance with a workflow; the admin, and where the workflow is run.
async fn published() -> (World, Api, String) {
    let world = World::start().await;
    let admin = world.api();
    let workflow = admin.publish(WORKFLOW).await;
    (world, admin, format!("/workflows/{workflow}/execute"))
}

/// Somebody with a key of their own who has just run the workflow, and the path of the key.
async fn known(world: &World, execute: &str) -> (Api, String) {
    let asked = json!({"name": "theirs", "access": "write"});
    let made = ok(&world.api().post("/auth/api-keys", &asked).await, 201);
    let user = world.api_with(made["token"].as_str().map(str::to_owned));
    ok(&user.post_once(execute, "once", &good()).await, 202);
    (user, format!("/auth/api-keys/{}", made["id"].as_str().expect("an id")))
}

fn good() -> Value {
    json!({"input": {"name": "Ada"}})
}

#[tokio::test]
async fn a_key_that_was_revoked_a_moment_ago_starts_nothing_and_is_told_nothing() {
    let (world, admin, execute) = published().await;
    let waited = format!("{execute}?wait=soon");
    let cases = [
        ("fresh", &execute, good()),
        ("once", &execute, good()),
        ("once", &execute, json!({"input": "another"})),
        ("fresh", &execute, json!({"unknown": 1})),
        ("fresh", &execute, json!({"version": "9.9.9"})),
        ("fresh", &execute, json!({"input": {}, "subject": "somebody"})),
        ("fresh", &execute, json!({"input": "x".repeat(2 * 1024 * 1024)})),
        ("fresh", &waited, good()),
    ];
    for (name, path, body) in cases {
        // Each has a key that was good when this process last looked.
        let (user, key) = known(&world, &execute).await;
        assert_eq!(admin.send(admin.request(Method::DELETE, &key)).await.status, 204);
        let head = world.head().await;
        let answer = user.post_once(path, name, &body).await;
        assert_eq!(answer.status, 401, "{name} {path} {:.99}", body.to_string());
        assert_eq!(world.head().await, head, "nothing was started");
    }
}

#[tokio::test]
async fn a_workflow_that_was_changed_a_moment_ago_runs_as_it_is_now() {
    let (world, admin, execute) = published().await;
    let (user, _) = known(&world, &execute).await;
    let workflow = execute.trim_end_matches("/execute");
    let id = workflow.trim_start_matches("/workflows/");
    let newer = WORKFLOW.replace("1.0.0", "2.0.0").replace("hello", "goodbye");
    ok(&admin.document(Method::PUT, workflow, &newer, Some(1)).await, 200);
    let ran = user.run(id, &json!({"name": "Ada"})).await;
    assert_eq!((&ran["output"], &ran["revision"]), (&json!({"goodbye": "Ada"}), &json!(2)));

    assert_eq!(admin.delete(workflow, 2).await.status, 204);
    let refused = ok(&user.post(&execute, &json!({"input": Value::Null})).await, 404);
    assert_eq!(refused["code"], "workflow_not_found");
}
