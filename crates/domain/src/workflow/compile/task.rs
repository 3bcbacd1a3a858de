//! Tasks: what they have in common, and the kinds that are made of other tasks or of data.

use std::collections::HashMap;

use super::data::wrapped;
use super::flow::{DIRECTIVES, Targets};
use super::place::{Fields, Place, quoted};
use super::{Compiler, Scope, TASKS, VARIABLES};
use crate::workflow::plan::{For, Kind, Next, Shape, Task, TaskRef, Template};
use crate::workflow::source::Inner;

/// The members by which a kind of task is known.
const KINDS: [&str; 12] =
    ["call", "do", "emit", "for", "fork", "listen", "raise", "run", "set", "switch", "try", "wait"];

/// The longest name of a task or variable, in bytes: names stand in pointers, and those in events.
const LONGEST_NAME: usize = 64;

/// Names that mean something to expressions, or will.
const RESERVED: [&str; 6] = ["ENV", "__loc__", "__prog_args", "authorization", "output", "secrets"];

/// A task that was numbered and is to be read.
pub(super) struct Listed<'n> {
    pub(super) number: TaskRef,
    pub(super) name: &'n str,
    pub(super) place: Place<'n>,
}

impl Compiler {
    /// A list of tasks that run one after the other.
    pub(super) fn tasks(&mut self, at: &Place<'_>, scope: &Scope) -> Vec<TaskRef> {
        let listed = self.listed(at, scope, false);
        self.check_reachable(&listed);
        listed.iter().map(|task| task.number).collect()
    }

