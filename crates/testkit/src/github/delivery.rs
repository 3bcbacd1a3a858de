//! Webhook deliveries as GitHub sends them, with real payloads.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::webhook::github_signature;

/// One delivery.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its id (`X-GitHub-Delivery`): the same when it is sent again.
    pub id: Uuid,
    /// What happened (`X-GitHub-Event`), such as `issues`.
    pub event: String,
    /// The payload, byte for byte.
    pub body: String,
}

/// A kind of event in `index.json` of the npm package `@octokit/webhooks-examples`.
#[derive(Deserialize)]
struct Kind {
    name: String,
    examples: Vec<Box<RawValue>>,
}

/// The payloads of these `events` in the package's `index.json`, in its order; ids are made of
/// the event and its number, so that every run delivers the same.
pub fn payloads(index: &Path, events: &[&str]) -> Result<Vec<Delivery>> {
    let text = std::fs::read_to_string(index).with_context(|| index.display().to_string())?;
    let kinds: Vec<Kind> =
        serde_json::from_str(&text).with_context(|| index.display().to_string())?;
    let wanted = kinds.into_iter().filter(|kind| events.contains(&kind.name.as_str()));
    Ok(wanted.flat_map(deliveries).collect())
}

fn deliveries(kind: Kind) -> impl Iterator<Item = Delivery> {
    let Kind { name: event, examples } = kind;
    examples.into_iter().enumerate().map(move |(number, payload)| {
        let name = format!("{event}/{number}");
        Delivery::new(&event, &name, payload.get())
    })
}

impl Delivery {
    /// A delivery whose id is made of `name`.
    #[must_use]
    pub fn new(event: &str, name: &str, body: &str) -> Self {
        let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes());
        Self { id, event: event.to_owned(), body: body.to_owned() }
    }

    /// The request that delivers it, made of a POST to the webhook's address, signed with
    /// `secret`.
    pub fn sign(&self, post: reqwest::RequestBuilder, secret: &str) -> reqwest::RequestBuilder {
        post.header("content-type", "application/json")
            .header("user-agent", "GitHub-Hookshot/testkit")
            .header("x-github-event", &self.event)
            .header("x-github-delivery", self.id.to_string())
            .header("x-hub-signature-256", github_signature(secret, self.body.as_bytes()))
            .body(self.body.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_keep_their_bytes_and_their_ids() {
        let dir = tempfile::tempdir().expect("a directory");
        let index = dir.path().join("index.json");
        let text = r#"[{"name":"ping","examples":[{}]},
            {"name":"issues","examples":[{"b": 1,  "a":2},{"b":2}]}]"#;
        std::fs::write(&index, text).expect("written");

        let first = payloads(&index, &["issues", "issue_comment"]).expect("read");
        let again = payloads(&index, &["issues"]).expect("read");

        let bodies: Vec<&str> = first.iter().map(|delivery| delivery.body.as_str()).collect();
        assert_eq!(bodies, [r#"{"b": 1,  "a":2}"#, r#"{"b":2}"#]);
        assert_ne!(first[0].id, first[1].id);
        assert_eq!(first[1].id, again[1].id);
    }
}
