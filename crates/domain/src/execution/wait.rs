//! What an execution waits for.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::storable::even_null;
use crate::{Personal, Timestamp};

/// Names a wait within its execution.
pub type WaitId = u32;

/// Something an execution waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wait {
    /// Its name, never used again in this execution.
    pub id: WaitId,
    /// The task that waits, as a JSON Pointer into the document.
    pub task: String,
    /// The run of that task.
    pub run: u32,
    /// Since when.
    pub since: Timestamp,
    /// For what.
    pub what: What,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A moment.
    Timer {
        /// When it fires, by the database's clock.
        due_at: Timestamp,
        /// Why it was set.
        purpose: Purpose,
    },
    /// An answer from outside.
    Call {
        /// With the execution's id before it, the idempotency key: the same for as long as the
        /// outcome is unknown.
        key: String,
        /// What is asked.
        request: Request,
    },
}

/// Why a timer was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A `wait` task.
    Wait,
    /// The pause before the next attempt of a `try`.
    Retry,
    /// A task must be done by then.
    TaskTimeout,
    /// The execution must be done by then.
    WorkflowTimeout,
    /// A turn that had become too long goes on in a new one, at once.
    Breath,
}

/// A call to the outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum Request {
    /// `call: http`.
    Http(HttpCall),
    /// `call: agent`: asks an agent of this tenant.
    Agent {
        /// The agent's name.
        agent: String,
        /// What it is given.
        input: Personal<Value>,
    },
    /// `call: integration`: runs an operation of an integration of this tenant.
    Integration {
        /// The integration's name.
        integration: String,
        /// One of its operations.
        operation: String,
        /// What the operation's templates are filled with.
        parameters: Personal<Map<String, Value>>,
    },
    /// `call: notify`: sends a notification.
    Notify {
        /// The channel; `email` is the one there is.
        channel: String,
        /// Whom to, by address.
        to: Personal<Vec<String>>,
        /// The template's name.
        template: String,
        /// What the template is filled with.
        data: Personal<Value>,
    },
    /// `run: workflow`: runs another workflow of this tenant.
    Workflow {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The semantic version asked for; the newest if none.
        version: Option<String>,
        /// What it is started with.
        input: Personal<Value>,
        /// Whether the task waits for its end.
        r#await: bool,
    },
}

/// An HTTP request of a workflow, with every expression evaluated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpCall {
    /// The method, in upper case.
    pub method: String,
    /// Where to.
    pub url: Personal<String>,
    /// Header fields.
    #[serde(default, skip_serializing_if = "Personal::is_default")]
    pub headers: Personal<Map<String, Value>>,
    /// Query parameters.
    #[serde(default, skip_serializing_if = "Personal::is_default")]
    pub query: Personal<Map<String, Value>>,
    /// The body; a string is sent as it is, anything else as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "even_null")]
    pub body: Option<Personal<Value>>,
    /// What the task's output is.
    pub output: HttpOutput,
    /// Whether a 3xx answer counts as success (`redirect: true`).
    pub redirect: bool,
}

/// What an HTTP call gives its task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpOutput {
    /// The body, parsed if it is JSON.
    #[default]
    Content,
    /// The body, base64.
    Raw,
    /// Request, status, header fields and body.
    Response,
}

/// How a call came back.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It was carried out; what it gave.
    Success(Value),
    /// It was definitely not carried out, or its answer is an error.
    Failure(super::Error),
    /// It may have been carried out: the next attempt uses the same idempotency key.
    Unknown(super::Error),
}
