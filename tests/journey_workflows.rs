//! Workflows over HTTP: published, looked at, changed in versions, deleted.

use reqwest::Method;
use serde_json::{Value, json};

use crate::documents::{ECHO, SLEEPER, versioned};
use crate::support::{World, ok};

#[tokio::test]
async fn a_workflow_is_published_once_and_shown_as_its_author_wrote_it() {
    let world = World::start().await;
    let api = world.api();
    let dry = ok(&api.post_document("/workflows?dryRun=true", ECHO).await, 200);
    assert_eq!(dry["valid"], true);
    assert_eq!(api.items("/workflows").await, Vec::<Value>::new());

    let made = api.post_document("/workflows", ECHO).await;
    let body = ok(&made, 201);
    assert_eq!((&body["namespace"], &body["name"]), (&json!("tests"), &json!("echo")));
    assert_eq!((&body["version"], &body["revision"]), (&json!("1.0.0"), &json!(1)));
    let path = format!("/workflows/{}", body["id"].as_str().expect("an id"));
    assert_eq!(made.header("location"), Some(format!("/api/v1{path}").as_str()));
    assert_eq!(made.version(), Some(1));
    assert_eq!(ok(&api.post_document("/workflows", ECHO).await, 409)["code"], "workflow_exists");

    api.publish(SLEEPER).await;
    let listed = api.items("/workflows").await;
    let names: Vec<&Value> = listed.iter().map(|item| &item["name"]).collect();
    assert_eq!(names, ["sleeper", "echo"], "the newest first");
    let found = api.items("/workflows?namespace=tests&name=echo").await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["title"], "Echo");
    assert_eq!(api.items("/workflows?namespace=elsewhere").await, Vec::<Value>::new());

    let shown = api.get(&path).await;
    assert_eq!(shown.version(), Some(1));
    assert_eq!(shown.body["document"], ECHO);
    assert_eq!(shown.body["versions"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_change_makes_a_new_version_and_executions_may_still_use_the_old_one() {
    let world = World::start().await;
    let api = world.api();
    let id = api.publish(ECHO).await;
    let path = format!("/workflows/{id}");
    let next = versioned(ECHO, "1.1.0").replace("echoed", "said");

    let blind = api.document(Method::PUT, &path, &next, None).await;
    assert_eq!(ok(&blind, 428)["code"], "precondition_required");
    let stale = ok(&api.document(Method::PUT, &path, &next, Some(7)).await, 412);
    assert_eq!(
        (&stale["code"], &stale["current_version"]),
        (&json!("precondition_failed"), &json!(1))
    );

    let same = api.document(Method::PUT, &path, ECHO, Some(1)).await;
    assert_eq!(ok(&same, 200)["revision"], 1);
    assert_eq!(same.version(), Some(1), "the same again changes nothing");
    let other = ECHO.replace("echoed", "twisted");
    let refused = ok(&api.document(Method::PUT, &path, &other, Some(1)).await, 409);
    assert_eq!(refused["code"], "workflow_version_exists");

    let changed = api.document(Method::PUT, &path, &next, Some(1)).await;
    assert_eq!(ok(&changed, 200)["revision"], 2);
    assert_eq!(changed.version(), Some(2));
    let older = versioned(ECHO, "1.0.5");
    let refused = ok(&api.document(Method::PUT, &path, &older, Some(2)).await, 409);
    assert_eq!(refused["code"], "workflow_version_not_newer");

    assert_eq!(api.body(&path).await["document"], next.as_str());
    assert_eq!(api.body(&format!("{path}?version=1.0.0")).await["document"], ECHO);
    assert_eq!(api.get(&format!("{path}?version=9.9.9")).await.status, 404);

    let execute = format!("{path}/execute?wait=60s");
    let newest = ok(&api.post(&execute, &json!({"input": 1})).await, 200);
    assert_eq!((&newest["output"], &newest["revision"]), (&json!({"said": 1}), &json!(2)));
    let pinned = json!({"input": 1, "version": "1.0.0"});
    let older = ok(&api.post(&execute, &pinned).await, 200);
    assert_eq!(older["output"], json!({"echoed": 1}));
    assert_eq!((&older["workflow_version"], &older["revision"]), (&json!("1.0.0"), &json!(1)));
    let missing = ok(&api.post(&execute, &json!({"version": "3.0.0"})).await, 404);
    assert_eq!(missing["code"], "workflow_version_not_found");
}

#[tokio::test]
async fn a_deleted_workflow_starts_nothing_and_lets_what_runs_run_on() {
    let world = World::start().await;
    let api = world.api();
    let id = api.publish(SLEEPER).await;
    let path = format!("/workflows/{id}");
    let running = api.start(&id, &Value::Null).await;

    let blind = api.send(api.request(Method::DELETE, &path)).await;
    assert_eq!(ok(&blind, 428)["code"], "precondition_required");
    assert_eq!(api.delete(&path, 9).await.status, 412);
    assert_eq!(api.delete(&path, 1).await.status, 204);

    assert_eq!(ok(&api.get(&path).await, 404)["code"], "workflow_not_found");
    assert_eq!(api.items("/workflows").await, Vec::<Value>::new());
    let refused = ok(&api.post(&format!("{path}/execute"), &json!({})).await, 404);
    assert_eq!(refused["code"], "workflow_not_found");
    assert_eq!(ok(&api.delete(&path, 2).await, 404)["code"], "workflow_not_found");
    api.until(&running, |execution| execution["status"] == "waiting").await;

    let again = ok(&api.post_document("/workflows", &versioned(SLEEPER, "2.0.0")).await, 201);
    assert_eq!(again["id"], id.as_str(), "the name is the identity");
}

#[tokio::test]
async fn a_repeated_command_is_answered_again_and_done_once() {
    let world = World::start().await;
    let api = world.api();
    let post = async |document: &str| {
        let request = api.request(Method::POST, "/workflows").header("idempotency-key", "k-1");
        let request = request.header("content-type", "application/yaml");
        api.send(request.body(document.to_owned())).await
    };
    let first = post(ECHO).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (201, None));
    let again = post(ECHO).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (201, Some("true")));
    assert_eq!(again.text, first.text);
    for field in ["etag", "location", "x-position"] {
        assert_eq!(again.header(field), first.header(field), "{field}");
    }
    assert_eq!(ok(&post(SLEEPER).await, 422)["code"], "idempotency_key_reused");
    assert_eq!(api.items("/workflows").await.len(), 1);
}
