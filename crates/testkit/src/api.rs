//! A small client of Everstep's HTTP API.

use anyhow::{Context, Result, bail};
pub use reqwest::Method;
use reqwest::RequestBuilder;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// Calls one instance with one token.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body if it is JSON, else null.
    pub body: Value,
    /// The body as it came.
    pub text: String,
}

impl Client {
    /// A client of the instance at `base`, such as `http://127.0.0.1:8080`.
    #[must_use]
    pub fn new(base: impl Into<String>, token: Option<String>) -> Self {
        Self { http: crate::http::client(), base: base.into(), token }
    }

    /// Where the instance is.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A request to make more of: `path` counts from the root, such as `/readyz`.
    pub fn at_root(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// A request to make more of, with the token: `path` is below `/api/v1`.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.at_root(method, &format!("/api/v1{path}"));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Gets `path`.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(self.request(Method::GET, path)).await
    }

    /// Posts JSON to `path`.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// Puts JSON to `path`, if its version still is `version`.
    pub async fn put(&self, path: &str, version: u64, body: &Value) -> Result<Answer> {
        let request = self.request(Method::PUT, path).header("if-match", format!("\"{version}\""));
        self.send(request.json(body)).await
    }

    /// Deletes `path`, if its version still is `version`.
    pub async fn delete(&self, path: &str, version: u64) -> Result<Answer> {
        let request = self.request(Method::DELETE, path);
        self.send(request.header("if-match", format!("\"{version}\""))).await
    }

    /// Posts a workflow document (YAML or JSON).
    pub async fn post_document(&self, path: &str, document: &str) -> Result<Answer> {
        let request = self.request(Method::POST, path).header("content-type", "application/yaml");
        self.send(request.body(document.to_owned())).await
    }

    /// All items of a list, page by page; `path` has no query yet.
    pub async fn all(&self, path: &str) -> Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut page_path = format!("{path}?limit=200");
        loop {
            let page = self.get(&page_path).await?.expect(200)?.body;
            items.extend(page["items"].as_array().cloned().unwrap_or_default());
            match page["next_cursor"].as_str() {
                Some(next) => page_path = format!("{path}?limit=200&cursor={next}"),
                None => return Ok(items),
            }
        }
    }

    /// Sends a request; an error means that no whole answer came.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer> {
        let response = request.send().await.context("no answer")?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.context("half an answer")?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status, headers, body, text })
    }
}

impl Answer {
    /// This answer if it has that status, else an error that shows the answer.
    pub fn expect(self, status: u16) -> Result<Self> {
        if self.status != status {
            bail!("wanted {status}, got {}: {}", self.status, self.text);
        }
        Ok(self)
    }

    /// The header field `name`, if there is one.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The stream version in `ETag`, if there is one.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        self.header("etag")?.trim_matches('"').parse().ok()
    }
}
