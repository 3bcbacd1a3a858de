//! The client against a server that speaks the protocol.

use std::time::Duration;

use domain::invocation::FailureClass;
use secrecy::SecretString;
use serde_json::json;

use super::double::{Double, KEY};
use super::*;
use crate::double as net;
use crate::egress::Policy;
use crate::models::conformance::{is_valid, request, schema};
use crate::models::{Kind, Message, Models, ModelsError, ProviderConfig};

async fn ask(model: &str) -> Result<ChatAnswer, ChatError> {
    let request = ChatRequest { model: Some(model.to_owned()), ..request("Hello?") };
    Double::start().await.openai().chat(&request).await
}

#[tokio::test]
async fn openai_is_asked_in_its_own_words() {
    let double = Double::start().await;
    let mut request = request("It crashes.");
    request.messages.push(Message::assistant("Where?"));
    request.max_output_tokens = Some(500);
    double.openai().chat(&request).await.unwrap();
    let expected = json!({
        "model": "m-default", "stream": false, "temperature": 0.0, "max_completion_tokens": 500,
        "messages": [
            { "role": "developer", "content": "You sort bug reports." },
            { "role": "user", "content": "It crashes." },
            { "role": "assistant", "content": "Where?" }
        ]
    });
    assert_eq!(double.seen(), [expected]);
}

#[tokio::test]
async fn other_servers_are_asked_in_the_older_words() {
    let double = Double::start().await;
    let mut request = request("It crashes.");
    request.model = Some("smollm2".to_owned());
    request.temperature = None;
    request.max_output_tokens = Some(500);
    request.schema = Some(schema());
    double.compatible().chat(&request).await.unwrap();
    let format = json!({ "name": "answer", "strict": true, "schema": schema() });
    let expected = json!({
        "model": "smollm2", "stream": false, "max_tokens": 500,
        "messages": [
            { "role": "system", "content": "You sort bug reports." },
            { "role": "user", "content": "It crashes." }
        ],
        "response_format": { "type": "json_schema", "json_schema": format }
    });
    assert_eq!(double.seen(), [expected]);
}

#[tokio::test]
async fn an_answer_to_a_rewritten_schema_satisfies_the_authors() {
    // Optional members may come back as null; over many questions some do.
    let double = Double::start().await;
    for nth in 0..20 {
        let mut request = request(&format!("Question {nth}"));
        request.schema = Some(schema());
        let answer = double.openai().chat(&request).await.unwrap();
        assert!(is_valid(&answer.text, &schema()), "{}", answer.text);
    }
    let strict = &double.seen()[0]["response_format"]["json_schema"];
    assert_eq!(strict["strict"], true);
    assert_eq!(strict["schema"]["required"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn a_schema_beyond_the_subset_goes_out_as_a_wish() {
    let double = Double::start().await;
    let free = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let request = ChatRequest { schema: Some(free.clone()), ..request("Any.") };
    double.openai().chat(&request).await.unwrap();
    let sent = &double.seen()[0]["response_format"]["json_schema"];
    assert_eq!((&sent["strict"], &sent["schema"]), (&json!(false), &free));
}

#[tokio::test]
async fn the_provider_tells_model_and_tokens() {
    let answer = ask("gpt-6-luna").await.unwrap();
    assert_eq!(answer.model, "gpt-6-luna-2026-08-21");
    assert_eq!((answer.input_tokens, answer.output_tokens), (19, 10));
}

#[tokio::test]
async fn tokens_are_estimated_where_the_provider_does_not_count() {
    let answer = ask("fail-no-usage").await.unwrap();
    assert_eq!((answer.text.as_str(), answer.model.as_str()), ("hello", "fail-no-usage"));
    assert_eq!((answer.input_tokens, answer.output_tokens), (8, 2));
}

#[tokio::test]
async fn an_answer_in_parts_is_put_together() {
    assert_eq!(ask("fail-parts").await.unwrap().text, "in parts");
}

#[tokio::test]
async fn failures_are_told_apart() {
    use FailureClass::{
        ContentPolicy, InvalidRequest, OutputInvalid, QuotaExhausted, RateLimited, Transient,
        Unavailable,
    };
    let table = [
        ("429", RateLimited),
        ("quota", QuotaExhausted),
        ("context", InvalidRequest),
        ("404", Unavailable),
        ("redirect", Unavailable),
        ("500-html", Transient),
        ("200-error", Transient),
        ("bad-json", Transient),
        ("no-choices", Transient),
        ("refusal", ContentPolicy),
        ("filter", ContentPolicy),
        ("nothing", OutputInvalid),
        ("spent", OutputInvalid),
    ];
    for (how, class) in table {
        let error = ask(&format!("fail-{how}")).await.unwrap_err();
        assert_eq!(error.class, class, "{how}: {error}");
        let wait = (how == "429").then_some(Duration::from_secs(2));
        assert_eq!(error.retry_after, wait, "{how}");
    }
}

#[tokio::test]
async fn a_model_that_takes_too_long_is_left_alone() {
    let double = Double::start().await;
    let mut request = request("Hello?");
    request.model = Some("fail-slow".to_owned());
    request.timeout = Duration::from_millis(50);
    let error = double.openai().chat(&request).await.unwrap_err();
    assert_eq!(error.class, FailureClass::Timeout);
}

#[tokio::test]
async fn a_provider_that_breaks_off_or_is_not_there_is_a_passing_failure() {
    let half =
        net::raw("HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"choices\":[{\"mess").await;
    for address in [half, net::nobody().await] {
        let mut provider = Double::start().await.openai();
        provider.endpoint = format!("http://{address}/v1/chat/completions");
        let error = provider.chat(&request("Hello?")).await.unwrap_err();
        assert_eq!(error.class, FailureClass::Transient, "{error}");
    }
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_never_shown() {
    let mut provider = Double::start().await.openai();
    provider.api_key = Some(SecretString::from("sk-wrong-secret"));
    let error = provider.chat(&request("Hello?")).await.unwrap_err();
    assert_eq!(error.class, FailureClass::Auth);
    let shown = format!("{error:?} {error} {provider:?}");
    assert!(!shown.contains("secret"), "{shown}");
    assert!(!format!("{:?}", Double::start().await.openai()).contains(KEY));
}

#[tokio::test]
async fn a_configured_base_url_is_reached_whatever_its_address() {
    let double = Double::start().await;
    let config = ProviderConfig {
        api_key: Some(SecretString::from(KEY)),
        ..ProviderConfig::openai_chat("local", double.base_url.parse().unwrap(), "smollm2")
    };
    let models = Models::new(vec![config], None, &Policy::default());
    let models: Result<_, ModelsError> = models;
    let models = models.unwrap();
    let provider = models.get(None).unwrap();
    assert_eq!(provider.kind, Kind::OpenaiChat);
    let answer = provider.model.chat(&request("Hello?")).await.unwrap();
    assert_eq!(answer.model, "smollm2-2026-08-21");
}

#[test]
fn openai_is_known_by_its_host() {
    let of = |url: &str| Dialect::of(&url.parse().unwrap());
    assert_eq!(of("https://api.openai.com/v1"), Dialect::openai());
    assert_eq!(of("http://127.0.0.1:8080/v1"), Dialect::compatible());
    assert_eq!(of("https://api.openai.com.example/v1"), Dialect::compatible());
}
