//! Expressions, templates and schemas.

use std::sync::Arc;

use serde_json::Value;

use super::place::{Fields, Place};
use super::{Compiler, Scope};
use crate::expression::Expression;
use crate::workflow::plan::{Schema, Shape, Template};
use crate::workflow::source::Inner;

impl Compiler {
    /// `input`, `output` or `export`: a schema, and a transformation named `map` (`from`, `as`).
    pub(super) fn shape(&mut self, at: &Place<'_>, map: &'static str, scope: &Scope) -> Shape {
        let Some(mut fields) = Fields::of(self, at) else { return Shape::default() };
        let schema = fields.take("schema").and_then(|at| self.schema(&at));
        let map = fields.take(map).and_then(|at| self.mapping(&at, scope));
        fields.finish(self);
        Shape { schema, map }
    }

    fn schema(&mut self, at: &Place<'_>) -> Option<Schema> {
        let mut fields = Fields::of(self, at)?;
        if let Some(format) = fields.take("format")
            && !self.text(&format)?.starts_with("json")
        {
            self.unsupported(&format, "a schema that is not JSON Schema", None);
        }
        if let Some(resource) = fields.take("resource") {
            let hint = "write the schema as `document`";
            self.unsupported(&resource, "a schema somewhere else", Some(hint));
        }
        let document = fields.take("document");
        fields.finish(self);
        let document = document?;
        match jsonschema::draft202012::new(&document.node.to_json()) {
            Ok(validator) => Some(Schema(Arc::new(validator))),
            Err(error) => {
                let detail = format!("it is no JSON Schema: {error}");
                self.fault(&document, "malformed_schema", detail);
                None
            }
        }
    }

    /// A transformation: text is an expression whether or not it is wrapped; anything else is a
    /// template.
    pub(super) fn mapping(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Template> {
        match at.text() {
            Some(_) => self.expression(at, scope).map(Template::Expression),
            None => self.template(at, scope),
        }
    }

    /// A field that always is an expression, with or without `${ }` around it.
    pub(super) fn expression(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Expression> {
        let text = self.text(at)?;
        let source = wrapped(&text).unwrap_or(&text);
        self.compiled(at, source, scope)
    }

    fn compiled(&mut self, at: &Place<'_>, source: &str, scope: &Scope) -> Option<Expression> {
        match Expression::compile(source, &scope.names()) {
            Ok(expression) => Some(expression),
            Err(error) => {
                match &error.hint {
                    Some(hint) => {
                        self.hinted(at, "malformed_expression", error.detail.clone(), hint)
                    }
                    None => self.fault(at, "malformed_expression", error.detail),
                }
                None
            }
        }
    }

    /// JSON with expressions in it: text that is `${ }` as a whole is one.
    pub(super) fn template(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Template> {
        let template = match &at.node.inner {
            Inner::Scalar(Value::String(text)) => return self.text_template(at, text, scope),
            Inner::Scalar(value) => return Some(Template::Literal(value.clone())),
            Inner::List(_) => {
                let items = at.items().unwrap_or_default();
                let filled: Vec<_> = items.iter().map(|item| self.template(item, scope)).collect();
                Template::Array(filled.into_iter().collect::<Option<_>>()?)
            }
            Inner::Map(_) => {
                let members = at.members().unwrap_or_default();
                let filled: Vec<_> = members
                    .iter()
                    .map(|(name, member)| Some(((*name).to_owned(), self.template(member, scope)?)))
                    .collect();
                Template::Object(filled.into_iter().collect::<Option<_>>()?)
            }
        };
        // What has no expression in it need not be put together at each run.
        Some(if is_literal(&template) { Template::Literal(at.node.to_json()) } else { template })
    }

    fn text_template(&mut self, at: &Place<'_>, text: &str, scope: &Scope) -> Option<Template> {
        if let Some(source) = wrapped(text) {
            return self.compiled(at, source, scope).map(Template::Expression);
        }
        if text.contains("${") {
            let detail = "an expression must be the whole text";
            let hint = "build the text inside of the expression: ${ \"Hello \\(.name)\" }";
            self.hinted(at, "partial_expression", detail, hint);
            return None;
        }
        Some(Template::Literal(Value::String(text.to_owned())))
    }
}

/// The inside of `${ }`, if that is the whole text.
pub(super) fn wrapped(text: &str) -> Option<&str> {
    text.trim().strip_prefix("${")?.strip_suffix('}').map(str::trim)
}

fn is_literal(template: &Template) -> bool {
    match template {
        Template::Literal(_) => true,
        Template::Expression(_) | Template::Uri(_) => false,
        Template::Array(items) => items.iter().all(is_literal),
        Template::Object(members) => members.iter().all(|(_, member)| is_literal(member)),
    }
}
