//! Integrations: calls out with credentials that nobody sees again.

use serde_json::{Value, json};

use crate::documents::OPERATING;
use crate::fleet::ONE_CALL;
use crate::support::{Stub, World, eventually, ok};

const TOKEN: &str = "s3cr3t-t0k3n-nobody-may-see";

fn settings(url: &str) -> Value {
    json!({
        "description": "A tracker",
        "base_url": url,
        "auth": {"type": "bearer", "token": TOKEN},
        "operations": {
            "label": {
                "method": "POST",
                "path": "/items/{item}/labels",
                "headers": {"X-Sender": "everstep"},
                "body": {"labels": "{labels}"},
            },
        },
        "test": {"method": "GET", "path": "/ping"},
    })
}

fn tracker(url: &str) -> Value {
    let mut tracker = settings(url);
    tracker["name"] = json!("tracker");
    tracker
}

#[tokio::test]
async fn a_call_carries_the_credential_and_its_key() {
    let world = World::start().await;
    let (api, stub) = (world.api(), Stub::start().await);
    let id = api.create("/integrations", &tracker(stub.url())).await;
    let workflow = api.publish(OPERATING).await;
    let input = json!({"item": "a/b 1", "labels": ["bug", "urgent"]});
    let done = api.run(&workflow, &input).await;
    assert_eq!(done["status"], "completed", "{done}");

    let calls = stub.calls();
    assert_eq!(calls.len(), 1);
    let call = &calls[0];
    assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/items/a%2Fb%201/labels"));
    assert_eq!(call.header("authorization"), format!("Bearer {TOKEN}"));
    assert_eq!(call.header("x-sender"), "everstep");
    assert!(call.key().starts_with(done["id"].as_str().expect("an id")), "{}", call.key());
    assert_eq!(call.body, json!({"labels": ["bug", "urgent"]}));

    let logs = api.items(&format!("/integrations/{id}/logs")).await;
    assert_eq!(logs.len(), 1);
    let entry = &logs[0];
    assert_eq!((&entry["direction"], &entry["kind"]), (&json!("out"), &json!("label")));
    assert_eq!((&entry["outcome"], &entry["execution_id"]), (&json!("succeeded"), &done["id"]));

    stub.answer("/items/a%2Fb%201/labels", &[500]);
    let failed = api.run(&workflow, &input).await;
    assert_eq!((&failed["status"], &failed["error"]["status"]), (&json!("faulted"), &json!(500)));
    let logs = api.items(&format!("/integrations/{id}/logs")).await;
    assert_eq!(logs[0]["outcome"], "failed", "the newest first: {logs:?}");
}

#[tokio::test]
async fn a_secret_goes_in_and_never_comes_out() {
    let world = World::start().await;
    let (api, stub) = (world.api(), Stub::start().await);
    let created = api.post("/integrations", &tracker(stub.url())).await;
    let id = ok(&created, 201)["id"].as_str().expect("an id").to_owned();
    let path = format!("/integrations/{id}");
    let shown = api.get(&path).await;
    let secret = &shown.body["auth"]["secret"];
    assert!(secret["id"].is_string() && secret["fingerprint"].is_string(), "{}", shown.text);

    let kept = {
        let mut settings = settings(stub.url());
        settings["auth"] = json!({"type": "bearer"});
        settings["description"] = json!("The same secret");
        settings
    };
    let revised = api.put(&path, 1, &kept).await;
    assert_eq!(ok(&revised, 200)["revision"], 2);
    let after = api.get(&path).await;
    assert_eq!(&after.body["auth"]["secret"], secret, "left out, it stays");
    let tested = api.post(&format!("{path}/test"), &json!({})).await;
    assert_eq!(ok(&tested, 200)["ok"], true);
    assert_eq!(stub.calls()[0].header("authorization"), format!("Bearer {TOKEN}"));

    let list = api.get("/integrations").await;
    let logs = api.get(&format!("{path}/logs")).await;
    let trail = format!("{:?}", world.exported().await);
    for text in
        [&created.text, &shown.text, &after.text, &tested.text, &list.text, &logs.text, &trail]
    {
        assert!(!text.contains(TOKEN), "the secret shows: {text}");
    }
    assert!(trail.contains("integration.revised"), "{trail}");
    let mut none = kept.clone();
    none["auth"] = json!({"type": "none"});
    assert_eq!(api.put(&path, 1, &none).await.status, 412);
}

