use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// All settings of an integration. Secrets are references into the vault, never values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where its operations go; paths of operations are appended.
    pub base_url: String,
    /// How requests authenticate.
    #[serde(default)]
    pub auth: Auth,
    /// Named requests that workflows may make.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub operations: BTreeMap<String, Operation>,
    /// The request that `test` makes; a GET of `base_url` if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Operation>,
    /// How its webhooks come in, if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
}

/// How requests authenticate.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// They do not.
    #[default]
    None,
    /// `Authorization: Bearer <secret>` (RFC 6750).
    Bearer {
        /// The token.
        secret: SecretRef,
    },
    /// `Authorization: Basic` (RFC 7617).
    Basic {
        /// The user name.
        username: String,
        /// The password.
        secret: SecretRef,
    },
    /// A header field of the service's own.
    Header {
        /// Its name.
        name: String,
        /// Its value.
        secret: SecretRef,
    },
}

/// A secret in the vault: which one, and enough to recognise it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretRef {
    /// Its id in the vault.
    pub id: Uuid,
    /// First 8 bytes of a keyed hash of it, in hex: tells two secrets apart, reveals neither.
    pub fingerprint: String,
}

/// A named request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// The method, in upper case.
    pub method: String,
    /// The path, appended to the base URL; `{name}` stands for a parameter, percent-encoded.
    pub path: String,
    /// Header fields; values may hold `{name}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The JSON body; a string that is exactly `{name}` becomes that parameter, of any type, and
    /// `{name}` within a longer string becomes its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// The header field that carries the idempotency key; `Idempotency-Key` if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_header: Option<String>,
}

/// How webhooks of an integration come in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// How deliveries are signed.
    pub scheme: Scheme,
    /// The signing secret.
    pub secret: SecretRef,
    /// The workflow that each delivery starts, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<WorkflowRef>,
    /// Event types that start it; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// Where a delivery's body names the person whose data it is: a JSON Pointer (RFC 6901) to a
    /// text or a number. None if deliveries are about nobody in particular.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// How deliveries are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// `X-Hub-Signature-256`, as GitHub does; deduplicated by `X-GitHub-Delivery`.
    GithubSha256,
    /// Standard Webhooks v1 (HMAC-SHA256); deduplicated by `webhook-id`.
    StandardWebhooks,
}

/// A workflow of the tenant, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkflowRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Webhook {
    /// The workflow that a delivery of this type starts, if any.
    #[must_use]
    pub fn started_by(&self, event_type: Option<&str>) -> Option<&WorkflowRef> {
        let wanted = self.events.is_empty()
            || event_type.is_some_and(|sent| self.events.iter().any(|event| event == sent));
        self.starts.as_ref().filter(|_| wanted)
    }

    /// What the person is called whose data a delivery is, if the body names anybody.
    #[must_use]
    pub fn subject_of(&self, body: &Value) -> Option<String> {
        match body.pointer(self.subject.as_deref()?)? {
            Value::String(name) => Some(name.clone()).filter(|name| !name.is_empty()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }
}
