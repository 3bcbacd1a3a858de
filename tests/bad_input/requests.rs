//! Requests that are wrong whatever their body: paths, methods, header fields, parameters.

use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use super::{Case, Scene};
use crate::documents::ECHO;
use crate::support::ok;

const PARAMETER: (u16, &str) = (400, "parameter_invalid");
const AUTH: (u16, &str) = (401, "unauthenticated");

#[tokio::test]
async fn what_is_not_there_is_not_found_and_what_is_not_possible_is_not_allowed() {
    let scene = Scene::set().await;
    let mut cases = vec![
        Case::new("nothing", scene.get("/nothing"), (404, "not_found")),
        Case::new("nothing below", scene.get("/agents/x/y/z"), (404, "not_found")),
        Case::new("the root", scene.api.at_root(Method::GET, "/nothing"), (404, "not_found")),
    ];
    for (method, path) in
        [(Method::PATCH, "/workflows"), (Method::DELETE, "/models"), (Method::PUT, "/executions")]
    {
        let request = scene.api.request(method, path);
        cases.push(Case::new("a method", request, (405, "method_not_allowed")));
    }
    for (path, code) in scene.things() {
        for id in [Uuid::new_v4().to_string(), "not-an-id".to_owned(), "%00".to_owned()] {
            let ids = path.split('/').filter(|part| part.len() == 36);
            let unknown = ids.fold(path.clone(), |path, known| path.replace(known, &id));
            cases.push(Case::new("an unknown id", scene.get(&unknown), (404, code)));
        }
    }
    let unknown = Uuid::new_v4();
    for (path, code) in [
        (format!("/workflows/{unknown}/execute"), "workflow_not_found"),
        (
            format!("/workflows/{}/executions/{unknown}/cancel", scene.workflow),
            "execution_not_found",
        ),
        (format!("/agents/{unknown}/invoke"), "agent_not_found"),
        (format!("/integrations/{unknown}/test"), "integration_not_found"),
        (format!("/notifications/{unknown}/resend"), "notification_not_found"),
    ] {
        cases.push(Case::new("an unknown id", scene.post(&path, "{}"), (404, code)));
    }
    scene.judge(cases).await;
}

#[tokio::test]
async fn parameters_and_header_fields_that_make_no_sense_are_refused() {
    let scene = Scene::set().await;
    let execute = format!("/workflows/{}/execute", scene.workflow);
    let key = |value: String| scene.post(&execute, "{}").header("idempotency-key", value);
    let kind = |kind: &str| {
        let request = scene.api.request(Method::POST, "/workflows").header("content-type", kind);
        request.body(ECHO)
    };
    let media = (415, "unsupported_media_type");
    let mut cases = vec![
        Case::new("key too long", key("k".repeat(256)), (400, "idempotency_key_invalid")),
        Case::new("no key", key(String::new()), (400, "idempotency_key_invalid")),
        Case::new("Min-Position", scene.get("/agents").header("min-position", "x"), PARAMETER),
        Case::new("plain text", kind("text/plain"), media),
        Case::new("a form", kind("application/x-www-form-urlencoded"), media),
        Case::new("no type at all", kind("nonsense"), media),
        Case::new("packed", scene.post(&execute, "{}").header("content-encoding", "gzip"), media),
        Case::new("a cursor", scene.get("/executions?cursor=bogus"), (400, "cursor_invalid")),
        Case::new("a cursor", scene.get("/agents?cursor=%00%ff"), (400, "cursor_invalid")),
        Case::new(
            "long",
            scene.get(&format!("/agents?x={}", "y".repeat(9000))),
            (414, "uri_too_long"),
        ),
        Case::new("dryRun", scene.post("/workflows?dryRun=maybe", "{}"), PARAMETER),
    ];
    for query in ["limit=0", "limit=201", "limit=-1", "limit=ten", "status=odd", "workflow_id=x"] {
        cases.push(Case::new("a list", scene.get(&format!("/executions?{query}")), PARAMETER));
    }
    for wait in ["forever", "61s", "-1s", "1h", ""] {
        let path = format!("{execute}?wait={wait}");
        cases.push(Case::new("a wait", scene.post(&path, "{}"), PARAMETER));
    }
    for span in ["from=yesterday", "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z"] {
        let path = format!("/analytics/dashboard?{span}");
        cases.push(Case::new("a span", scene.get(&path), PARAMETER));
    }
    scene.judge(cases).await;
}

