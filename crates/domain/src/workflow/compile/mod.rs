//! From a document to a plan. All faults of a document are found in one go.

mod call;
mod flow;
mod place;
mod shape;
mod span;
mod task;
mod uses;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::plan::{Plan, Reference, Shape, Task, TaskRef};
use super::source;
use crate::Fault;
use place::{Fields, Place};
use uses::Uses;

/// The most faults that are listed.
const FAULTS: usize = 100;

/// The most tasks of a workflow.
const TASKS: usize = 1_000;

/// How deep lists of tasks may nest.
const DEPTH: usize = 32;

/// Variables that every expression may use.
const VARIABLES: [&str; 5] = ["context", "input", "runtime", "task", "workflow"];

impl Plan {
    /// Compiles a document (YAML or JSON); if that fails, everything that is wrong with it.
    pub fn compile(document: &str) -> Result<Self, Vec<Fault>> {
        let root = source::read(document)?;
        let mut compiler = Compiler::default();
        let plan = compiler.workflow(&Place::root(&root));
        match plan {
            Some(plan) if compiler.faults.is_empty() => Ok(plan),
            Some(_) | None => Err(compiler.sorted_faults()),
        }
    }
}

#[derive(Default)]
struct Compiler {
    faults: Vec<Fault>,
    tasks: Vec<Option<Task>>,
    references: Vec<Reference>,
    uses: Uses,
}

/// What expressions at some place of a document may use, and how deep that place is.
#[derive(Clone, Default)]
struct Scope {
    variables: Vec<String>,
    depth: usize,
}

impl Scope {
    fn with(&self, names: &[&str]) -> Self {
        let mut scope = self.clone();
        scope.variables.extend(names.iter().map(|name| (*name).to_owned()));
        scope
    }

    fn names(&self) -> Vec<&str> {
        VARIABLES.iter().copied().chain(self.variables.iter().map(String::as_str)).collect()
    }
}

impl Compiler {
    fn fault(&mut self, at: &Place<'_>, code: &str, detail: impl Into<String>) {
        self.faults.push(Fault::new(&at.pointer, code, detail).at_line(at.node.line));
    }

    fn hinted(&mut self, at: &Place<'_>, code: &str, detail: impl Into<String>, hint: &str) {
        let fault = Fault::new(&at.pointer, code, detail).at_line(at.node.line);
        self.faults.push(fault.hint(hint));
    }

