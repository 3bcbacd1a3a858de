//! The JSON of the protocol: strict in what is sent, lenient in what is read.

use domain::invocation::FailureClass;
use serde_json::{Map, Value, json};

use super::{MaxTokensField, OpenAiChat, Profile, SystemRole, failure};
use crate::egress::OutboundResponse;
use crate::models::port::{
    ChatAnswer, ChatError, ChatRequest, Finish, Message, Role, estimated_tokens,
};

pub(super) fn request(
    request: &ChatRequest,
    schema: Option<&Profile>,
    provider: &OpenAiChat,
) -> Value {
    let system = match provider.dialect.system {
        SystemRole::Developer => "developer",
        SystemRole::System => "system",
    };
    let message = |message: &Message| {
        let role = match message.role {
            Role::System => system,
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        json!({ "role": role, "content": message.content })
    };
    let mut body = Map::new();
    let model = request.model.as_ref().unwrap_or(&provider.default_model);
    body.insert("model".to_owned(), json!(model));
    body.insert("messages".to_owned(), request.messages.iter().map(message).collect());
    body.insert("stream".to_owned(), json!(false));
    if let Some(temperature) = request.temperature {
        body.insert("temperature".to_owned(), json!(temperature));
    }
    if let Some(limit) = request.max_output_tokens {
        let field = match provider.dialect.max_tokens {
            MaxTokensField::MaxCompletionTokens => "max_completion_tokens",
            MaxTokensField::MaxTokens => "max_tokens",
        };
        body.insert(field.to_owned(), json!(limit));
    }
    if let Some(Profile { schema, strict, .. }) = schema {
        let schema = json!({ "name": "answer", "strict": strict, "schema": schema });
        let format = json!({ "type": "json_schema", "json_schema": schema });
        body.insert("response_format".to_owned(), format);
    }
    Value::Object(body)
}

pub(super) fn answer(
    answer: &OutboundResponse,
    request: &ChatRequest,
) -> Result<ChatAnswer, ChatError> {
    let body = serde_json::from_slice::<Value>(&answer.body);
    let body = match body {
        Ok(body) if answer.is_success() && body["error"].is_null() => body,
        Ok(body) => return Err(failure::refused(answer, &body["error"])),
        Err(_) if answer.is_success() => {
            let detail = "the provider's answer is not JSON";
            return Err(ChatError::new(FailureClass::Transient, detail));
        }
        Err(_) => return Err(failure::refused(answer, &Value::Null)),
    };
    completion(&body, request)
}

fn completion(body: &Value, request: &ChatRequest) -> Result<ChatAnswer, ChatError> {
    let choice = &body["choices"][0];
    let message = &choice["message"];
    if !message.is_object() {
        let detail = "the provider's answer holds no message";
        return Err(ChatError::new(FailureClass::Transient, detail));
    }
    let finish = choice["finish_reason"].as_str();
    let refused = message["refusal"].as_str().is_some_and(|words| !words.is_empty());
    if refused || finish == Some("content_filter") {
        return Err(ChatError::new(FailureClass::ContentPolicy, "the model refused to answer"));
    }
    let finish = if finish == Some("length") { Finish::Length } else { Finish::Stop };
    let text = text(&message["content"]);
    if text.is_empty() {
        let detail = match finish {
            Finish::Length => "the model used up its tokens before it said anything",
            Finish::Stop => "the model said nothing",
        };
        return Err(ChatError::new(FailureClass::OutputInvalid, detail));
    }
    let usage = |field: &str, bytes: usize| {
        body["usage"][field].as_u64().unwrap_or_else(|| estimated_tokens(bytes))
    };
    let said = request.messages.iter().map(|message| message.content.len()).sum();
    let asked_for = request.model.as_deref().unwrap_or_default();
    Ok(ChatAnswer {
        model: body["model"].as_str().unwrap_or(asked_for).to_owned(),
        finish,
        input_tokens: usage("prompt_tokens", said),
        output_tokens: usage("completion_tokens", text.len()),
        text,
    })
}

/// Words come as one string, or in parts from some servers.
fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}
