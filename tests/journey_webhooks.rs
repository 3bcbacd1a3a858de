//! Webhooks in: believed for their signature alone, taken once, each starting an execution.

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use testkit::github::Delivery;
use testkit::webhook::{github_signature, standard_signature};
use uuid::Uuid;

use crate::documents::HOOKED;
use crate::support::{Api, World, ok};

const GITHUB_SECRET: &str = "It's a Secret to Everybody";
const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=";

/// An integration whose deliveries start `tests/hooked`: its id, and where they go.
async fn hook(api: &Api, webhook: &Value) -> (String, String) {
    let body = json!({"name": "sender", "base_url": "https://example.com", "webhook": webhook});
    let made = ok(&api.post("/integrations", &body).await, 201);
    let text = |name: &str| made[name].as_str().expect("text").to_owned();
    assert_eq!(text("webhook_url"), format!("/api/v1/webhooks/{}", text("id")));
    (text("id"), text("webhook_url"))
}

/// A delivery as anybody may send it: without a token.
fn post(api: &Api, path: &str) -> RequestBuilder {
    api.at_root(Method::POST, path)
}

#[tokio::test]
async fn a_delivery_of_github_starts_one_execution_however_often_it_comes() {
    let world = World::start().await;
    let api = world.api();
    let workflow = api.publish(HOOKED).await;
    let starts = json!({"namespace": "tests", "name": "hooked"});
    let webhook = json!({
        "scheme": "github_sha256", "secret": GITHUB_SECRET, "starts": starts, "events": ["issues"],
    });
    let (id, path) = hook(&api, &webhook).await;

    let delivery = Delivery::new("issues", "one", r#"{"action": "opened",  "number": 1}"#);
    let first = api.send(delivery.sign(post(&api, &path), GITHUB_SECRET)).await;
    let taken = ok(&first, 202);
    assert_eq!(taken["status"], "accepted");
    for _ in 0..3 {
        let again = ok(&api.send(delivery.sign(post(&api, &path), GITHUB_SECRET)).await, 200);
        assert_eq!(
            (&again["status"], &again["delivery_id"]),
            (&json!("duplicate"), &taken["delivery_id"])
        );
    }
    let other = Delivery::new("star", "two", r#"{"action": "created"}"#);
    ok(&api.send(other.sign(post(&api, &path), GITHUB_SECRET)).await, 202);

    let list = format!("/workflows/{workflow}/executions");
    let page = api.until(&list, |page| page["items"][0]["status"] == "completed").await;
    assert_eq!(page["items"].as_array().map(Vec::len), Some(1), "only `issues` start it");
    let execution = &page["items"][0];
    assert_eq!(execution["trigger"]["type"], "webhook");
    assert_eq!(execution["trigger"]["delivery"], taken["delivery_id"]);
    let path = format!("{list}/{}", execution["id"].as_str().expect("an id"));
    let output = api.body(&path).await["output"].clone();
    let wanted =
        json!({"event": "issues", "delivery": delivery.id.to_string(), "action": "opened"});
    assert_eq!(output, wanted);

    let logs = api.items(&format!("/integrations/{id}/logs")).await;
    let kinds: Vec<&Value> = logs.iter().map(|entry| &entry["kind"]).collect();
    assert_eq!(kinds, ["star", "issues"], "duplicates leave no trace");
    assert_eq!((&logs[0]["direction"], &logs[0]["outcome"]), (&json!("in"), &json!("received")));
}

#[tokio::test]
async fn a_delivery_that_cannot_be_believed_changes_nothing() {
    let world = World::start().await;
    let api = world.api();
    let webhook = json!({"scheme": "github_sha256", "secret": GITHUB_SECRET});
    let (_, path) = hook(&api, &webhook).await;
    let before = world.head().await;
    let body = r#"{"action": "opened"}"#;
    let delivery = Delivery::new("issues", "one", body);
    let unsigned =
        || post(&api, &path).header("x-github-event", "issues").header("x-github-delivery", "7");
    let signed = |value: String| unsigned().header("x-hub-signature-256", value).body(body);
    let fitting = github_signature(GITHUB_SECRET, body.as_bytes());
    for (what, request) in [
        ("wrong secret", delivery.sign(post(&api, &path), "another secret entirely")),
        ("no signature", unsigned().body(body)),
        ("empty signature", signed(String::new())),
        ("not hex", signed("sha256=zz".to_owned())),
        ("cut short", signed(fitting[..40].to_owned())),
        ("sha1", signed(fitting.replace("sha256=", "sha1="))),
        (
            "another body",
            unsigned().header("x-hub-signature-256", &fitting).body(format!("{body} ")),
        ),
        ("no id", post(&api, &path).header("x-hub-signature-256", &fitting).body(body)),
    ] {
        let answer = api.send(request).await;
        assert_eq!((what, answer.status), (what, 401), "{}", answer.text);
        assert_eq!(answer.body["code"], "webhook_signature_invalid", "{what}");
    }
    let nowhere = format!("/api/v1/webhooks/{}", Uuid::new_v4());
    for path in [nowhere.as_str(), "/api/v1/webhooks/not-an-id"] {
        let answer = api.send(delivery.sign(post(&api, path), GITHUB_SECRET)).await;
        assert_eq!(ok(&answer, 404)["code"], "webhook_not_found");
    }
    let silent = json!({"name": "silent", "base_url": "https://example.com"});
    let silent = api.create("/integrations", &silent).await;
    let path = format!("/api/v1/webhooks/{silent}");
    let answer = api.send(delivery.sign(post(&api, &path), GITHUB_SECRET)).await;
    assert_eq!(ok(&answer, 404)["code"], "webhook_not_found", "it takes no webhooks");
    assert_eq!(world.head().await, before + 1, "one integration, and nothing else");
}

#[tokio::test]
async fn standard_webhooks_are_taken_once_and_only_while_they_are_fresh() {
    let world = World::start().await;
    let api = world.api();
    let workflow = api.publish(HOOKED).await;
    let starts = json!({"namespace": "tests", "name": "hooked"});
    let webhook = json!({
        "scheme": "standard_webhooks", "secret": STANDARD_SECRET, "starts": starts,
    });
    let (_, path) = hook(&api, &webhook).await;
    let body = r#"{"type": "invoice.paid", "action": "paid"}"#;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let now = i64::try_from(now).expect("before the sun goes out");
    let send = async |id: &str, stamp: i64, signature: &str| {
        let request = post(&api, &path).header("webhook-id", id);
        let request = request.header("webhook-timestamp", stamp.to_string());
        api.send(request.header("webhook-signature", signature).body(body)).await
    };
    let sign =
        |id: &str, stamp: i64| standard_signature(STANDARD_SECRET, id, stamp, body.as_bytes());

    let rotated = format!("v1,AAAA {}", sign("msg_1", now));
    assert_eq!(ok(&send("msg_1", now, &rotated).await, 202)["status"], "accepted");
    // A sender that tries again signs the same id at another time.
    let again = send("msg_1", now - 5, &sign("msg_1", now - 5)).await;
    assert_eq!(ok(&again, 200)["status"], "duplicate");

    for (id, stamp, signature) in [
        ("msg_2", now - 4000, sign("msg_2", now - 4000)),
        ("msg_3", now + 4000, sign("msg_3", now + 4000)),
        ("msg_4", now, sign("msg_3", now)),
        ("msg_5", now, sign("msg_5", now - 1)),
        ("msg_6", now, "v1a,AAAA".to_owned()),
    ] {
        let answer = ok(&send(id, stamp, &signature).await, 401);
        assert_eq!(answer["code"], "webhook_signature_invalid", "{id}");
    }
    let list = format!("/workflows/{workflow}/executions");
    let page = api.until(&list, |page| page["items"][0]["status"] == "completed").await;
    assert_eq!(page["items"].as_array().map(Vec::len), Some(1));
    let execution = page["items"][0]["id"].as_str().expect("an id").to_owned();
    let output = api.body(&format!("{list}/{execution}")).await["output"].clone();
    assert_eq!(output, json!({"event": "invoice.paid", "delivery": "msg_1", "action": "paid"}));
}

#[tokio::test]
async fn what_is_signed_must_still_be_json_of_a_bearable_size() {
    let world = World::start().await;
    let api = world.api();
    let webhook = json!({"scheme": "github_sha256", "secret": GITHUB_SECRET});
    let (_, path) = hook(&api, &webhook).await;
    let before = world.head().await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for (body, status) in [
        ("not json", 400),
        (r#"{"a": 1, "a": 2}"#, 400),
        (r#"{"a": "\u0000"}"#, 400),
        (deep.as_str(), 400),
        (&format!("\"{}\"", "x".repeat(300 * 1024)), 413),
    ] {
        let delivery = Delivery::new("issues", "one", body);
        let answer = api.send(delivery.sign(post(&api, &path), GITHUB_SECRET)).await;
        assert_eq!(answer.status, status, "{} for {}", answer.text, &body[..8]);
    }
    assert_eq!(world.head().await, before);
}
