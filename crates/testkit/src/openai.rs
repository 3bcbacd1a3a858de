//! A model provider with the chat completions that all speak, which says what the test tells it to.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::http::Serving;

/// A server below whose `/v1` the models that were scripted answer.
#[derive(Debug)]
pub struct Double {
    serving: Serving,
    shared: Arc<Mutex<Script>>,
}

/// What a model does when it is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Answers this text.
    Text(String),
    /// Answers this text, cut off by the limit of tokens.
    CutOff(String),
    /// Refuses with this HTTP status and an error body of the usual shape.
    Refuse(u16),
    /// Answers 200 with a body that is not JSON.
    Garbage,
    /// Never answers.
    Silence,
}

/// A request that came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// `Authorization`.
    pub authorization: Option<String>,
    /// The body.
    pub body: Value,
}

#[derive(Debug, Default)]
struct Script {
    replies: HashMap<String, VecDeque<Reply>>,
    asked: Vec<Asked>,
}

impl Double {
    /// Starts one that knows no models yet.
    pub async fn start() -> io::Result<Self> {
        let shared = Arc::<Mutex<Script>>::default();
        let router = Router::new()
            .route("/v1/chat/completions", post(complete))
            .route("/v1/models", get(models))
            .with_state(shared.clone());
        Ok(Self { serving: Serving::start(router).await?, shared })
    }

    /// Its base URL, which ends in `/v1`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.serving.address)
    }

    /// From now on `model` gives these replies one after the other, and the last one for ever.
    pub fn script(&self, model: &str, replies: impl IntoIterator<Item = Reply>) {
        lock(&self.shared).replies.insert(model.to_owned(), replies.into_iter().collect());
    }

    /// All requests for completions so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.shared).asked.clone()
    }
}

fn lock(shared: &Mutex<Script>) -> MutexGuard<'_, Script> {
    shared.lock().expect("nobody panics while holding it")
}

async fn models(State(shared): State<Arc<Mutex<Script>>>) -> Json<Value> {
    let script = lock(&shared);
    let data: Vec<Value> =
        script.replies.keys().map(|id| json!({"id": id, "object": "model"})).collect();
    Json(json!({"object": "list", "data": data}))
}

async fn complete(
    State(shared): State<Arc<Mutex<Script>>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok());
    let reply = lock(&shared).take(authorization, &body);
    match reply {
        None => error(404, "model_not_found"),
        Some(Reply::Text(text)) => completion(&body, &text, "stop"),
        Some(Reply::CutOff(text)) => completion(&body, &text, "length"),
        Some(Reply::Refuse(status)) => error(status, "refused_by_the_script"),
        Some(Reply::Garbage) => "<html>not JSON</html>".into_response(),
        Some(Reply::Silence) => std::future::pending().await,
    }
}

impl Script {
    fn take(&mut self, authorization: Option<&str>, body: &Value) -> Option<Reply> {
        let authorization = authorization.map(ToOwned::to_owned);
        self.asked.push(Asked { authorization, body: body.clone() });
        let replies = self.replies.get_mut(body["model"].as_str()?)?;
        if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() }
    }
}

/// A completion whose tokens are words.
fn completion(asked: &Value, text: &str, finish: &str) -> Response {
    let messages = asked["messages"].as_array().into_iter().flatten();
    let prompt: usize = messages.map(|message| words(message["content"].as_str())).sum();
    let answer = words(Some(text));
    Json(json!({
        "id": "chatcmpl-testkit",
        "object": "chat.completion",
        "created": 0,
        "model": asked["model"],
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": finish,
        }],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": answer,
            "total_tokens": prompt + answer,
        },
    }))
    .into_response()
}

fn words(text: Option<&str>) -> usize {
    text.unwrap_or_default().split_whitespace().count()
}

fn error(status: u16, code: &str) -> Response {
    let body = json!({"error": {"message": code, "type": "invalid_request_error", "code": code}});
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(double: &Double, model: &str) -> (u16, Value) {
        let url = format!("{}/chat/completions", double.url());
        let message = json!({"role": "user", "content": "three short words"});
        let body = json!({"model": model, "messages": [message]});
        let request = crate::http::client().post(url).bearer_auth("key").json(&body);
        let response = request.send().await.expect("an answer");
        (response.status().as_u16(), response.json().await.expect("JSON"))
    }

    #[tokio::test]
    async fn a_model_follows_its_script_and_stays_at_its_end() {
        let double = Double::start().await.expect("starts");
        double.script("a", [Reply::Refuse(429), Reply::Text("fine so".to_owned())]);

        assert_eq!(ask(&double, "a").await.0, 429);
        for _ in 0..2 {
            let (status, body) = ask(&double, "a").await;
            assert_eq!(status, 200);
            assert_eq!(body["choices"][0]["message"]["content"], "fine so");
            assert_eq!(body["usage"]["prompt_tokens"], 3);
            assert_eq!(body["usage"]["completion_tokens"], 2);
        }
        assert_eq!(ask(&double, "unknown").await.0, 404);
        let asked = double.asked();
        assert_eq!(asked.len(), 4);
        assert_eq!(asked[0].authorization.as_deref(), Some("Bearer key"));
    }
}
