//! A workflow, compiled: what the engine runs.
//!
//! Tasks lie in one arena and refer to each other by [`TaskRef`]; what is stored in events refers
//! to them by JSON Pointer, so that the order of the arena may change between releases.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::execution::HttpOutput;
use crate::expression::Expression;

/// Place of a task in [`Plan::tasks`].
pub type TaskRef = usize;

/// A compiled version of a workflow.
#[derive(Debug)]
pub struct Plan {
    /// `document.namespace`.
    pub namespace: String,
    /// `document.name`.
    pub name: String,
    /// `document.version`.
    pub version: String,
    /// `document.title`.
    pub title: Option<String>,
    /// The document as JSON, for `$workflow.definition`.
    pub definition: Arc<Value>,
    /// What happens to the workflow's input.
    pub input: Shape,
    /// What happens to the workflow's output.
    pub output: Shape,
    /// How long an execution may take.
    pub timeout: Option<Span>,
    /// The tasks of the outermost `do`.
    pub root: Vec<TaskRef>,
    /// All tasks.
    pub tasks: Vec<Task>,
    /// Where a task's pointer leads.
    pub by_pointer: HashMap<String, TaskRef>,
    /// What it names outside of itself.
    pub references: Vec<Reference>,
}

/// A name of something that the document counts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// What sort of thing.
    pub to: Referent,
    /// Its name.
    pub name: String,
    /// Where it is named, as a JSON Pointer.
    pub pointer: String,
    /// On which line.
    pub line: u32,
}

/// What a document may count on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Referent {
    /// An agent.
    Agent,
    /// An operation of an integration.
    Integration(String),
    /// A notification template.
    Template,
    /// A workflow of a namespace.
    Workflow(String),
}

/// A task and what all tasks have in common.
#[derive(Debug)]
pub struct Task {
    /// Its name, unique in its list.
    pub name: String,
    /// Where it stands in the document, as a JSON Pointer, such as `/do/0/classify`; its own part
    /// of [`Plan::definition`] is there.
    pub pointer: String,
    /// `if`.
    pub condition: Option<Expression>,
    /// `input`: schema of the raw input, then `from`.
    pub input: Shape,
    /// `output`: `as`, then schema of what came of it.
    pub output: Shape,
    /// `export`: `as`, then schema of the new context.
    pub export: Shape,
    /// `timeout`.
    pub timeout: Option<Span>,
    /// `then`.
    pub then: Next,
    /// What it does.
    pub kind: Kind,
}

/// A schema to satisfy and an expression that transforms; either may be missing.
#[derive(Debug, Default)]
pub struct Shape {
    /// The schema.
    pub schema: Option<Schema>,
    /// The transformation: `from` or `as`.
    pub map: Option<Template>,
}

/// A compiled JSON Schema (2020-12) that cannot reach the network or the disk.
#[derive(Debug, Clone)]
pub struct Schema(pub Arc<jsonschema::Validator>);

/// JSON with expressions in it.
#[derive(Debug, Clone)]
pub enum Template {
    /// As it stands.
    Literal(Value),
    /// The value of an expression.
    Expression(Expression),
    /// Text with `{name}` in it, each standing for a top-level member of the task's input
    /// (RFC 6570 level 1): endpoints only.
    Uri(String),
    /// An array.
    Array(Vec<Template>),
    /// An object.
    Object(Vec<(String, Template)>),
}

/// A length of time.
#[derive(Debug, Clone)]
pub enum Span {
    /// Known at save.
    Fixed(Duration),
    /// Known when the task runs: an object (`days`, `hours`, …) or ISO 8601 text.
    Dynamic(Template),
}

/// Where to go after a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The next one in the list.
    Continue,
    /// Out of the list it stands in.
    Exit,
    /// To the end of the workflow.
    End,
    /// To a task of the same list.
    Task(TaskRef),
}

/// What a task does.
#[derive(Debug)]
pub enum Kind {
    /// `set`.
    Set(Template),
    /// `do`.
    Do(Vec<TaskRef>),
    /// `switch`: the first case whose condition holds; no condition holds always.
    Switch(Vec<Case>),
    /// `for`.
    For(Box<For>),
    /// `fork`.
    Fork {
        /// One task a branch.
        branches: Vec<TaskRef>,
        /// Whether the first to finish wins.
        compete: bool,
    },
    /// `try`.
    Try(Box<Try>),
    /// `raise`.
    Raise(Box<RaisedError>),
    /// `wait`.
    Wait(Span),
    /// `emit`: the event's attributes and data.
    Emit(Template),
    /// `call` and `run: workflow`.
    Call(Box<Call>),
}

