//! Errors: raising them, catching them.

use serde_json::Value;

use super::data::wrapped;
use super::flow::Targets;
use super::place::{Fields, Place};
use super::{Compiler, Scope};
use crate::workflow::errors::canonical_type;
use crate::workflow::plan::{Kind, RaisedError, Template, Try};

impl Compiler {
    /// `raise`: an error, written out or by its name in `use.errors`.
    pub(super) fn raise(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Kind> {
        let mut fields = Fields::of(self, at)?;
        let error = fields.required(self, "error");
        fields.finish(self);
        let error = error?;
        let raised = match error.text() {
            Some(_) => self.used(&error, "errors", |uses| &uses.errors, None),
            None => self.inline_error(&error, scope),
        };
        raised.map(|error| Kind::Raise(Box::new(error)))
    }

    /// An error, written out.
    pub(super) fn inline_error(&mut self, at: &Place<'_>, scope: &Scope) -> Option<RaisedError> {
        let mut fields = Fields::of(self, at)?;
        let (kind, status) = (fields.required(self, "type"), fields.required(self, "status"));
        let (title, detail) = (fields.take("title"), fields.take("detail"));
        let instance = fields.take("instance");
        fields.finish(self);
        let kind = kind.and_then(|at| self.error_type(&at, scope));
        let status = status.and_then(|at| self.status(&at));
        let title = title.map(|at| self.words(&at, scope));
        let detail = detail.map(|at| self.words(&at, scope));
        if let Some(at) = instance {
            self.words(&at, scope); // where it was raised is known better at run time
        }
        let status = Template::Literal(status?.into());
        Some(RaisedError { kind: kind?, status, title: title.flatten(), detail: detail.flatten() })
    }

    /// The type of an error: a URI reference in its one spelling, or an expression.
    fn error_type(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Template> {
        let text = self.text(at)?;
        if wrapped(text).is_none() && (text.is_empty() || text.contains(char::is_whitespace)) {
            let hint = "such as https://example.com/errors/out-of-stock";
            self.hinted(at, "malformed_uri", "the type of an error is a URI", hint);
            return None;
        }
        self.one_line(at);
        match self.words(at, scope)? {
            Template::Literal(_) => Some(Template::Literal(canonical_type(text).into())),
            other @ (Template::Expression(_)
            | Template::Uri(_)
            | Template::Array(_)
            | Template::Object(_)) => Some(other),
        }
    }

    /// A status as HTTP has it.
    fn status(&mut self, at: &Place<'_>) -> Option<u64> {
        let status = at.whole().filter(|status| (100..=599).contains(status));
        if status.is_none() {
            self.fault(at, "wrong_type", "a status of HTTP is wanted here: 100 to 599");
        }
        status
    }

    pub(super) fn attempt(
        &mut self,
        fields: &mut Fields<'_>,
        targets: &Targets<'_>,
        scope: &Scope,
    ) -> Option<Kind> {
        let (body, catch) = (fields.take("try")?, fields.required(self, "catch"));
        let body = self.tasks(&body, scope);
        let mut parts = Fields::of(self, &catch?)?;
        let (errors, variable) = (parts.take("errors"), parts.take("as"));
        let (when, except) = (parts.take("when"), parts.take("exceptWhen"));
        let (retry, handler) = (parts.take("retry"), parts.take("do"));
        let then = parts.take("then");
        parts.finish(self);
        let variable = variable.and_then(|at| self.variable(&at)).unwrap_or("error".into());
        let inside = scope.with(&[&variable]);
        let attempt = Try {
            body,
            filter: errors.map(|at| self.filter(&at)).unwrap_or_default(),
            when: when.and_then(|at| self.expression(&at, &inside)),
            except: except.and_then(|at| self.expression(&at, &inside)),
            retry: retry.and_then(|at| self.retry(&at, &inside, &variable)),
            handler: handler.map(|at| self.tasks(&at, &inside)).unwrap_or_default(),
            then: then.and_then(|at| self.next(&at, targets)),
            variable,
        };
        Some(Kind::Try(Box::new(attempt)))
    }

    /// `catch.errors`: members that an error must have.
    fn filter(&mut self, at: &Place<'_>) -> Vec<(String, Value)> {
        let Some(mut fields) = Fields::of(self, at) else { return vec![] };
        let with = fields.take("with");
        fields.finish(self);
        let Some(with) = with else { return vec![] };
        let Some(mut fields) = Fields::of(self, &with) else { return vec![] };
        let mut filter = vec![];
        // `details` is what the language called `detail` up to 1.0.3.
        for name in ["type", "status", "instance", "title", "detail", "details"] {
            let Some(place) = fields.take(name) else { continue };
            let value = match name {
                "status" => self.status(&place).map(Value::from),
                "type" => self.constant(&place).map(|uri| canonical_type(uri).into()),
                _ => self.constant(&place).map(Value::from),
            };
            let name = if name == "details" { "detail" } else { name };
            filter.extend(value.map(|value| (name.to_owned(), value)));
        }
        fields.finish(self);
        if with.members().is_some_and(|members| members.is_empty()) {
            let hint = "leave `errors` out to catch every error";
            self.hinted(&with, "empty_object", "it says nothing about the error", hint);
        }
        filter
    }

    /// Text without expressions.
    fn constant<'n>(&mut self, at: &Place<'n>) -> Option<&'n str> {
        let text = self.text(at)?;
        if text.contains("${") {
            let hint = "compare in an expression: catch.when";
            self.hinted(at, "constant_wanted", "only constants are compared here", hint);
            return None;
        }
        Some(text)
    }
}
