//! Tasks: what they have in common, and what each kind adds.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::place::{Fields, Place};
use super::{Compiler, DEPTH, Scope, given};
use crate::workflow::errors::canonical_type;
use crate::workflow::plan::{For, Kind, Next, RaisedError, Task, TaskRef, Template, Try};

/// The members by which a kind of task is known, with what we say to those we do not run.
const KINDS: [&str; 12] =
    ["call", "do", "emit", "for", "fork", "listen", "raise", "run", "set", "switch", "try", "wait"];

/// A task that was numbered and is to be read.
pub(super) struct Listed<'n> {
    pub(super) number: TaskRef,
    pub(super) name: &'n str,
    pub(super) place: Place<'n>,
}

/// Where `then` may lead: the names of a list.
pub(super) type Targets<'n> = HashMap<&'n str, TaskRef>;

impl Compiler {
    /// A list of tasks that run one after the other.
    pub(super) fn tasks(&mut self, at: &Place<'_>, scope: &Scope) -> Vec<TaskRef> {
        let listed = self.listed(at, scope);
        self.check_reachable(&listed);
        listed.iter().map(|task| task.number).collect()
    }

    /// A list of tasks: each item is a map of one member, the task under its name.
    fn listed<'n>(&mut self, at: &Place<'n>, scope: &Scope) -> Vec<Listed<'n>> {
        let scope = Scope { depth: scope.depth + 1, ..scope.clone() };
        if scope.depth > DEPTH {
            let detail = format!("lists of tasks nest deeper than {DEPTH} levels");
            self.fault(at, "nested_too_deep", detail);
            return vec![];
        }
        let Some(items) = at.items() else {
            let hint = "- nameOfTheTask:\n    set: {...}";
            self.hinted(at, "wrong_type", "a list of tasks is wanted here", hint);
            return vec![];
        };
        if items.is_empty() {
            self.fault(at, "empty_list", "at least one task is wanted here");
        }
        let mut targets = Targets::new();
        let mut listed = vec![];
        for item in &items {
            let members = item.members().unwrap_or_default();
            let [(name, place)] = members.as_slice() else {
                let detail = "a task is an object with one member: its name";
                self.fault(item, "wrong_type", detail);
                continue;
            };
            if ["continue", "exit", "end"].contains(name) {
                let detail =
                    format!("`{name}` means something in `then`, so no task can be called so");
                self.fault(place, "malformed_name", detail);
            }
            let number = self.tasks.len();
            self.tasks.push(None);
            if targets.insert(name, number).is_some() {
                let detail = format!("another task of this list is called `{name}`");
                self.fault(place, "duplicate_task", detail);
            }
            listed.push(Listed { number, name, place: place.clone() });
        }
        for task in &listed {
            let compiled = self.task(task, &targets, &scope);
            self.tasks[task.number] = compiled;
        }
        listed
    }

    fn task(&mut self, listed: &Listed<'_>, targets: &Targets<'_>, scope: &Scope) -> Option<Task> {
        let at = &listed.place;
        let mut fields = Fields::of(self, at)?;
        let condition = fields.take("if");
        let (input, output) = (fields.take("input"), fields.take("output"));
        let (export, timeout) = (fields.take("export"), fields.take("timeout"));
        let (then, metadata) = (fields.take("then"), fields.take("metadata"));
        let kind = self.kind(at, &mut fields, targets, scope);
        fields.finish(self);
        if let Some(metadata) = metadata {
            self.metadata(&metadata);
        }
        let after = scope.with(&["output"]);
        let condition = condition.map(|at| self.expression(&at, scope));
        let input = input.map(|at| self.shape(&at, "from", scope));
        let output = output.map(|at| self.shape(&at, "as", &after));
        let export = export.map(|at| self.shape(&at, "as", &after));
        let timeout = timeout.map(|at| self.timeout(&at, scope));
        let then = then.map(|at| self.next(&at, targets));
        Some(Task {
            name: listed.name.to_owned(),
            pointer: at.pointer.clone(),
            definition: Arc::new(at.node.to_json()),
            condition: condition.flatten(),
            input: given(input),
            output: given(output),
            export: given(export),
            timeout: timeout.flatten(),
            then: then.flatten().unwrap_or(Next::Continue),
            kind: kind?,
        })
    }

    fn kind<'n>(
        &mut self,
        at: &Place<'n>,
        fields: &mut Fields<'n>,
        targets: &Targets<'_>,
        scope: &Scope,
    ) -> Option<Kind> {
        let present: Vec<&str> = KINDS.into_iter().filter(|kind| fields.has(kind)).collect();
        // `do` also is the body of `for`.
        let kind = match present.as_slice() {
            ["do", "for"] => "for",
            [one] => one,
            [] => {
                let hint = format!("one of {}", KINDS.join(", "));
                self.hinted(at, "unknown_task", "it does not say what the task does", &hint);
                return None;
            }
            several => {
                let detail = format!("a task does one thing, not {}", several.join(" and "));
                self.fault(at, "ambiguous_task", detail);
                return None;
            }
        };
        match kind {
            "set" => fields.take("set").and_then(|at| self.set(&at, scope)).map(Kind::Set),
            "do" => fields.take("do").map(|at| Kind::Do(self.tasks(&at, scope))),
            "switch" => {
                fields.take("switch").map(|at| Kind::Switch(self.cases(&at, targets, scope)))
            }
            "for" => self.each(fields, scope).map(|each| Kind::For(Box::new(each))),
            "fork" => fields.take("fork").and_then(|at| self.fork(&at, scope)),
            "try" => self.attempt(fields, targets, scope).map(|it| Kind::Try(Box::new(it))),
            "raise" => {
                let at = fields.take("raise")?;
                self.raise(&at, scope).map(|error| Kind::Raise(Box::new(error)))
            }
            "wait" => fields.take("wait").and_then(|at| self.span(&at, scope)).map(Kind::Wait),
            "emit" => fields.take("emit").and_then(|at| self.emit(&at, scope)).map(Kind::Emit),
            "call" => self.call(fields, scope).map(|call| Kind::Call(Box::new(call))),
            "run" => {
                let at = fields.take("run")?;
                self.run(&at, scope).map(|call| Kind::Call(Box::new(call)))
            }
            _ => {
                for rest in ["listen", "foreach"] {
                    fields.take(rest);
                }
                self.unsupported(at, "`listen`", None);
                None
            }
        }
    }

    fn set(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Template> {
        if at.members().is_none() && at.text().and_then(super::shape::wrapped).is_none() {
            let detail = "an object or an expression is wanted here";
            self.fault(at, "wrong_type", detail);
            return None;
        }
        self.template(at, scope)
    }

    fn each(&mut self, fields: &mut Fields<'_>, scope: &Scope) -> Option<For> {
        let (head, body) = (fields.take("for")?, fields.take("do"));
        let condition = fields.take("while");
        let mut parts = Fields::of(self, &head)?;
        let each = parts.take("each").and_then(|at| self.variable(&at));
        let at = parts.take("at").and_then(|at| self.variable(&at));
        let items = parts.required(self, "in");
        parts.finish(self);
        let (each, at) = (each.unwrap_or("item".into()), at.unwrap_or("index".into()));
        let items = items.and_then(|at| self.mapping(&at, scope));
        let inside = scope.with(&[&each, &at]);
        let condition = condition.map(|at| self.expression(&at, &inside));
        let body = if let Some(body) = body {
            self.tasks(&body, &inside)
        } else {
            self.fault(&head, "missing_field", "`do` is missing: what to do with each item");
            return None;
        };
        Some(For { each, at, items: items?, condition: condition.flatten(), body })
    }

    /// The name of a variable, without `$`.
    fn variable(&mut self, at: &Place<'_>) -> Option<String> {
        let text = self.text(at)?;
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let starts = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        if starts && text.bytes().all(good) && !super::VARIABLES.contains(&text.as_str()) {
            return Some(text);
        }
        let hint = "letters, digits and underscores, and none of the names that mean something";
        self.hinted(at, "malformed_name", format!("`{text}` cannot name a variable"), hint);
        None
    }

    fn fork(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Kind> {
        let mut fields = Fields::of(self, at)?;
        let branches = fields.required(self, "branches");
        let compete = fields.take("compete").is_some_and(|at| self.truth(&at));
        fields.finish(self);
        let branches = self.listed(&branches?, scope);
        let branches = branches.iter().map(|branch| branch.number).collect();
        Some(Kind::Fork { branches, compete })
    }

    fn attempt(
        &mut self,
        fields: &mut Fields<'_>,
        targets: &Targets<'_>,
        scope: &Scope,
    ) -> Option<Try> {
        let (body, catch) = (fields.take("try")?, fields.required(self, "catch"));
        let body = self.tasks(&body, scope);
        let mut parts = Fields::of(self, &catch?)?;
        let errors = parts.take("errors");
        let variable = parts.take("as").and_then(|at| self.variable(&at));
        let variable = variable.unwrap_or("error".into());
        let inside = scope.with(&[&variable]);
        let when = parts.take("when").and_then(|at| self.expression(&at, &inside));
        let except = parts.take("exceptWhen").and_then(|at| self.expression(&at, &inside));
        let retry = parts.take("retry").and_then(|at| self.retry(&at, &inside));
        let handler = parts.take("do").map(|at| self.tasks(&at, &inside)).unwrap_or_default();
        let then = parts.take("then").and_then(|at| self.next(&at, targets));
        parts.finish(self);
        let filter = errors.map(|at| self.filter(&at)).unwrap_or_default();
        Some(Try { body, filter, variable, when, except, retry, handler, then })
    }

    /// `catch.errors.with`: members that an error must have.
    fn filter(&mut self, at: &Place<'_>) -> Vec<(String, Value)> {
        let Some(mut fields) = Fields::of(self, at) else { return vec![] };
        let with = fields.take("with");
        fields.finish(self);
        let Some(mut fields) = with.as_ref().and_then(|at| Fields::of(self, at)) else {
            return vec![];
        };
        let mut filter = vec![];
        for (name, member) in [
            ("type", "type"),
            ("status", "status"),
            ("instance", "instance"),
            ("title", "title"),
            ("detail", "detail"),
            ("details", "detail"),
        ] {
            let Some(place) = fields.take(name) else { continue };
            let value = match (member, place.node.to_json()) {
                ("type", Value::String(uri)) => Value::String(canonical_type(&uri)),
                (_, value) => value,
            };
            filter.push((member.to_owned(), value));
        }
        fields.finish(self);
        filter
    }

    fn raise(&mut self, at: &Place<'_>, scope: &Scope) -> Option<RaisedError> {
        let mut fields = Fields::of(self, at)?;
        let error = fields.required(self, "error");
        fields.finish(self);
        let error = error?;
        match error.text() {
            Some(name) => self.used(&error, name, "errors", |uses| uses.errors.get(name).cloned()),
            None => self.raised(&error, scope),
        }
    }

    /// An error, written out.
    pub(super) fn raised(&mut self, at: &Place<'_>, scope: &Scope) -> Option<RaisedError> {
        let mut fields = Fields::of(self, at)?;
        let kind = fields.required(self, "type");
        let status = fields.required(self, "status");
        let (title, detail) = (fields.take("title"), fields.take("detail"));
        fields.take("instance");
        fields.finish(self);
        let kind = kind.and_then(|at| self.template(&at, scope));
        let status = status.and_then(|at| self.template(&at, scope));
        let title = title.and_then(|at| self.template(&at, scope));
        let detail = detail.and_then(|at| self.template(&at, scope));
        Some(RaisedError { kind: kind?, status: status?, title, detail })
    }

    fn emit(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Template> {
        let mut fields = Fields::of(self, at)?;
        let event = fields.required(self, "event");
        fields.finish(self);
        let mut fields = Fields::of(self, &event?)?;
        let with = fields.required(self, "with");
        fields.finish(self);
        let with = with?;
        match with.members() {
            Some(members) if members.iter().any(|(name, _)| *name == "type") => {
                self.template(&with, scope)
            }
            Some(_) | None => {
                self.fault(&with, "missing_field", "`type` is missing: what sort of event it is");
                None
            }
        }
    }
}
