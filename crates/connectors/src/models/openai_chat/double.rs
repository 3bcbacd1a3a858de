//! A server that speaks the chat protocol, and is as strict as the real one. Models whose names
//! begin with `fail-` fail in the way that the rest of the name says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{Dialect, OpenAiChat};
use crate::double::http;
use crate::egress::{Egress, Policy};
use crate::models::{ChatRequest, Message, Model, Sandbox};

/// The key that the double wants.
pub(crate) const KEY: &str = "sk-test-secret";

/// The server.
#[derive(Debug, Clone)]
pub(crate) struct Double {
    pub(crate) base_url: String,
    seen: Arc<Mutex<Vec<Value>>>,
}

impl Double {
    pub(crate) async fn start() -> Self {
        let seen: Arc<Mutex<Vec<Value>>> = Arc::default();
        let routes = Router::new().route("/v1/chat/completions", post(chat));
        let address = http(routes.with_state(Arc::clone(&seen))).await;
        Self { base_url: format!("http://{address}/v1"), seen }
    }

    /// The bodies of all requests so far.
    pub(crate) fn seen(&self) -> Vec<Value> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn openai(&self) -> OpenAiChat {
        self.client(Dialect::openai())
    }

    pub(crate) fn compatible(&self) -> OpenAiChat {
        self.client(Dialect::compatible())
    }

    fn client(&self, dialect: Dialect) -> OpenAiChat {
        let allow = vec!["127.0.0.1/32".parse().unwrap()];
        OpenAiChat {
            egress: Egress::new(Policy { allow, ..Policy::default() }).unwrap(),
            endpoint: format!("{}/chat/completions", self.base_url),
            // As it comes from a file.
            api_key: Some(format!("{KEY}\n").into()),
            default_model: "m-default".to_owned(),
            dialect,
        }
    }
}

async fn chat(
    State(seen): State<Arc<Mutex<Vec<Value>>>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let bearer = headers.get("authorization").and_then(|value| value.to_str().ok());
    if bearer != Some(&format!("Bearer {KEY}")) {
        let message = format!("Incorrect API key provided: {bearer:?}");
        return error(401, &message, "invalid_request_error", "invalid_api_key").into_response();
    }
    assert!(headers.contains_key("idempotency-key"));
    seen.lock().unwrap().push(body.clone());
    let model = body["model"].as_str().unwrap_or_default();
    match model.strip_prefix("fail-") {
        Some(how) => fail(how).await,
        None => match strictness(&body) {
            Ok(()) => Json(completion(model, &body).await).into_response(),
            Err(fault) => {
                error(400, &fault, "invalid_request_error", "invalid_schema").into_response()
            }
        },
    }
}

/// What the real server checks about schemas.
fn strictness(body: &Value) -> Result<(), String> {
    let format = &body["response_format"]["json_schema"];
    let closed =
        body["max_completion_tokens"].is_u64() || body["messages"][0]["role"] == "developer";
    if format.is_null() || !closed || format["strict"] != json!(true) {
        return Ok(());
    }
    if format["name"].as_str().is_none_or(str::is_empty) {
        return Err("a schema needs a name".to_owned());
    }
    let schema = &format["schema"];
    let all = schema["properties"].as_object().map_or(0, serde_json::Map::len);
    let required = schema["required"].as_array().map_or(0, Vec::len);
    if schema["additionalProperties"] != json!(false) || all != required {
        return Err("an object must be closed, and its members required".to_owned());
    }
    Ok(())
}

/// Answers as the stand-in would, in the protocol's form.
async fn completion(model: &str, body: &Value) -> Value {
    let messages = body["messages"].as_array().unwrap().iter();
    let limit = body["max_completion_tokens"].as_u64().or(body["max_tokens"].as_u64());
    let schema = &body["response_format"]["json_schema"]["schema"];
    let request = ChatRequest {
        model: None,
        messages: messages.map(|m| Message::user(m["content"].as_str().unwrap())).collect(),
        schema: (!schema.is_null()).then(|| schema.clone()),
        temperature: None,
        max_output_tokens: limit.map(|limit| u32::try_from(limit).unwrap()),
        timeout: Duration::from_secs(1),
        idempotency_key: String::new(),
    };
    let answer = Sandbox.chat(&request).await.unwrap();
    let finish = match answer.finish {
        crate::models::Finish::Stop => "stop",
        crate::models::Finish::Length => "length",
    };
    reply(model, &json!({ "content": answer.text }), finish)
}

fn reply(model: &str, message: &Value, finish: &str) -> Value {
    let mut full =
        json!({ "role": "assistant", "content": null, "refusal": null, "annotations": [] });
    full.as_object_mut().unwrap().extend(message.as_object().unwrap().clone());
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_741_569_952,
        "model": format!("{model}-2026-08-21"),
        "choices": [{ "index": 0, "message": full, "logprobs": null, "finish_reason": finish }],
        "usage": {
            "prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29,
            "prompt_tokens_details": { "cached_tokens": 0 }
        },
        "service_tier": "default", "system_fingerprint": "fp_1"
    })
}

fn error(status: u16, message: &str, kind: &str, code: &str) -> (StatusCode, Json<Value>) {
    let error = json!({ "message": message, "type": kind, "param": null, "code": code });
    (StatusCode::from_u16(status).unwrap(), Json(json!({ "error": error })))
}

async fn fail(how: &str) -> Response {
    let say = |message: Value, finish: &str| Json(reply("m", &message, finish)).into_response();
    match how {
        "429" => {
            let limited = error(429, "Slow down.", "requests", "rate_limit_exceeded");
            ([("retry-after", "2")], limited).into_response()
        }
        "quota" => {
            error(429, "You ran out.", "insufficient_quota", "insufficient_quota").into_response()
        }
        "context" => {
            let code = "context_length_exceeded";
            error(400, "Too long.", "invalid_request_error", code).into_response()
        }
        "404" => error(404, "Who?", "invalid_request_error", "model_not_found").into_response(),
        "500-html" => (StatusCode::BAD_GATEWAY, "<html>nginx</html>").into_response(),
        "200-error" => {
            let (_, body) = error(500, "Oops.", "server_error", "oops");
            body.into_response()
        }
        "bad-json" => r#"{"choices":[{"#.into_response(),
        "no-choices" => Json(json!({ "choices": [] })).into_response(),
        "refusal" => say(json!({ "refusal": "I won't." }), "stop"),
        "filter" => say(json!({ "content": "half" }), "content_filter"),
        "nothing" => say(json!({ "content": null }), "stop"),
        "spent" => say(json!({ "content": "" }), "length"),
        "parts" => {
            let parts =
                json!([{ "type": "text", "text": "in " }, { "type": "text", "text": "parts" }]);
            say(json!({ "content": parts }), "stop")
        }
        "no-usage" => {
            let mut body = reply("m", &json!({ "content": "hello" }), "stop");
            body.as_object_mut().unwrap().retain(|name, _| name == "choices");
            Json(body).into_response()
        }
        "slow" => std::future::pending().await,
        "redirect" => axum::response::Redirect::temporary("/v2").into_response(),
        _ => panic!("no such failure: {how}"),
    }
}
