//! Starts that are decided on what was known a moment ago, when something has changed since.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Api, World, ok};

const WORKFLOW: &str = "
document: {dsl: 1.0.3, namespace: starts, name: greet, version: 1.0.0}
do: [{greet: {set: {hello: '${ .name }'}}}]
";

/// An instance with a workflow that has run for a key that may be revoked; the admin, whoever has the
/// key, the key, and where the workflow is run.
async fn known() -> (World, Api, Api, String, String) {
    let world = World::start().await;
    let admin = world.api();
    let workflow = admin.publish(WORKFLOW).await;
    let asked = json!({"name": "theirs", "access": "write"});
    let made = ok(&admin.post("/auth/api-keys", &asked).await, 201);
    let user = world.api_with(made["token"].as_str().map(str::to_owned));
    user.run(&workflow, &json!({"name": "Ada"})).await;
    let key = format!("/auth/api-keys/{}", made["id"].as_str().expect("an id"));
    (world, admin, user, key, format!("/workflows/{workflow}/execute"))
}

#[tokio::test]
async fn a_key_that_was_revoked_a_moment_ago_starts_nothing_and_is_told_nothing() {
    let (world, admin, user, key, execute) = known().await;
    let good = json!({"input": {"name": "Bob"}});
    ok(&user.post_once(&execute, "once", &good).await, 202);
    assert_eq!(admin.send(admin.request(Method::DELETE, &key)).await.status, 204);
    let head = world.head().await;
    let waited = format!("{execute}?wait=soon");
    let about = json!({"input": {}, "subject": "somebody"});
    for (path, body) in [
        (&execute, &good),
        (&execute, &json!({"unknown": 1})),
        (&execute, &json!({"version": "9.9.9"})),
        (&execute, &about),
        (&waited, &good),
    ] {
        assert_eq!(user.post(path, body).await.status, 401, "{path} {body}");
    }
    assert_eq!(user.post_once(&execute, "once", &good).await.status, 401);
    assert_eq!(world.head().await, head, "nothing was started");
}

#[tokio::test]
async fn a_workflow_that_was_changed_a_moment_ago_runs_as_it_is_now() {
    let (_world, admin, user, _, execute) = known().await;
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
