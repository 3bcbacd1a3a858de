//! Agents, their prompts and their models, over HTTP and from workflows.

use serde_json::{Value, json};
use testkit::openai::{Double, Reply};

use crate::documents::ASKING;
use crate::support::{Api, World, ok};

const CATEGORIES: [&str; 3] = ["bug", "feature", "question"];

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {"category": {"type": "string", "enum": CATEGORIES}},
        "required": ["category"],
        "additionalProperties": false,
    })
}

/// A prompt, and an agent of this provider that uses it.
async fn sorter(api: &Api, provider: &str) -> String {
    let prompt = json!({"name": "sorter", "system": "Sort it.", "user": "Post: {{ post }}"});
    api.create("/prompts", &prompt).await;
    let agent = json!({
        "name": "sorter", "provider": provider,
        "prompt": {"name": "sorter"}, "output_schema": schema(),
    });
    api.create("/agents", &agent).await
}

#[tokio::test]
async fn an_agent_answers_as_its_schema_says_and_its_tokens_are_counted() {
    let world = World::start().await;
    let api = world.api();
    let models = api.items("/models").await;
    assert!(models.iter().any(|model| model["provider"] == "sandbox"), "{models:?}");
    let id = sorter(&api, "sandbox").await;

    let asked = json!({"input": {"post": "A bug: it crashes"}});
    let done = ok(&api.post(&format!("/agents/{id}/invoke"), &asked).await, 200);
    assert_eq!(done["status"], "completed", "{done}");
    let category = done["output"]["category"].as_str().expect("a category");
    assert!(CATEGORIES.contains(&category), "{done}");
    let report = &done["report"];
    assert_eq!((&report["provider"], &report["calls"]), (&json!("sandbox"), &json!(1)));
    for tokens in ["input_tokens", "output_tokens"] {
        assert!(report[tokens].as_u64().is_some_and(|count| count > 0), "{report}");
    }

    let list = format!("/agents/{id}/invocations");
    let listed = api.until(&list, |page| page["items"][0]["status"] == "completed").await;
    let invocation = &listed["items"][0];
    assert_eq!((&invocation["id"], &invocation["output"]), (&done["id"], &done["output"]));
    assert_eq!((&invocation["prompt_version"], &invocation["revision"]), (&json!(1), &json!(1)));
    assert_eq!(&invocation["report"], report);
}

