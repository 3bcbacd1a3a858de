//! JSON bodies that must not be accepted.

use serde_json::json;

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
            bad(
                "too much input",
                format!("{{\"input\": \"{}\"}}", "x".repeat(500_000)),
                (422, "input_too_large"),
            ),
        ])
        .await;
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    let scene = Scene::set().await;
    let bad = |what, path: &str, body: serde_json::Value, answer| {
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

#[tokio::test]
async fn integrations_notifications_and_keys_that_make_no_sense_are_refused() {
    let scene = Scene::set().await;
    let bad = |what, path: &str, body: serde_json::Value, answer| {
        Case::new(what, scene.post(path, body.to_string()), answer)
    };
    let invalid = (422, "integration_invalid");
    let integration = |member: &str, value: serde_json::Value| {
        let mut whole = json!({"name": "x", "base_url": "https://example.com"});
        whole[member] = value;
        whole
    };
    let post = json!({"o": {"method": "BREW", "path": "/"}});
    let short = json!({"scheme": "standard_webhooks", "secret": "short"});
    let note = |member: &str, value: serde_json::Value| {
        let mut whole = json!({"channel": "email", "to": "a@example.com", "template": "t"});
        whole[member] = value;
        whole
    };
    let refused = (422, "notification_invalid");
    scene
        .judge(vec![
            bad("a scheme", "/integrations", integration("base_url", json!("ftp://x")), invalid)
                .at("/base_url", "malformed_url"),
            bad(
                "no token",
                "/integrations",
                integration("auth", json!({"type": "bearer"})),
                invalid,
            )
            .at("/auth/token", "missing_field"),
            bad("a method", "/integrations", integration("operations", post), invalid)
                .at("/operations/o/method", "unknown_method"),
            bad("a short secret", "/integrations", integration("webhook", short), invalid)
                .at("/webhook/secret", "malformed_secret"),
            bad("a type", "/integrations", integration("auth", json!({"type": "magic"})), FORM),
            bad("a field", "/integrations", integration("colour", json!("red")), FORM),
            bad(
                "again",
                "/integrations",
                integration("name", json!("i")),
                (409, "integration_exists"),
            ),
            bad("a pigeon", "/notifications", note("channel", json!("pigeon")), FORM)
                .at("/channel", "wrong_type"),
            bad("nobody", "/notifications", note("to", json!([])), refused)
                .at("/to", "out_of_range"),
            bad("an address", "/notifications", note("to", json!(["a@b", "here"])), refused)
                .at("/to/1", "malformed_address"),
            bad("a header", "/notifications", note("to", json!("a@b\r\nBcc: c@d")), refused)
                .at("/to/0", "malformed_address"),
            bad("a template", "/notifications", note("template", json!("none")), refused)
                .at("/template", "unknown_reference"),
            bad("a field", "/notifications", note("urgent", json!(true)), FORM)
                .at("/urgent", "unknown_field"),
            bad("access", "/auth/api-keys", json!({"name": "x", "access": "god"}), FORM)
                .at("/access", "wrong_type"),
            bad(
                "a name",
                "/auth/api-keys",
                json!({"name": "", "access": "read"}),
                (422, "api_key_invalid"),
            )
            .at("/name", "malformed_name"),
        ])
        .await;
}
