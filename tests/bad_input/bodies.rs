//! JSON bodies that must not be accepted.

use serde_json::{Value, json};

use super::{Case, Scene};

/// What a body is answered that has the wrong form.
const FORM: (u16, &str) = (422, "request_invalid");
/// What a body is answered that cannot be read.
const UNREADABLE: (u16, &str) = (400, "malformed_request");

#[tokio::test]
async fn a_body_that_is_not_what_is_wanted_is_refused() {
    let scene = Scene::set().await;
    let execute = format!("/workflows/{}/execute", scene.workflow);
    let bad = |what, body: String, answer| Case::new(what, scene.post(&execute, body), answer);
    let deep = format!("{{\"input\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    scene
        .judge(vec![
            bad("unknown field", r#"{"inputs": 1}"#.into(), FORM).at("/inputs", "unknown_field"),
            bad("wrong type", r#"{"version": 7}"#.into(), FORM).at("/version", "wrong_type"),
            bad("a list", "[null, null]".into(), FORM).at("", "wrong_type"),
            bad("text", "\"input\"".into(), FORM).at("", "wrong_type"),
            bad("null", "null".into(), FORM).at("", "wrong_type"),
            bad("half of JSON", r#"{"input": "#.into(), UNREADABLE).at("", "malformed_json"),
            bad("two of JSON", "{} {}".into(), UNREADABLE).at("", "malformed_json"),
            bad("duplicate keys", r#"{"input": 1, "input": 2}"#.into(), UNREADABLE)
                .at("", "malformed_json"),
            bad("inner duplicate keys", r#"{"input": {"a": 1, "a": 2}}"#.into(), UNREADABLE)
                .at("", "malformed_json"),
            bad("a depth bomb", deep, UNREADABLE).at("", "malformed_json"),
            bad("NUL in text", r#"{"input": "a\u0000b"}"#.into(), UNREADABLE)
                .at("", "malformed_json"),
            bad("NUL in a name", r#"{"input": {"\u0000": 1}}"#.into(), UNREADABLE)
                .at("", "malformed_json"),
            bad("half a surrogate pair", r#"{"input": "\ud800"}"#.into(), UNREADABLE),
            bad("a number without end", r#"{"input": 1e999}"#.into(), UNREADABLE),
            bad("not JSON's number", r#"{"input": NaN}"#.into(), UNREADABLE),
            bad(
                "2 MB",
                format!("{{\"input\": \"{}\"}}", "x".repeat(2_000_000)),
                (413, "payload_too_large"),
            ),
            bad("no urgency", r#"{"input": null, "priority": "urgent"}"#.into(), FORM),
            bad(
                "too much input",
                format!("{{\"input\": \"{}\"}}", "x".repeat(600_000)),
                (422, "input_too_large"),
            ),
        ])
        .await;
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    let scene = Scene::set().await;
    let bad = |what, path: &str, body: Value, answer| {
        Case::new(what, scene.post(path, body.to_string()), answer)
    };
    let agent = (422, "agent_invalid");
    let prompt = (422, "prompt_invalid");
    let template = (422, "template_invalid");
    let templates = "/notifications/templates";
    scene
        .judge(vec![
            bad("a name", "/agents", json!({"name": "No Name"}), agent)
                .at("/name", "malformed_name"),
            bad("heat", "/agents", json!({"name": "x", "temperature": 9}), agent)
                .at("/temperature", "out_of_range"),
            bad(
                "a schema",
                "/agents",
                json!({"name": "x", "output_schema": {"type": "nil"}}),
                agent,
            )
            .at("/output_schema", "malformed_schema"),
            bad(
                "a far schema",
                "/agents",
                json!({"name": "x", "output_schema": {"$ref": "http://127.0.0.1/x"}}),
                agent,
            )
            .at("/output_schema", "malformed_schema"),
            bad("a provider", "/agents", json!({"name": "x", "provider": "nobody"}), agent)
                .at("/provider", "unknown_reference"),
            bad("a prompt", "/agents", json!({"name": "x", "prompt": {"name": "none"}}), agent)
                .at("/prompt", "unknown_reference"),
            bad("a field", "/agents", json!({"name": "x", "colour": "red"}), FORM),
            bad("no name", "/agents", json!({}), FORM),
            bad("again", "/agents", json!({"name": "a"}), (409, "agent_exists")),
            bad("braces", "/prompts", json!({"name": "x", "user": "{{ a"}), prompt)
                .at("/user", "malformed_template"),
            bad("a field", "/prompts", json!({"name": "x", "user": "y", "a": 1}), FORM)
                .at("/a", "unknown_field"),
            bad("no text", "/prompts", json!({"name": "x"}), FORM).at("", "missing_field"),
            bad("again", "/prompts", json!({"name": "p", "user": "z"}), (409, "prompt_exists")),
            bad("lines", templates, json!({"name": "x", "subject": "a\nb", "text": "t"}), template)
                .at("/subject", "malformed_template"),
            bad(
                "braces",
                templates,
                json!({"name": "x", "subject": "a", "text": "{% if %}"}),
                template,
            )
            .at("/text", "malformed_template"),
        ])
        .await;
}

/// A body with one member changed, and what it is answered.
type Changed = (&'static str, Value, (u16, &'static str), Option<(&'static str, &'static str)>);

/// Cases that each change one member of an otherwise good body.
fn changed(scene: &Scene, path: &str, good: &Value, changes: Vec<Changed>) -> Vec<Case> {
    let case = |(member, value, answer, fault): Changed| {
        let mut body = good.clone();
        body[member] = value;
        let case = Case::new(member, scene.post(path, body.to_string()), answer);
        match fault {
            Some((pointer, code)) => case.at(pointer, code),
            None => case,
        }
    };
    changes.into_iter().map(case).collect()
}

#[tokio::test]
async fn integrations_that_make_no_sense_are_refused() {
    let scene = Scene::set().await;
    let good = json!({"name": "x", "base_url": "https://example.com"});
    let invalid = (422, "integration_invalid");
    let brew = json!({"o": {"method": "BREW", "path": "/"}});
    let open = json!({"o": {"method": "GET", "path": "/{a"}});
    let short = json!({"scheme": "standard_webhooks", "secret": "short"});
    let changes = vec![
        ("base_url", json!("ftp://x"), invalid, Some(("/base_url", "malformed_url"))),
        ("base_url", json!("https://me:pw@x"), invalid, Some(("/base_url", "malformed_url"))),
        ("auth", json!({"type": "bearer"}), invalid, Some(("/auth/token", "missing_field"))),
        ("auth", json!({"type": "magic"}), FORM, None),
        ("operations", brew, invalid, Some(("/operations/o/method", "unknown_method"))),
        ("operations", open, invalid, Some(("/operations/o/path", "malformed_placeholder"))),
        ("webhook", short, invalid, Some(("/webhook/secret", "malformed_secret"))),
        ("colour", json!("red"), FORM, None),
        ("name", json!("i"), (409, "integration_exists"), None),
    ];
    scene.judge(changed(&scene, "/integrations", &good, changes)).await;
}

#[tokio::test]
async fn notifications_and_keys_that_make_no_sense_are_refused() {
    let scene = Scene::set().await;
    let good = json!({"channel": "email", "to": "a@example.com", "template": "t"});
    let refused = (422, "notification_invalid");
    let changes = vec![
        ("channel", json!("pigeon"), FORM, Some(("/channel", "wrong_type"))),
        ("to", json!([]), refused, Some(("/to", "out_of_range"))),
        ("to", json!(["a@b", "here"]), refused, Some(("/to/1", "malformed_address"))),
        ("to", json!("a@b\r\nBcc: c@d"), refused, Some(("/to/0", "malformed_address"))),
        ("template", json!("none"), refused, Some(("/template", "unknown_reference"))),
        ("urgent", json!(true), FORM, Some(("/urgent", "unknown_field"))),
    ];
    let mut cases = changed(&scene, "/notifications", &good, changes);
    let good = json!({"name": "x", "access": "read"});
    let changes = vec![
        ("access", json!("god"), FORM, Some(("/access", "wrong_type"))),
        ("name", json!(""), (422, "api_key_invalid"), Some(("/name", "malformed_name"))),
        ("token", json!("evs_mine"), FORM, Some(("/token", "unknown_field"))),
    ];
    cases.extend(changed(&scene, "/auth/api-keys", &good, changes));
    scene.judge(cases).await;
}