#[tokio::test]
async fn a_workflow_asks_an_agent_and_goes_on_with_the_answer() {
    let world = World::start().await;
    let api = world.api();
    let agent = sorter(&api, "sandbox").await;
    let workflow = api.publish(ASKING).await;
    let done = api.run(&workflow, &json!({"post": "I have a question"})).await;
    assert_eq!(done["status"], "completed", "{done}");
    assert_eq!(done["output"], json!({"answer": {"category": "question"}}));
    let listed = api.items(&format!("/agents/{agent}/invocations")).await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["execution_id"], done["id"]);
    assert_eq!(listed[0]["input"], json!({"post": "I have a question"}));
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_sent_back_once() {
    let double = Double::start().await.expect("a provider");
    let env = [("EVERSTEP_MODEL_URL", double.url()), ("EVERSTEP_MODEL_NAME", "tiny".to_owned())];
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let world = World::with(&env).await;
    let api = world.api();
    let id = sorter(&api, "local").await;
    let invoke = format!("/agents/{id}/invoke");
    let asked = json!({"input": {"post": "It crashes"}});
    let said = |text: &str| Reply::Text(text.to_owned());

    double.script("tiny", [said("no idea"), said(r#"{"category":"bug"}"#)]);
    let repaired = ok(&api.post(&invoke, &asked).await, 200);
    assert_eq!(repaired["output"], json!({"category": "bug"}), "{repaired}");
    assert_eq!(repaired["report"]["calls"], 2);
    let calls = double.asked();
    assert_eq!(calls.len(), 2);
    let first = calls[0].body["messages"].to_string();
    assert!(first.contains("Sort it.") && first.contains("Post: It crashes"), "{first}");

    double.script("tiny", [said("no idea")]);
    let failed = ok(&api.post(&invoke, &asked).await, 200);
    assert_eq!((&failed["status"], &failed["report"]["calls"]), (&json!("failed"), &json!(2)));
    assert_eq!(failed["error"]["class"], "output_invalid");

    double.script("tiny", [Reply::Refuse(401)]);
    let refused = ok(&api.post(&invoke, &asked).await, 200);
    assert_eq!(refused["error"]["class"], "auth", "{refused}");
}

#[tokio::test]
async fn prompts_have_versions_and_agents_may_keep_to_one() {
    let world = World::start().await;
    let api = world.api();
    let prompt = api.create("/prompts", &json!({"name": "greet", "user": "Say hello."})).await;
    let path = format!("/prompts/{prompt}");
    let second = json!({"user": "Say hello to {{ name }}.", "message": "by name"});
    assert_eq!(api.put(&path, 3, &second).await.status, 412);
    let changed = api.put(&path, 1, &second).await;
    assert_eq!(ok(&changed, 200)["revision"], 2, "{}", changed.text);
    let shown = api.body(&path).await;
    assert_eq!((&shown["version"], &shown["user"]), (&json!(2), &second["user"]));
    assert_eq!(shown["versions"].as_array().map(Vec::len), Some(2));
    assert_eq!(api.items("/prompts").await.len(), 1);

    let pinned = json!({"name": "old", "prompt": {"name": "greet", "version": 1}});
    let agent = api.create("/agents", &pinned).await;
    let done = ok(&api.post(&format!("/agents/{agent}/invoke"), &json!({"input": {}})).await, 200);
    let said = done["output"].as_str().expect("text").to_owned();
    assert!(said.starts_with("[sandbox]") && said.contains("Say hello."), "{said}");

    let unknown = json!({"name": "lost", "prompt": {"name": "greet", "version": 9}});
    assert_eq!(ok(&api.post("/agents", &unknown).await, 422)["errors"][0]["pointer"], "/prompt");
    assert_eq!(api.delete(&path, 2).await.status, 204);
    assert_eq!(ok(&api.get(&path).await, 404)["code"], "prompt_not_found");
}

#[tokio::test]
async fn one_key_makes_one_agent_however_many_ask_at_once() {
    let world = World::start().await;
    let api = world.api();
    for round in 0..5 {
        let body = json!({"name": format!("a{round}"), "provider": "sandbox"});
        let key = format!("round-{round}");
        let asked = (0..8).map(|_| api.post_once("/agents", &key, &body));
        for answer in futures::future::join_all(asked).await {
            assert_eq!((answer.status, &answer.body["name"]), (201, &body["name"]));
        }
    }
}

#[tokio::test]
async fn an_agent_can_be_changed_and_deleted() {
    let world = World::start().await;
    let api = world.api();
    let id = api.create("/agents", &json!({"name": "plain", "temperature": 0.5})).await;
    let path = format!("/agents/{id}");
    let spec = json!({"temperature": 1, "max_output_tokens": 20, "provider": "sandbox"});
    let changed = api.put(&path, 1, &spec).await;
    assert_eq!((ok(&changed, 200)["revision"].clone(), changed.version()), (json!(2), Some(2)));
    assert_eq!(api.put(&path, 2, &spec).await.version(), Some(2), "the same again changes nothing");
    let shown = api.get(&path).await;
    assert_eq!((shown.version(), &shown.body["max_output_tokens"]), (Some(2), &json!(20)));
    assert_eq!(api.items("/agents").await.len(), 1);
    let other = json!({"name": "plain"});
    assert_eq!(ok(&api.post("/agents", &other).await, 409)["code"], "agent_exists");

    assert_eq!(api.delete(&path, 2).await.status, 204);
    let invoked = api.post(&format!("{path}/invoke"), &json!({})).await;
    assert_eq!(ok(&invoked, 404)["code"], "agent_not_found");
}
