//! A client of the API: one place that knows HTTP.

mod events;
mod problem;
mod types;

use std::time::Duration;

use anyhow::{Context, anyhow};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::{Host, Url};

pub(crate) use events::{CloudEvent, Events, lines};
pub(crate) use problem::Problem;
use types::Page;
pub(crate) use types::{Execution, Named, Workflow};

use crate::failure::Failure;
use crate::random_uuid;

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long to wait for an answer: longer than the server waits for anything.
const ANSWER: Duration = Duration::from_secs(90);
/// The most a page holds.
const PAGE: usize = 200;

/// A client of one API with one key.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    api: Url,
    token: Option<SecretString>,
}

/// An answer that is not a refusal.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The version of what was asked for or changed.
    pub(crate) version: Option<i64>,
    /// The body.
    pub(crate) body: Value,
}

impl Answer {
    /// The body as a `T`.
    pub(crate) fn typed<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let typed = T::deserialize(&self.body).context("the API answered something unknown");
        Ok(typed?)
    }
}

impl Client {
    /// A client of the API at `url`.
    #[expect(clippy::disallowed_methods, reason = "the user's own client, not the platform's")]
    pub(crate) fn new(url: &Url, token: Option<SecretString>) -> Result<Self, Failure> {
        let mut http = reqwest::Client::builder().connect_timeout(CONNECT);
        if is_local(url) {
            http = http.no_proxy();
        }
        let http = http.user_agent(concat!("everstep/", env!("CARGO_PKG_VERSION"))).build();
        let http = http.context("setting up the HTTP client")?;
        Ok(Self { http, api: url.clone(), token })
    }

    /// Asks for the thing at `path`, as it is at `position` or later.
    pub(crate) async fn get(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        position: Option<i64>,
    ) -> Result<Answer, Failure> {
        let mut request = self.request(Method::GET, path, query)?;
        if let Some(position) = position {
            request = request.header("Min-Position", position);
        }
        self.send(request).await
    }

    /// Posts JSON to `path`. It carries an idempotency key of its own.
    pub(crate) async fn post(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        body: &Value,
    ) -> Result<Answer, Failure> {
        let key = random_uuid().to_string();
        let request = self.request(Method::POST, path, query)?.json(body);
        self.send(request.header("Idempotency-Key", key)).await
    }

    /// Sends a document to `path`: as a new one, or in place of `version`.
    pub(crate) async fn put_document(
        &self,
        path: &[&str],
        version: Option<i64>,
        document: Document,
    ) -> Result<Answer, Failure> {
        let method = if version.is_some() { Method::PUT } else { Method::POST };
        let mut request = self.request(method, path, &[])?;
        if let Some(version) = version {
            request = request.header("If-Match", format!("\"{version}\""));
        }
        let request = match document {
            Document::Yaml(text) => request.header(CONTENT_TYPE, "application/yaml").body(text),
            Document::Json(value) => request.json(&value),
        };
        self.send(request).await
    }

    /// The first `limit` items of the list at `path`, and whether there are more.
    pub(crate) async fn list(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        limit: usize,
    ) -> Result<(Vec<Value>, bool), Failure> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let size = (limit - items.len()).clamp(1, PAGE).to_string();
            let mut query = query.to_vec();
            query.push(("limit", &size));
            if let Some(cursor) = &cursor {
                query.push(("cursor", cursor));
            }
            let page: Page = self.get(path, &query, None).await?.typed()?;
            items.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() || items.len() >= limit {
                let more = cursor.is_some() || items.len() > limit;
                items.truncate(limit);
                return Ok((items, more));
            }
        }
    }

    /// A body that is read as it comes, such as a stream of events.
    pub(crate) async fn stream(
        &self,
        path: &[&str],
        accept: &'static str,
        after: Option<&str>,
    ) -> Result<Response, Failure> {
        let url = self.url(path, &[])?;
        let mut request = self.authorized(self.http.request(Method::GET, url))?;
        request = request.header(ACCEPT, accept);
        if let Some(after) = after {
            request = request.header("Last-Event-ID", after);
        }
        self.accepted(request).await
    }

    fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<RequestBuilder, Failure> {
        let url = self.url(path, query)?;
        self.authorized(self.http.request(method, url).timeout(ANSWER))
    }

    fn authorized(&self, request: RequestBuilder) -> Result<RequestBuilder, Failure> {
        let Some(token) = &self.token else { return Ok(request) };
        let value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()));
        let mut value =
            value.map_err(|_| Failure::Usage("the token is not one line of text".to_owned()))?;
        value.set_sensitive(true);
        Ok(request.header(AUTHORIZATION, value))
    }

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Url, Failure> {
        let mut url = self.api.clone();
        url.path_segments_mut()
            .map_err(|()| Failure::Usage(format!("{} is not the URL of an API", self.api)))?
            .pop_if_empty()
            .extend(["api", "v1"])
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let response = self.accepted(request).await?;
        let version = number(response.headers(), "ETag");
        let body = response.bytes().await.map_err(|error| self.unreachable(error))?;
        let body = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body).context("the API answered something that is not JSON")?
        };
        Ok(Answer { version, body })
    }

    /// Sends a request; an answer that is a refusal is an error.
    async fn accepted(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(Failure::Refused(Box::new(Problem::of(response, &self.api).await)))
    }

    fn unreachable(&self, error: reqwest::Error) -> Failure {
        if error.is_timeout() {
            return Failure::TimedOut(format!("{} did not answer in time", self.api));
        }
        let hint = if error.is_connect() { "; is it running?" } else { "" };
        let error = anyhow::Error::new(error.without_url());
        Failure::Other(anyhow!("cannot reach the API at {}{hint} ({error:#})", self.api))
    }
}

/// What is sent to be kept.
#[derive(Debug, Clone)]
pub(crate) enum Document {
    /// Text that is kept byte for byte.
    Yaml(String),
    /// Data.
    Json(Value),
}

/// Whether `url` is on this machine, where no proxy has any business.
fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<i64> {
    headers.get(name)?.to_str().ok()?.trim_matches('"').parse().ok()
}