#[tokio::test]
async fn a_change_must_name_the_version_it_changes() {
    let scene = Scene::set().await;
    let mut cases = vec![];
    let things = [
        (format!("/workflows/{}", scene.workflow), json!(null)),
        (format!("/agents/{}", scene.agent), json!({})),
        (format!("/prompts/{}", scene.prompt), json!({"user": "z"})),
        (
            format!("/notifications/templates/{}", scene.template),
            json!({"subject": "s", "text": "z"}),
        ),
        (
            format!("/integrations/{}", scene.integration),
            json!({"base_url": "https://example.org"}),
        ),
    ];
    for (path, body) in &things {
        for method in [Method::PUT, Method::DELETE] {
            let request = || {
                let request = scene.api.request(method.clone(), path);
                if body.is_null() {
                    return request.header("content-type", "application/yaml").body(ECHO);
                }
                request.json(body)
            };
            let matching = |version: &str| request().header("if-match", version);
            cases.push(Case::new("no If-Match", request(), (428, "precondition_required")));
            cases.push(Case::new("stale", matching("\"9\""), (412, "precondition_failed")));
            cases.push(Case::new("none yet", matching("\"0\""), (412, "precondition_failed")));
            cases.push(Case::new("no version", matching("\"new\""), (400, "if_match_invalid")));
        }
    }
    scene.judge(cases).await;
}

#[tokio::test]
async fn a_key_that_was_used_for_another_request_is_refused() {
    let scene = Scene::set().await;
    let path = format!("/workflows/{}/execute", scene.workflow);
    let with_key = |body: &str| scene.post(&path, body.to_owned()).header("idempotency-key", "k");
    let first = scene.api.send(with_key(r#"{"input": 1}"#)).await;
    ok(&first, 202);
    let execution = first.body["id"].as_str().expect("an id");
    let there = format!("/workflows/{}/executions/{execution}", scene.workflow);
    scene.api.until(&there, |execution| execution["status"] == "completed").await;
    let reused = (422, "idempotency_key_reused");
    scene
        .judge(vec![
            Case::new("another body", with_key(r#"{"input": 2}"#), reused),
            Case::new("one more blank", with_key(r#"{"input": 1} "#), reused),
        ])
        .await;
}

#[tokio::test]
async fn who_has_no_key_or_too_small_a_one_may_do_nothing() {
    let scene = Scene::set().await;
    let made = async |access: &str| {
        let body = json!({"name": "key", "access": access});
        let made = ok(&scene.api.post("/auth/api-keys", &body).await, 201);
        made["token"].as_str().expect("a token").to_owned()
    };
    let (read, write, revoked) = (made("read").await, made("write").await, made("admin").await);
    let keys = scene.api.items("/auth/api-keys").await;
    assert!(!format!("{keys:?}").contains("evs_"), "{keys:?}");
    let newest = keys[0]["id"].as_str().expect("an id");
    let revoke = scene.api.request(Method::DELETE, &format!("/auth/api-keys/{newest}"));
    assert_eq!(scene.api.send(revoke).await.status, 204);

    let url = |path: &str| scene.api.at_root(Method::GET, &format!("/api/v1{path}"));
    let with = |token: &str| scene.world.api_with(Some(token.to_owned()));
    let mut spoilt = write.clone();
    let last = if spoilt.pop() == Some('A') { 'B' } else { 'A' };
    spoilt.push(last);
    let mut cases = vec![
        Case::new("no token", url("/workflows"), AUTH),
        Case::new("no token, nothing there", url("/workflows/not-an-id"), AUTH),
        Case::new("no bearer", url("/workflows").header("authorization", "Basic eDp5"), AUTH),
        Case::new("half a token", url("/workflows").bearer_auth(&write[..40]), AUTH),
        Case::new("a spoilt token", url("/workflows").bearer_auth(&spoilt), AUTH),
        Case::new("no token at all", url("/workflows").bearer_auth("evs_"), AUTH),
        Case::new("revoked", url("/workflows").bearer_auth(&revoked), AUTH),
    ];
    let forbidden = (403, "forbidden");
    let path = format!("/workflows/{}/execute", scene.workflow);
    let post = |token: &str, path: &str, body| with(token).request(Method::POST, path).json(&body);
    let key = json!({"name": "more", "access": "admin"});
    cases.push(Case::new("reading key", post(&read, &path, json!({})), forbidden));
    cases.push(Case::new("writing key", post(&write, "/auth/api-keys", key), forbidden));
    scene.judge(cases).await;
    assert_eq!(with(&read).get("/workflows").await.status, 200);
    let refused = scene.api.send(url("/workflows")).await;
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    for open in ["/livez", "/readyz", "/openapi.json", "/docs", "/problems/forbidden"] {
        let answer = scene.api.send(scene.api.at_root(Method::GET, open)).await;
        assert_eq!(answer.status, 200, "{open}");
    }
}