    fn unsupported(&mut self, at: &Place<'_>, what: &str, hint: Option<&str>) {
        let fault =
            Fault::new(&at.pointer, "not_supported_yet", format!("{what} is not supported yet"));
        let fault = fault.at_line(at.node.line);
        self.faults.push(match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        });
    }

    fn sorted_faults(mut self) -> Vec<Fault> {
        self.faults
            .sort_by(|one, other| (one.line, &one.pointer).cmp(&(other.line, &other.pointer)));
        self.faults.dedup();
        self.faults.truncate(FAULTS);
        self.faults
    }

    fn workflow(&mut self, root: &Place<'_>) -> Option<Plan> {
        let mut fields = Fields::of(self, root)?;
        let document = fields.take("document");
        let uses = fields.take("use");
        let (input, output) = (fields.take("input"), fields.take("output"));
        let (tasks, timeout) = (fields.take("do"), fields.take("timeout"));
        for (name, hint) in [
            ("schedule", "start executions through the API or a webhook"),
            ("evaluate", "expressions are jq in strict mode, which is the default"),
        ] {
            if let Some(place) = fields.take(name) {
                self.unsupported(&place, &format!("`{name}`"), Some(hint));
            }
        }
        fields.finish(self);
        let head = if let Some(place) = document {
            self.document(&place)
        } else {
            self.fault(root, "missing_field", "`document` is missing");
            None
        };
        if let Some(place) = &uses {
            self.read_uses(place);
        }
        let scope = Scope::default();
        let input = input.map(|at| self.shape(&at, "from", &scope)).unwrap_or_default();
        let timeout = timeout.and_then(|at| self.timeout(&at, &scope));
        let root_tasks = if let Some(place) = tasks {
            self.tasks(&place, &scope)
        } else {
            self.fault(root, "missing_field", "`do` is missing: the tasks to run");
            vec![]
        };
        let output_scope = scope.with(&["output"]);
        let output = output.map(|at| self.shape(&at, "as", &output_scope)).unwrap_or_default();
        if self.tasks.len() > TASKS {
            self.fault(root, "too_many_tasks", format!("a workflow has at most {TASKS} tasks"));
        }
        let head = head?;
        let tasks: Vec<Task> =
            std::mem::take(&mut self.tasks).into_iter().collect::<Option<_>>()?;
        let by_pointer: HashMap<String, TaskRef> =
            tasks.iter().enumerate().map(|(at, task)| (task.pointer.clone(), at)).collect();
        Some(Plan {
            namespace: head.namespace,
            name: head.name,
            version: head.version,
            title: head.title,
            definition: Arc::new(root.node.to_json()),
            input,
            output,
            timeout,
            root: root_tasks,
            tasks,
            by_pointer,
            references: std::mem::take(&mut self.references),
        })
    }

    fn document(&mut self, place: &Place<'_>) -> Option<Head> {
        let mut fields = Fields::of(self, place)?;
        let dsl = fields.required(self, "dsl");
        let namespace = fields.required(self, "namespace");
        let name = fields.required(self, "name");
        let version = fields.required(self, "version");
        let title = fields.take("title").and_then(|at| self.text(&at));
        for open in ["summary", "tags"] {
            fields.take(open);
        }
        let metadata = fields.take("metadata");
        fields.finish(self);
        if let Some(metadata) = metadata {
            self.metadata(&metadata);
        }
        if let Some(at) = dsl {
            self.dsl(&at);
        }
        let namespace = namespace.and_then(|at| self.label(&at));
        let name = name.and_then(|at| self.label(&at));
        let version = version.and_then(|at| self.version(&at));
        Some(Head { namespace: namespace?, name: name?, version: version?, title })
    }

    fn dsl(&mut self, at: &Place<'_>) {
        let Some(text) = self.text(at) else { return };
        let fits = semver::Version::parse(&text).is_ok_and(|v| (v.major, v.minor) == (1, 0));
        if !fits {
            self.hinted(
                at,
                "unknown_dsl",
                format!("`{text}` is no version of the language that is known here"),
                "1.0.0 to 1.0.x",
            );
        }
    }

    fn label(&mut self, at: &Place<'_>) -> Option<String> {
        let text = self.text(at)?;
        let mut faults = vec![];
        crate::name::check(&text, &mut faults);
        if faults.is_empty() {
            return Some(text);
        }
        let hint = "1 to 63 lower-case letters, digits and hyphens, no hyphen at either end";
        self.hinted(at, "malformed_name", format!("`{text}` is no name"), hint);
        None
    }

    fn version(&mut self, at: &Place<'_>) -> Option<String> {
        let Value::String(text) = at.node.to_json() else {
            self.hinted(at, "wrong_type", "a version must be text", "put it into quotes: '1.0.0'");
            return None;
        };
        if semver::Version::parse(&text).is_err() {
            let detail = format!("`{text}` is no semantic version");
            self.hinted(at, "malformed_version", detail, "such as 1.0.0");
            return None;
        }
        Some(text)
    }

    /// Metadata are the author's own, but for the part that is ours.
    fn metadata(&mut self, at: &Place<'_>) {
        let Some(mut fields) = Fields::of(self, at) else { return };
        if let Some(flow) = fields.take("flow") {
            self.unsupported(&flow, "`metadata.flow`", None);
        }
    }

    fn text(&mut self, at: &Place<'_>) -> Option<String> {
        match at.node.to_json() {
            Value::String(text) => Some(text),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => {
                self.fault(at, "wrong_type", "text is wanted here");
                None
            }
        }
    }

    fn truth(&mut self, at: &Place<'_>) -> bool {
        match at.node.to_json() {
            Value::Bool(truth) => truth,
            Value::Null
            | Value::String(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => {
                self.fault(at, "wrong_type", "true or false is wanted here");
                false
            }
        }
    }
}

struct Head {
    namespace: String,
    name: String,
    version: String,
    title: Option<String>,
}

/// A shape that was given, or one that leaves everything as it is.
fn given(shape: Option<Shape>) -> Shape {
    shape.unwrap_or_default()
}
