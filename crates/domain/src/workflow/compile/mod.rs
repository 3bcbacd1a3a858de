//! From a document to a plan. All faults of a document are found in one go.

mod call;
mod data;
mod flow;
mod head;
mod http;
mod place;
mod raise;
mod span;
mod task;
#[cfg(test)]
mod tests;
mod uses;

use std::collections::HashMap;
use std::sync::Arc;

use super::plan::{Plan, Reference, Referent, Task, TaskRef};
use super::source;
use crate::{Fault, name};
use place::{Fields, Place, nearest, quoted};
use uses::Uses;

/// The most faults that are listed.
const FAULTS: usize = 100;

/// The most faults that are collected; beyond it somebody is only testing our patience.
const COLLECTED: usize = 1_000;

/// The most tasks of a workflow.
const TASKS: usize = 1_000;

/// The most expressions of a workflow.
const EXPRESSIONS: usize = 5_000;

/// Variables that every expression may use.
const VARIABLES: [&str; 5] = ["context", "input", "runtime", "task", "workflow"];

impl Plan {
    /// Compiles a document (YAML or JSON); if that fails, everything that is wrong with it: the
    /// first hundred faults by line.
    pub fn compile(document: &str) -> Result<Self, Vec<Fault>> {
        let root = source::read(document).map_err(sorted)?;
        let mut compiler = Compiler::default();
        let plan = compiler.workflow(&Place::root(&root));
        match plan {
            Some(plan) if compiler.faults.is_empty() => Ok(plan),
            Some(_) | None => Err(sorted(compiler.faults)),
        }
    }
}

fn sorted(mut faults: Vec<Fault>) -> Vec<Fault> {
    faults.sort_by(|one, other| (one.line, &one.pointer).cmp(&(other.line, &other.pointer)));
    faults.dedup();
    faults.truncate(FAULTS);
    faults
}

#[derive(Default)]
struct Compiler {
    faults: Vec<Fault>,
    tasks: Vec<Option<Task>>,
    references: Vec<Reference>,
    uses: Uses,
    /// How many expressions there were so far.
    expressions: usize,
    /// How many patterns of schemas there were so far.
    patterns: usize,
}

/// What expressions at some place of a document may use besides [`VARIABLES`].
#[derive(Clone, Default)]
struct Scope {
    variables: Vec<String>,
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
    /// Whether further faults are not collected any more.
    fn is_fed_up(&self) -> bool {
        self.faults.len() >= COLLECTED
    }

    fn fault(&mut self, at: &Place<'_>, code: &str, detail: impl Into<String>) {
        if !self.is_fed_up() {
            self.faults.push(Fault::new(at.pointer(), code, detail).at_line(at.node.line));
        }
    }

    fn hinted(&mut self, at: &Place<'_>, code: &str, detail: impl Into<String>, hint: &str) {
        if !self.is_fed_up() {
            let fault = Fault::new(at.pointer(), code, detail).at_line(at.node.line);
            self.faults.push(fault.hint(hint));
        }
    }

    /// Notes something that the language has and we have not.
    fn unsupported(&mut self, at: &Place<'_>, what: &str, hint: Option<&str>) {
        let detail = format!("{what} is not supported yet");
        match hint {
            Some(hint) => self.hinted(at, "not_supported_yet", detail, hint),
            None => self.fault(at, "not_supported_yet", detail),
        }
    }

    fn workflow(&mut self, root: &Place<'_>) -> Option<Plan> {
        let mut fields = Fields::of(self, root)?;
        let document = fields.required(self, "document");
        let uses = fields.take("use");
        let (input, output) = (fields.take("input"), fields.take("output"));
        let (tasks, timeout) = (fields.required(self, "do"), fields.take("timeout"));
        let (schedule, evaluate) = (fields.take("schedule"), fields.take("evaluate"));
        fields.finish(self);
        if let Some(at) = schedule {
            let hint = "start executions through the API or a webhook";
            self.unsupported(&at, "`schedule`", Some(hint));
        }
        if let Some(at) = evaluate {
            self.evaluate(&at);
        }
        let head = document.and_then(|at| self.head(&at));
        if let Some(at) = uses {
            self.read_uses(&at);
        }
        let scope = Scope::default();
        let after = scope.with(&["output"]);
        let input = input.map(|at| self.shape(&at, "from", &scope)).unwrap_or_default();
        let timeout = timeout.and_then(|at| self.timeout(&at, &scope));
        let list = tasks.map(|at| self.tasks(&at, &scope));
        let output = output.map(|at| self.shape(&at, "as", &after)).unwrap_or_default();
        let (head, root_tasks) = (head?, list?);
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

    /// Any text.
    fn text<'n>(&mut self, at: &Place<'n>) -> Option<&'n str> {
        let text = at.text();
        if text.is_none() {
            self.fault(at, "wrong_type", "text is wanted here");
        }
        text
    }

    /// One of a few words.
    fn choice<'k>(&mut self, at: &Place<'_>, known: &[&'k str]) -> Option<&'k str> {
        let text = self.text(at)?;
        let found = known.iter().copied().find(|known| *known == text);
        if found.is_none() {
            let detail = format!("{} is not among what is known here", quoted(text));
            let hint = match nearest(text, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => known.join(", "),
            };
            self.hinted(at, "unknown_value", detail, &hint);
        }
        found
    }

    fn truth(&mut self, at: &Place<'_>) -> Option<bool> {
        let truth = at.truth();
        if truth.is_none() {
            self.fault(at, "wrong_type", "true or false is wanted here");
        }
        truth
    }

    /// A name that could be that of a thing.
    fn label(&mut self, at: &Place<'_>) -> Option<String> {
        let text = self.text(at)?;
        if name::is_good(text) {
            return Some(text.to_owned());
        }
        let hint = "1 to 63 lower-case letters, digits and hyphens, no hyphen at either end";
        self.hinted(at, "malformed_name", format!("{} is no name", quoted(text)), hint);
        None
    }

    /// A name of something outside of the document, noted for whoever can check it.
    fn named(&mut self, at: &Place<'_>, to: Referent) -> Option<String> {
        let name = self.label(at)?;
        let (pointer, line) = (at.pointer(), at.node.line);
        self.references.push(Reference { to, name: name.clone(), pointer, line });
        Some(name)
    }

    /// Metadata are the author's own, but for the part that is ours.
    fn metadata(&mut self, at: &Place<'_>) {
        let Some(mut fields) = Fields::of(self, at) else { return };
        if let Some(flow) = fields.take("flow") {
            self.unsupported(&flow, "`metadata.flow`", None);
        }
    }
}
