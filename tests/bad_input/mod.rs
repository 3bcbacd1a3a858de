//! Bad requests: each is a problem with a stable code that says what is wrong and where; none
//! breaks anything, and none leaves a trace in the log.

mod bodies;
mod documents;
mod requests;
mod strangers;

use std::collections::BTreeSet;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::documents::ECHO;
use crate::support::{Api, World, eventually};

/// A request and what it must be answered.
struct Case {
    what: &'static str,
    request: RequestBuilder,
    status: u16,
    code: &'static str,
    /// Pointer and code of one of the errors.
    fault: Option<(String, &'static str)>,
}

impl Case {
    fn new(
        what: &'static str,
        request: RequestBuilder,
        (status, code): (u16, &'static str),
    ) -> Self {
        Self { what, request, status, code, fault: None }
    }

    /// It must also say what exactly is wrong, and where.
    fn at(mut self, pointer: impl Into<String>, code: &'static str) -> Self {
        self.fault = Some((pointer.into(), code));
        self
    }
}

/// An instance in which one thing of each sort is there.
struct Scene {
    world: World,
    api: Api,
    workflow: String,
    execution: String,
    agent: String,
    prompt: String,
    template: String,
    integration: String,
    notification: String,
}

impl Scene {
    async fn set() -> Self {
        let world = World::start().await;
        let api = world.api();
        let workflow = api.publish(ECHO).await;
        let execution = api.run(&workflow, &Value::Null).await;
        let prompt = api.create("/prompts", &json!({"name": "p", "user": "{{ x }}"})).await;
        let agent = api.create("/agents", &json!({"name": "a", "provider": "sandbox"})).await;
        let template = json!({"name": "t", "subject": "s", "text": "t"});
        let template = api.create("/notifications/templates", &template).await;
        let operations = json!({"ping": {"method": "GET", "path": "/ping"}});
        let integration = json!({
            "name": "i", "base_url": "https://example.com", "operations": operations,
            "webhook": {"scheme": "github_sha256", "secret": "a secret of some length"},
        });
        let integration = api.create("/integrations", &integration).await;
        let note = json!({"channel": "email", "to": "a@example.com", "template": "t"});
        let note = api.post("/notifications", &note).await.expect(202).expect("accepted").body;
        let notification = note["id"].as_str().expect("an id").to_owned();
        let path = format!("/notifications/{notification}");
        api.until(&path, |notification| notification["status"] == "sent").await;
        let execution = execution["id"].as_str().expect("an id").to_owned();
        Self { world, api, workflow, execution, agent, prompt, template, integration, notification }
    }

    /// Paths of all things, each to be asked for with GET.
    fn things(&self) -> Vec<(String, &'static str)> {
        let Self {
            workflow, execution, agent, prompt, template, integration, notification, ..
        } = self;
        vec![
            (format!("/workflows/{workflow}"), "workflow_not_found"),
            (format!("/workflows/{workflow}/executions/{execution}"), "execution_not_found"),
            (format!("/workflows/{workflow}/executions/{execution}/events"), "execution_not_found"),
            (format!("/workflows/{workflow}/executions/{execution}/stream"), "execution_not_found"),
            (format!("/agents/{agent}"), "agent_not_found"),
            (format!("/agents/{agent}/invocations"), "agent_not_found"),
            (format!("/prompts/{prompt}"), "prompt_not_found"),
            (format!("/notifications/templates/{template}"), "template_not_found"),
            (format!("/notifications/{notification}"), "notification_not_found"),
            (format!("/integrations/{integration}"), "integration_not_found"),
            (format!("/integrations/{integration}/logs"), "integration_not_found"),
        ]
    }

    /// A POST with JSON, as it stands.
    fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        let request = self.api.request(Method::POST, path);
        request.header("content-type", "application/json").body(body)
    }

    /// A POST of a workflow document.
    fn publish(&self, document: impl Into<reqwest::Body>) -> RequestBuilder {
        let request = self.api.request(Method::POST, "/workflows");
        request.header("content-type", "application/yaml").body(document)
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.api.request(Method::GET, path)
    }

    /// Sends all of them; afterwards the log is as long as before.
    async fn judge(&self, cases: Vec<Case>) {
        let before = self.world.head().await;
        let mut wrong = vec![];
        let mut codes = BTreeSet::new();
        for case in cases {
            codes.insert(case.code);
            wrong.extend(self.verdict(case).await);
        }
        assert_eq!(wrong, Vec::<String>::new());
        for code in codes {
            let page = self.api.at_root(Method::GET, &format!("/problems/{code}"));
            assert_eq!(self.api.send(page).await.status, 200, "there is no page about {code}");
        }
        // Whatever the workers had to do about it they have done once a change after it is seen.
        let last = self.api.run(&self.workflow, &json!("last")).await["id"].clone();
        let added = self.world.exported().await;
        let position = |event: &Value| event["position"].as_str()?.parse::<i64>().ok();
        let stray: Vec<&Value> = added
            .iter()
            .filter(|event| position(event) > Some(before))
            .filter(|event| {
                !event["subject"]
                    .as_str()
                    .unwrap_or_default()
                    .contains(last.as_str().unwrap_or("?"))
            })
            .collect();
        assert_eq!(stray, Vec::<&Value>::new(), "bad requests left something in the log");
    }

    /// What is wrong with the answer to a bad request.
    async fn verdict(&self, Case { what, request, status, code, fault }: Case) -> Option<String> {
        let answer = eventually(what, async || {
            // A server that has seen enough of a body may hang up on the rest of it.
            let request =
                request.try_clone().expect("a body that can be sent again").build().ok()?;
            let response = testkit::http::client().execute(request).await.ok()?;
            Some((
                response.status().as_u16(),
                response.headers().clone(),
                response.text().await.ok()?,
            ))
        });
        let (got, headers, text) = answer.await;
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok());
        let whole = kind == Some("application/problem+json")
            && headers.contains_key("x-request-id")
            && body["status"] == got
            && body["type"] == format!("/problems/{code}")
            && ["title", "detail"]
                .iter()
                .all(|member| body[member].as_str().is_some_and(|s| !s.is_empty()));
        let says = fault.as_ref().is_none_or(|(pointer, code)| {
            let errors = body["errors"].as_array().into_iter().flatten();
            errors
                .into_iter()
                .any(|error| error["pointer"] == pointer.as_str() && error["code"] == *code)
        });
        let fits = got == status && body["code"] == code && whole && says;
        (!fits).then(|| format!("{what}: wanted {status} {code} {fault:?}, got {got} {text}"))
    }
}
