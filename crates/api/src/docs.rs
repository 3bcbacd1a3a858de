//! What the API says about itself: health, its description, a page to read it, and a page for
//! each problem. All of it is open, and served without the network.

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::{Json, Router, routing::get};
use serde_json::Value;
use utoipa::Modify;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi, Ref, RefOr, Required};

use crate::{App, Problem, problems};

/// Says in the description that every operation takes an API key.
pub(crate) struct Security;

impl Modify for Security {
    fn modify(&self, openapi: &mut OpenApi) {
        let bearer =
            HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("evs_").build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("api_key", SecurityScheme::Http(bearer));
        openapi.security = Some(vec![SecurityRequirement::new("api_key", Vec::<String>::new())]);
    }
}

/// Describes what all operations have in common besides.
pub(crate) fn complete(openapi: &mut OpenApi) {
    let key = header_field(
        "Idempotency-Key",
        "The same key again is answered like the first time, and nothing is done twice",
    );
    let position = header_field(
        "Min-Position",
        "The X-Position of an earlier answer: what it did is shown, or the answer is 503",
    );
    for (path, item) in &mut openapi.paths.paths {
        // Webhooks are told apart by what their senders number them with.
        let commands = [&mut item.post, &mut item.put, &mut item.delete];
        for operation in commands.into_iter().flatten().filter(|_| !path.contains("/webhooks/")) {
            operation.parameters.get_or_insert_default().push(RefOr::T(key.clone()));
        }
        if let Some(operation) = &mut item.get {
            operation.parameters.get_or_insert_default().push(RefOr::T(position.clone()));
        }
    }
    name_integrations(openapi);
}

fn header_field(name: &str, description: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

/// A new integration has a name besides its settings, and these take no other members: so the two
/// together are a schema of their own.
fn name_integrations(openapi: &mut OpenApi) {
    let components = openapi.components.get_or_insert_default();
    let Some(RefOr::T(Schema::Object(settings))) = components.schemas.get("IntegrationSettings")
    else {
        return;
    };
    let mut create = settings.clone();
    let name = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("Its name, unique in the tenant."))
        .build();
    create.properties.insert("name".to_owned(), RefOr::T(Schema::Object(name)));
    create.required.push("name".to_owned());
    create.description = Some("A new integration.".to_owned());
    components.schemas.insert("CreateIntegration".to_owned(), RefOr::T(Schema::Object(create)));
    for (path, item) in &mut openapi.paths.paths {
        let body = item.post.as_mut().filter(|_| path.ends_with("/integrations"));
        if let Some(RefOr::T(body)) = body.and_then(|post| post.request_body.as_mut()) {
            for content in body.content.values_mut() {
                if let RefOr::T(content) = content {
                    content.schema = Some(Ref::from_schema_name("CreateIntegration").into());
                }
            }
        }
    }
}

pub(crate) fn router(description: &OpenApi) -> Router<App> {
    let value = serde_json::to_value(description).unwrap_or_default();
    let page = page(&value);
    let shared = description.clone();
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/openapi.json", get(async move || Json(shared.clone())))
        .route("/docs", get(async move || styled(page.clone())))
        .route("/problems/{code}", get(problem))
}

/// Ready is who can reach the log and the read models, and will be there for a while.
async fn ready(State(app): State<App>) -> Result<&'static str, Problem> {
    if *app.leaving.borrow() {
        return Err(Problem::unavailable("unavailable", "this process is about to stop", 1));
    }
    let away = || Problem::unavailable("unavailable", "the database is away", 1);
    app.log.head().await.map_err(|_| away())?;
    sqlx::query("SELECT 1").execute(&app.views).await.map_err(|_| away())?;
    Ok("ready\n")
}

async fn problem(Path(code): Path<String>) -> Result<Response, Problem> {
    let text = problems::page(&code).ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, "not_found", "there is no such problem")
    })?;
    Ok(([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], text).into_response())
}

fn styled(page: String) -> Response {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(page)).into_response()
}

/// One page with every operation, made once at start.
fn page(description: &Value) -> String {
    let mut rows = String::new();
    for (path, operations) in description["paths"].as_object().into_iter().flatten() {
        for (method, operation) in operations.as_object().into_iter().flatten() {
            rows.push_str(&section(path, method, operation));
        }
    }
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Everstep API</title><style>{STYLE}\
         </style><h1>Everstep API</h1><p>Machine-readable: <a href=/openapi.json>openapi.json</a>. \
         Every request but webhooks carries <code>Authorization: Bearer evs_…</code>.</p>{rows}"
    )
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;\
    padding:0 1rem;color-scheme:light dark}h2{font:600 1rem ui-monospace,monospace;margin:2rem 0 .25rem}\
    table{border-collapse:collapse}td{padding:.1rem 1rem .1rem 0;vertical-align:top}\
    code{font-family:ui-monospace,monospace}p{margin:.25rem 0}";

fn section(path: &str, method: &str, operation: &Value) -> String {
    let text = |value: &Value| escape(value.as_str().unwrap_or_default());
    let parameter = |parameter: &Value| {
        let place = text(&parameter["in"]);
        format!(
            "<tr><td><code>{}</code><td>{place}<td>{}",
            text(&parameter["name"]),
            text(&parameter["description"])
        )
    };
    let parameters: String =
        operation["parameters"].as_array().into_iter().flatten().map(parameter).collect();
    let answer = |(status, answer): (&String, &Value)| {
        format!("<tr><td><code>{}</code><td><td>{}", escape(status), text(&answer["description"]))
    };
    let answers: String =
        operation["responses"].as_object().into_iter().flatten().map(answer).collect();
    format!(
        "<h2>{} {}</h2><p>{}</p><p>{}</p><table>{parameters}{answers}</table>",
        method.to_uppercase(),
        escape(path),
        text(&operation["summary"]),
        text(&operation["description"]),
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