    /// A list of tasks: each item is a map of one member, the task under its name.
    fn listed<'n>(&mut self, at: &Place<'n>, scope: &Scope, parallel: bool) -> Vec<Listed<'n>> {
        let Some(items) = at.items() else {
            let hint = "- nameOfTheTask: {set: {...}}";
            self.hinted(at, "wrong_type", "a list of tasks is wanted here", hint);
            return vec![];
        };
        if items.is_empty() {
            self.fault(at, "empty_list", "at least one task is wanted here");
        }
        if self.tasks.len() + items.len() > TASKS {
            let detail = format!("a workflow has at most {TASKS} tasks");
            self.hinted(at, "too_many_tasks", detail, "call a part of it with `run: workflow`");
            return vec![];
        }
        let mut targets = Targets { names: HashMap::new(), parallel };
        let mut lines = HashMap::new();
        let mut listed: Vec<Listed<'n>> = vec![];
        for item in &items {
            let Some((name, place)) = item.single() else {
                let detail = "a task is an object with one member: its name";
                self.hinted(item, "wrong_type", detail, "- nameOfTheTask: {set: {...}}");
                continue;
            };
            self.task_name(name, &place);
            if let Some(line) = lines.insert(name, place.node.line) {
                let detail = format!("{} is the task on line {line} already", quoted(name));
                self.fault(&place, "duplicate_task", detail);
            }
            let number = self.tasks.len();
            self.tasks.push(None);
            targets.names.insert(name, number);
            listed.push(Listed { number, name, place });
        }
        for task in &listed {
            let compiled = self.task(task, &targets, scope);
            self.tasks[task.number] = compiled;
        }
        listed
    }

    fn task_name(&mut self, name: &str, at: &Place<'_>) {
        if DIRECTIVES.contains(&name) {
            let detail = format!("`{name}` means something in `then`: no task can be called so");
            self.fault(at, "malformed_name", detail);
        } else if name.trim().is_empty()
            || name.len() > LONGEST_NAME
            || name.contains(char::is_control)
        {
            let detail = format!("{} cannot name a task", quoted(name));
            let hint = format!("1 to {LONGEST_NAME} bytes, no control characters");
            self.hinted(at, "malformed_name", detail, &hint);
        }
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
        let mut shape = |at: Option<Place<'_>>, map, scope| {
            at.map_or_else(Shape::default, |at| self.shape(&at, map, scope))
        };
        let input = shape(input, "from", scope);
        let output = shape(output, "as", &after);
        let export = shape(export, "as", &after);
        let condition = condition.map(|at| self.expression(&at, scope));
        let timeout = timeout.map(|at| self.timeout(&at, scope));
        let then = then.map(|at| self.next(&at, targets));
        Some(Task {
            name: listed.name.to_owned(),
            pointer: at.pointer(),
            condition: condition.flatten(),
            input,
            output,
            export,
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
        match present.as_slice() {
            // `do` also is the body of `for`.
            ["do", "for"] | ["for"] => self.each(fields, scope),
            ["call"] => self.call(at, fields, scope),
            ["do"] => Some(Kind::Do(self.tasks(&fields.take("do")?, scope))),
            ["emit"] => self.emit(&fields.take("emit")?, scope),
            ["fork"] => self.fork(&fields.take("fork")?, scope),
            ["listen"] => {
                self.unsupported(&fields.take("listen")?, "`listen`", None);
                fields.take("foreach");
                None
            }
            ["raise"] => self.raise(&fields.take("raise")?, scope),
            ["run"] => self.run(&fields.take("run")?, scope),
            ["set"] => self.set(&fields.take("set")?, scope),
            ["switch"] => self.switch(&fields.take("switch")?, targets, scope),
            ["try"] => self.attempt(fields, targets, scope),
            ["wait"] => self.span(&fields.take("wait")?, scope).map(Kind::Wait),
            [] => {
                if !fields.could_be(&KINDS) {
                    let hint = format!("one of {}", KINDS.join(", "));
                    self.hinted(at, "unknown_task", "it does not say what the task does", &hint);
                }
                None
            }
            several => {
                let detail = format!("a task does one thing, not {}", several.join(" and "));
                self.fault(at, "ambiguous_task", detail);
                for kind in KINDS {
                    fields.take(kind);
                }
                None
            }
        }
    }

    fn set(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Kind> {
        if at.members().is_some_and(|members| members.is_empty()) {
            self.hinted(at, "empty_object", "nothing is set", "for an empty object: ${ {} }");
            return None;
        }
        self.object(at, scope).map(Kind::Set)
    }

    fn each(&mut self, fields: &mut Fields<'_>, scope: &Scope) -> Option<Kind> {
        let (head, condition) = (fields.take("for")?, fields.take("while"));
        let body = fields.required(self, "do");
        let mut parts = Fields::of(self, &head)?;
        let (each, index) = (parts.take("each"), parts.take("at"));
        let items = parts.required(self, "in");
        parts.finish(self);
        let each = each.and_then(|at| self.variable(&at)).unwrap_or("item".into());
        let index = index.and_then(|at| self.variable(&at)).unwrap_or("index".into());
        if each == index {
            self.fault(
                &head,
                "malformed_name",
                format!("both `each` and `at` are called `{each}`"),
            );
        }
        let items = items.and_then(|at| self.items(&at, scope));
        let inside = scope.with(&[&each, &index]);
        let condition = condition.map(|at| self.expression(&at, &inside));
        let body = self.tasks(&body?, &inside);
        let condition = condition.flatten();
        Some(Kind::For(Box::new(For { each, at: index, items: items?, condition, body })))
    }

    /// What is looped over: an expression, or objects written out.
    fn items(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Template> {
        let Some(items) = at.items() else {
            return self.expression(at, scope).map(Template::Expression);
        };
        for item in items.iter().filter(|item| !item.is_map()) {
            let hint = "lists of other things are written as an expression: '[1, 2, 3]'";
            self.hinted(item, "wrong_type", "an object is wanted here", hint);
        }
        self.template(at, scope)
    }

    /// The name of a variable, without `$`.
    pub(super) fn variable(&mut self, at: &Place<'_>) -> Option<String> {
        let text = self.text(at)?;
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let starts = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        let taken = VARIABLES.contains(&text) || RESERVED.contains(&text);
        if starts && text.bytes().all(good) && text.len() <= LONGEST_NAME && !taken {
            return Some(text.to_owned());
        }
        let hint = "letters, digits and underscores, and none of the names that mean something";
        let detail = format!("{} cannot name a variable", quoted(text));
        self.hinted(at, "malformed_name", detail, hint);
        None
    }

    fn fork(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Kind> {
        let mut fields = Fields::of(self, at)?;
        let (branches, compete) = (fields.required(self, "branches"), fields.take("compete"));
        fields.finish(self);
        let compete = compete.and_then(|at| self.truth(&at)).unwrap_or(false);
        let branches = self.listed(&branches?, scope, true);
        let branches = branches.iter().map(|branch| branch.number).collect();
        Some(Kind::Fork { branches, compete })
    }

    /// `emit`: a `CloudEvent` without what is filled in when it happens.
    fn emit(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Kind> {
        let mut fields = Fields::of(self, at)?;
        let event = fields.required(self, "event");
        fields.finish(self);
        let mut fields = Fields::of(self, &event?)?;
        let with = fields.required(self, "with");
        fields.finish(self);
        let with = with?;
        let Some(attributes) = with.members() else {
            self.fault(&with, "wrong_type", "an object is wanted here");
            return None;
        };
        if !attributes.iter().any(|(name, _)| *name == "type") {
            self.fault(&with, "missing_field", "`type` is missing: what sort of event it is");
        }
        for (name, place) in attributes.iter().filter(|(name, _)| *name != "data") {
            self.attribute(name, place);
        }
        self.template(&with, scope).map(Kind::Emit)
    }

    /// An attribute of a `CloudEvent` 1.0: names are plain, values are text or, in extensions,
    /// also truths and numbers.
    fn attribute(&mut self, name: &str, at: &Place<'_>) {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if name.is_empty() || !name.bytes().all(plain) {
            let detail = format!("{} is no attribute of an event", quoted(name));
            let hint = "lower-case letters and digits; anything else belongs into `data`";
            self.hinted(at, "malformed_name", detail, hint);
        }
        let standard = [
            "datacontenttype",
            "dataschema",
            "id",
            "source",
            "specversion",
            "subject",
            "time",
            "type",
        ];
        let good = match &at.node.inner {
            Inner::Scalar(value) if value.is_string() => at.text() != Some(""),
            Inner::Scalar(value) => !value.is_null() && !standard.contains(&name),
            Inner::List(_) | Inner::Map(_) => false,
        };
        if !good {
            let detail = "text is wanted here, and not the empty one";
            self.hinted(at, "wrong_type", detail, "anything else belongs into `data`");
        }
        let moment = at.text().filter(|text| name == "time" && wrapped(text).is_none());
        if moment.is_some_and(|text| chrono::DateTime::parse_from_rfc3339(text).is_err()) {
            let hint = "such as 2026-01-31T12:00:00Z, or leave it out";
            self.hinted(at, "malformed_time", "it is no moment", hint);
        }
    }
}