#[tokio::test]
async fn a_secret_does_not_go_along_to_another_host_or_use() {
    let world = World::start().await;
    let (api, stub, other) = (world.api(), Stub::start().await, Stub::start().await);
    let id = api.create("/integrations", &tracker(stub.url())).await;
    let path = format!("/integrations/{id}");
    let mut elsewhere = settings(other.url());
    elsewhere["auth"] = json!({"type": "bearer"});
    let mut otherwise = settings(stub.url());
    otherwise["auth"] = json!({"type": "header", "name": "x-key"});
    for (changed, pointer) in [(elsewhere, "/auth/token"), (otherwise, "/auth/value")] {
        let refused = api.put(&path, 1, &changed).await;
        assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!(pointer)));
    }
    assert_eq!(other.calls().len(), 0);
}

#[tokio::test]
async fn a_connection_can_be_tried() {
    let world = World::start().await;
    let (api, stub) = (world.api(), Stub::start().await);
    let id = api.create("/integrations", &tracker(stub.url())).await;
    let path = format!("/integrations/{id}");
    let test = format!("{path}/test");
    let good = ok(&api.post(&test, &json!({})).await, 200);
    assert_eq!((&good["ok"], &good["status"]), (&json!(true), &json!(200)));
    stub.answer("/ping", &[403]);
    let bad = ok(&api.post(&test, &json!({})).await, 200);
    assert_eq!((&bad["ok"], &bad["status"]), (&json!(false), &json!(403)));
    assert_eq!(api.body(&path).await["tested"]["status"], 403);
    drop(stub);
    let gone = ok(&api.post(&test, &json!({})).await, 200);
    assert_eq!((&gone["ok"], &gone["status"]), (&json!(false), &Value::Null));

    let outcomes: Vec<Value> = api.items(&format!("{path}/logs")).await;
    let outcomes: Vec<&Value> = outcomes.iter().map(|entry| &entry["outcome"]).collect();
    assert_eq!(outcomes, ["failed", "failed", "succeeded"]);
    assert_eq!(api.delete(&path, 4).await.status, 204);
    assert_eq!(ok(&api.get(&path).await, 404)["code"], "integration_not_found");
    assert_eq!(ok(&api.post(&test, &json!({})).await, 404)["code"], "integration_not_found");
}

#[tokio::test]
async fn a_private_address_that_nobody_allowed_is_not_called() {
    let world = World::with(&[("EVERSTEP_EGRESS_ALLOW", "")]).await;
    let (api, stub) = (world.api(), Stub::start().await);
    let id = api.create("/integrations", &tracker(stub.url())).await;
    let tried = ok(&api.post(&format!("/integrations/{id}/test"), &json!({})).await, 200);
    assert_eq!((&tried["ok"], &tried["status"]), (&json!(false), &Value::Null));
    let workflow = api.publish(OPERATING).await;
    let done = api.run(&workflow, &json!({"item": "1", "labels": []})).await;
    assert_eq!((&done["status"], &done["error"]["status"]), (&json!("faulted"), &json!(403)));
    assert!(stub.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_calls_are_under_way_at_an_integration_and_all_else_goes_by() {
    let world = World::with(&[("EVERSTEP_CALLS_PER_INTEGRATION", "2")]).await;
    let (api, stub) = (world.api(), Stub::start().await);
    api.create("/integrations", &tracker(stub.url())).await;
    let (operating, plain) = (api.publish(OPERATING).await, api.publish(ONE_CALL).await);
    stub.hold();
    let labelled = || stub.calls().iter().filter(|call| call.path.starts_with("/items")).count();
    let body = json!({"input": {"item": "a", "labels": ["bug"]}});
    for _ in 0..6 {
        ok(&api.post(&format!("/workflows/{operating}/execute"), &body).await, 202);
    }
    eventually("two calls", async || (labelled() == 2).then_some(())).await;
    let body = json!({"input": {"url": stub.url(), "number": 1}});
    ok(&api.post(&format!("/workflows/{plain}/execute"), &body).await, 202);
    eventually("a call that goes by", async || (stub.calls().len() > labelled()).then_some(()))
        .await;
    assert_eq!(labelled(), 2);
    stub.release();
    eventually("the end of all executions", async || {
        let all = api.items("/executions").await;
        let done = all.iter().filter(|one| one["status"] == "completed").count();
        (done == 7).then_some(())
    })
    .await;
    assert_eq!(labelled(), 6);
}
