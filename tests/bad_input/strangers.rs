//! Another tenant's things: they answer exactly like things that are not there.

use domain::api_key::Access;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::api::Answer;
use uuid::Uuid;

use super::Scene;
use crate::documents::ECHO;
use crate::support::Api;

/// An answer without what differs between any two requests.
fn comparable(answer: &Answer) -> (u16, Value, Vec<String>) {
    let mut body = answer.body.clone();
    if let Some(members) = body.as_object_mut() {
        members.remove("instance");
    }
    let headers = answer
        .headers
        .iter()
        .filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()));
    let headers = headers.map(|(name, value)| format!("{name}: {value:?}")).collect();
    (answer.status, body, headers)
}

/// Asks for a path as it is, and with all its ids unknown.
async fn asked(api: &Api, method: &Method, path: &str, body: &Value) -> (Answer, Answer) {
    let ids: Vec<&str> = path.split('/').filter(|part| part.len() == 36).collect();
    let fold = |path: String, id: &&str| path.replace(*id, &Uuid::new_v4().to_string());
    let unknown = ids.iter().fold(path.to_owned(), fold);
    let send = async |path: &str| {
        let request = api.request(method.clone(), path).header("if-match", "\"1\"");
        api.send(match body {
            Value::Null => request,
            Value::String(document) => {
                request.header("content-type", "application/yaml").body(document.clone())
            }
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                request.json(body)
            }
        })
        .await
    };
    (send(path).await, send(&unknown).await)
}

#[tokio::test]
async fn anothers_things_answer_exactly_like_things_that_are_not_there() {
    let scene = Scene::set().await;
    let theirs = scene.world.key_of_somebody_else(Access::Admin).await;
    let before = scene.world.head().await;
    let mut requests: Vec<(Method, String, Value)> =
        scene.things().into_iter().map(|(path, _)| (Method::GET, path, Value::Null)).collect();
    let Scene { workflow, execution, agent, prompt, template, integration, notification, .. } =
        &scene;
    let executions = format!("/workflows/{workflow}/executions");
    let templates = format!("/notifications/templates/{template}");
    for (method, path, body) in [
        (Method::GET, executions.clone(), Value::Null),
        (Method::POST, format!("/workflows/{workflow}/execute"), json!({})),
        (Method::POST, format!("{executions}/{execution}/cancel"), json!({})),
        (Method::PUT, format!("/workflows/{workflow}"), json!(ECHO)),
        (Method::DELETE, format!("/workflows/{workflow}"), Value::Null),
        (Method::POST, format!("/agents/{agent}/invoke"), json!({})),
        (Method::PUT, format!("/agents/{agent}"), json!({})),
        (Method::DELETE, format!("/agents/{agent}"), Value::Null),
        (Method::PUT, format!("/prompts/{prompt}"), json!({"user": "x"})),
        (Method::DELETE, format!("/prompts/{prompt}"), Value::Null),
        (Method::PUT, templates.clone(), json!({"subject": "x", "text": "y"})),
        (Method::DELETE, templates, Value::Null),
        (
            Method::PUT,
            format!("/integrations/{integration}"),
            json!({"base_url": "https://a.example"}),
        ),
        (Method::DELETE, format!("/integrations/{integration}"), Value::Null),
        (Method::POST, format!("/integrations/{integration}/test"), json!({})),
        (Method::POST, format!("/notifications/{notification}/resend"), json!({})),
    ] {
        requests.push((method, path, body));
    }
    for (method, path, body) in &requests {
        let (foreign, unknown) = asked(&theirs, method, path, body).await;
        assert_eq!(comparable(&foreign), comparable(&unknown), "{method} {path}");
        let lists = foreign.status == 200 && foreign.body["items"] == json!([]);
        assert!(foreign.status == 404 || lists, "{method} {path}: {}", foreign.text);
    }
    for list in [
        "/workflows",
        "/executions",
        "/agents",
        "/prompts",
        "/integrations",
        "/notifications",
        "/notifications/templates",
        "/analytics/workflows",
        "/analytics/agents",
    ] {
        assert_eq!(theirs.items(list).await, Vec::<Value>::new(), "{list}");
    }
    // Their key was put into the log behind the API's back, so no position tells when it is shown.
    theirs.until("/auth/api-keys", |list| list["items"].as_array().map(Vec::len) == Some(1)).await;
    assert_eq!(scene.world.head().await, before, "strangers changed something");
    for (path, _) in scene.things() {
        assert_eq!(scene.api.get(&path).await.status, 200, "{path}");
    }
}
