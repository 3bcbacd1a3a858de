//! Workflows that run workflows, and calls that are tried again.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::documents::{ECHO, PARENT, PATIENT, RETRIER, SLEEPER};
use crate::support::{Api, Call, Stub, World};

/// The path of the one execution of a workflow.
async fn only_execution(api: &Api, workflow: &str) -> String {
    let list = format!("/workflows/{workflow}/executions");
    let listed =
        api.until(&list, |page| page["items"].as_array().is_some_and(|all| !all.is_empty()));
    let items = listed.await["items"].clone();
    assert_eq!(items.as_array().map(Vec::len), Some(1), "{items}");
    format!("{list}/{}", items[0]["id"].as_str().expect("an id"))
}

#[tokio::test]
async fn a_parent_goes_on_with_what_its_child_gave() {
    let world = World::start().await;
    let api = world.api();
    let child = api.publish(ECHO).await;
    let parent = api.publish(PARENT).await;
    let done = api.run(&parent, &json!({"number": 3})).await;
    assert_eq!(done["status"], "completed", "{done}");
    let given = json!({"from": "parent", "number": 3});
    assert_eq!(done["output"], json!({"child": {"echoed": given}}));
    let ran = api.body(&only_execution(&api, &child).await).await;
    assert_eq!((&ran["status"], &ran["input"]), (&json!("completed"), &given));
    assert_eq!(ran["trigger"]["type"], "workflow");
    assert_eq!(ran["trigger"]["execution"], done["id"]);
}

#[tokio::test]
async fn a_cancelled_parent_takes_its_child_along() {
    let world = World::start().await;
    let api = world.api();
    let child = api.publish(SLEEPER).await;
    let parent = api.publish(PATIENT).await;
    let path = api.start(&parent, &Value::Null).await;
    let sleeping = only_execution(&api, &child).await;
    let why = api.body(&path).await["why"][0].clone();
    assert_eq!((&why["waits_for"], &why["task"]), (&json!("workflow"), &json!("/do/0/delegate")));
    api.until(&sleeping, |execution| execution["status"] == "waiting").await;
    assert_eq!(api.post(&format!("{path}/cancel"), &json!({})).await.status, 202);
    let ended = api.until(&sleeping, |execution| execution["status"] == "cancelled").await;
    assert_eq!(ended["why"], json!([]));
}

#[tokio::test]
async fn a_parent_whose_child_is_cancelled_hears_of_it() {
    let world = World::start().await;
    let api = world.api();
    let child = api.publish(SLEEPER).await;
    let parent = api.publish(PATIENT).await;
    let path = api.start(&parent, &Value::Null).await;
    let sleeping = only_execution(&api, &child).await;
    assert_eq!(api.post(&format!("{sleeping}/cancel"), &json!({})).await.status, 202);
    let ended = api.until(&path, |execution| execution["status"] == "faulted").await;
    assert_eq!(ended["error"]["instance"], "/do/0/delegate");
}

#[tokio::test]
async fn a_call_that_was_refused_is_tried_again_with_another_key() {
    let world = World::start().await;
    let (api, stub) = (world.api(), Stub::start().await);
    let id = api.publish(RETRIER).await;
    stub.answer("/shaky", &[503, 503]);
    let done = api.run(&id, &json!({"url": format!("{}/shaky", stub.url())})).await;
    assert_eq!(done["status"], "completed", "{done}");
    assert_eq!(done["output"], json!({"path": "/shaky", "got": {"wanted": true}}));
    let calls = stub.calls();
    assert_eq!(calls.len(), 3);
    let keys: BTreeSet<&str> = calls.iter().map(Call::key).collect();
    assert_eq!(keys.len(), 3, "a definite failure earns a new key: {keys:?}");

    stub.answer("/gone", &[503, 503, 503, 503, 503]);
    let done = api.run(&id, &json!({"url": format!("{}/gone", stub.url())})).await;
    assert_eq!(
        (&done["status"], &done["output"]),
        (&json!("completed"), &json!({"gave_up": true}))
    );
    assert_eq!(stub.calls().len(), 3 + 4, "four attempts, no more");

    stub.answer("/broken", &[500]);
    let done = api.run(&id, &json!({"url": format!("{}/broken", stub.url())})).await;
    assert_eq!((&done["status"], &done["error"]["status"]), (&json!("faulted"), &json!(500)));
    assert_eq!(stub.calls().len(), 3 + 4 + 1, "what is not caught is not tried again");
}
