//! What every [`Model`] must do; run against each implementation.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ChatRequest, Finish, Message, Model, Sandbox};

/// A request that any model can answer.
pub(super) fn request(question: &str) -> ChatRequest {
    ChatRequest {
        model: None,
        messages: vec![Message::system("You sort bug reports."), Message::user(question)],
        schema: None,
        temperature: Some(0.0),
        max_output_tokens: None,
        timeout: Duration::from_secs(10),
        idempotency_key: "0190f9f2-0000-7000-8000-000000000001".to_owned(),
    }
}

pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "category": { "type": "string", "enum": ["bug", "feature", "question"] },
            "severity": { "type": "integer", "minimum": 1, "maximum": 5 },
            "summary": { "type": "string", "minLength": 1, "maxLength": 120 },
            "labels": { "type": "array", "items": { "type": "string" }, "maxItems": 3 },
            "duplicate_of": { "type": "integer" }
        },
        "required": ["category", "severity", "summary"],
        "additionalProperties": false
    })
}

pub(super) fn is_valid(answer: &str, schema: &Value) -> bool {
    jsonschema::is_valid(schema, &serde_json::from_str(answer).expect("JSON"))
}

/// Runs the whole suite.
async fn check(model: &dyn Model) {
    a_question_gets_an_answer_with_its_costs(model).await;
    an_answer_to_a_schema_satisfies_it(model).await;
    a_conversation_may_go_on(model).await;
    an_answer_that_runs_out_of_tokens_says_so(model).await;
}

async fn a_question_gets_an_answer_with_its_costs(model: &dyn Model) {
    let answer = model.chat(&request("It crashes on start.")).await.expect("answers");
    assert!(!answer.text.is_empty() && !answer.model.is_empty());
    assert_eq!(answer.finish, Finish::Stop);
    assert!(answer.input_tokens > 0 && answer.output_tokens > 0);
}

async fn an_answer_to_a_schema_satisfies_it(model: &dyn Model) {
    let request = ChatRequest { schema: Some(schema()), ..request("It crashes: a bug, I think.") };
    let answer = model.chat(&request).await.expect("answers");
    assert!(is_valid(&answer.text, &schema()), "{}", answer.text);
}

async fn a_conversation_may_go_on(model: &dyn Model) {
    let mut request = ChatRequest { schema: Some(schema()), ..request("It crashes.") };
    request.messages.push(Message::assistant("{}"));
    request.messages.push(Message::user("That lacks `category`. Try again."));
    let answer = model.chat(&request).await.expect("answers");
    assert!(is_valid(&answer.text, &schema()), "{}", answer.text);
}

async fn an_answer_that_runs_out_of_tokens_says_so(model: &dyn Model) {
    let request = ChatRequest { max_output_tokens: Some(4), ..request("Tell a long story.") };
    let answer = model.chat(&request).await.expect("answers");
    assert_eq!(answer.finish, Finish::Length);
    assert!(!answer.text.is_empty());
}

#[tokio::test]
async fn the_sandbox_conforms() {
    check(&Sandbox).await;
}

#[tokio::test]
async fn chat_as_openai_speaks_it_conforms() {
    let double = super::openai_chat::double::Double::start().await;
    check(&double.openai()).await;
}

#[tokio::test]
async fn chat_as_other_servers_speak_it_conforms() {
    let double = super::openai_chat::double::Double::start().await;
    check(&double.compatible()).await;
}