/// A case of a `switch`.
#[derive(Debug)]
pub struct Case {
    /// `when`; none for the default.
    pub when: Option<Expression>,
    /// Where it leads.
    pub then: Next,
}

/// A `for` task.
#[derive(Debug)]
pub struct For {
    /// The variable that holds the item.
    pub each: String,
    /// The variable that holds the index.
    pub at: String,
    /// What is looped over.
    pub items: Template,
    /// The loop goes on while this holds.
    pub condition: Option<Expression>,
    /// The body.
    pub body: Vec<TaskRef>,
}

/// A `try` task.
#[derive(Debug)]
pub struct Try {
    /// What is tried.
    pub body: Vec<TaskRef>,
    /// Members an error must have to be caught, with their values; empty catches every error.
    pub filter: Vec<(String, Value)>,
    /// The variable that holds the error.
    pub variable: String,
    /// Caught only if this holds.
    pub when: Option<Expression>,
    /// Not caught if this holds.
    pub except: Option<Expression>,
    /// How to try again.
    pub retry: Option<Retry>,
    /// What to do when it is caught and not tried again.
    pub handler: Vec<TaskRef>,
    /// `catch.then`: where to go after the handler instead of `then`.
    pub then: Option<Next>,
}

/// How to try again.
#[derive(Debug, Clone)]
pub struct Retry {
    /// Only if this holds.
    pub when: Option<Expression>,
    /// Not if this holds.
    pub except: Option<Expression>,
    /// The pause before the second attempt.
    pub delay: Option<Span>,
    /// How the pause grows.
    pub backoff: Backoff,
    /// Bounds of a random part that is added to the pause.
    pub jitter: Option<(Span, Span)>,
    /// The most attempts, the first one counted.
    pub attempts: Option<u32>,
    /// How long one attempt may take.
    pub attempt_timeout: Option<Span>,
    /// How long all attempts together may take.
    pub duration: Option<Span>,
}

/// How a pause between attempts grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backoff {
    /// Not at all.
    Constant,
    /// By one delay each time.
    Linear,
    /// Twofold each time.
    Exponential,
}

/// The error of a `raise` task.
#[derive(Debug, Clone)]
pub struct RaisedError {
    /// `type`.
    pub kind: Template,
    /// `status`.
    pub status: Template,
    /// `title`.
    pub title: Option<Template>,
    /// `detail`.
    pub detail: Option<Template>,
}

/// A call to the outside, with its expressions.
#[derive(Debug)]
pub enum Call {
    /// `call: http`.
    Http {
        /// `method`, in upper case.
        method: String,
        /// `endpoint`, or `endpoint.uri`.
        endpoint: Template,
        /// `headers`.
        headers: Option<Template>,
        /// `query`.
        query: Option<Template>,
        /// `body`.
        body: Option<Template>,
        /// `output`.
        output: HttpOutput,
        /// `redirect`.
        redirect: bool,
    },
    /// `call: agent` with `agent` and `input`.
    Agent {
        /// The agent's name.
        agent: String,
        /// What it is given; the task's input if none.
        input: Option<Template>,
    },
    /// `call: integration` with `integration`, `operation` and `parameters`.
    Integration {
        /// The integration's name.
        integration: String,
        /// One of its operations.
        operation: String,
        /// What the operation is filled with.
        parameters: Option<Template>,
    },
    /// `call: notify` with `channel`, `to`, `template` and `data`.
    Notify {
        /// `email`.
        channel: String,
        /// An address or a list of them.
        to: Template,
        /// The template's name.
        template: String,
        /// What it is filled with; the task's input if none.
        data: Option<Template>,
    },
    /// `run: workflow`.
    Workflow {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The semantic version; the newest if none (`latest`).
        version: Option<String>,
        /// What it is started with; the task's input if none.
        input: Option<Template>,
        /// Whether the task waits for its end.
        r#await: bool,
    },
}
