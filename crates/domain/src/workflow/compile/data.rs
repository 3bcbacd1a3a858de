//! Data: expressions, templates and schemas.

use std::sync::Arc;

use serde_json::Value;

use super::place::{Fields, Place, quoted};
use super::{Compiler, EXPRESSIONS, Scope};
use crate::agent::schema;
use crate::expression::Expression;
use crate::workflow::plan::{Schema, Shape, Template};
use crate::workflow::source::Inner;

/// The formats of schemas that are known: JSON Schema, in the one version that we speak.
const FORMATS: [&str; 2] = ["json", "json:2020-12"];

impl Compiler {
    /// `input`, `output` or `export`: a schema, and a transformation named `map` (`from`, `as`).
    pub(super) fn shape(&mut self, at: &Place<'_>, map: &'static str, scope: &Scope) -> Shape {
        let Some(mut fields) = Fields::of(self, at) else { return Shape::default() };
        let (schema, map) = (fields.take("schema"), fields.take(map));
        fields.finish(self);
        let schema = schema.and_then(|at| self.schema(&at));
        Shape { schema, map: map.and_then(|at| self.mapping(&at, scope)) }
    }

    fn schema(&mut self, at: &Place<'_>) -> Option<Schema> {
        let mut fields = Fields::of(self, at)?;
        let (format, document) = (fields.take("format"), fields.take("document"));
        let resource = fields.take("resource");
        fields.finish(self);
        if let Some(at) = &format
            && let Some(text) = self.text(at)
            && !FORMATS.contains(&text)
        {
            let what = format!("a schema in the format {}", quoted(text));
            self.unsupported(at, &what, Some(&FORMATS.join(" or ")));
        }
        if let Some(at) = &resource {
            let hint = "write the schema as `document`";
            self.unsupported(at, "a schema somewhere else", Some(hint));
        } else if document.is_none() {
            self.fault(at, "missing_field", "`document` is missing: the schema itself");
        }
        let document = document?;
        let written = document.node.to_json();
        self.patterns += schema::patterns(&written);
        if self.patterns > schema::PATTERNS {
            let detail = format!("a workflow has at most {} patterns in schemas", schema::PATTERNS);
            self.fault(&document, "too_many_patterns", detail);
            return None;
        }
        match schema::compile(&written) {
            Ok(validator) => Some(Schema(Arc::new(validator))),
            Err(error) => {
                let detail = format!("it is no JSON Schema: {error}");
                self.fault(&document, "malformed_schema", detail);
                None
            }
        }
    }

    /// A transformation: text is an expression whether or not it is wrapped; an object is a
    /// template.
    fn mapping(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Template> {
        if at.is_map() {
            return self.template(at, scope);
        }
        if at.text().is_none() {
            self.fault(at, "wrong_type", "an expression or an object is wanted here");
            return None;
        }
        self.expression(at, scope).map(Template::Expression)
    }

    /// A field that always is an expression, with or without `${ }` around it.
    pub(super) fn expression(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Expression> {
        let Some(text) = at.text() else {
            let hint = "put it into quotes, such as '.count > 3'";
            self.hinted(at, "wrong_type", "an expression is wanted here", hint);
            return None;
        };
        self.compiled(at, wrapped(text).unwrap_or(text), scope)
    }

    fn compiled(&mut self, at: &Place<'_>, source: &str, scope: &Scope) -> Option<Expression> {
        self.expressions += 1;
        if self.expressions > EXPRESSIONS {
            if self.expressions == EXPRESSIONS + 1 {
                let detail = format!("a workflow has at most {EXPRESSIONS} expressions");
                self.fault(at, "too_many_expressions", detail);
            }
            return None;
        }
        if source.trim().is_empty() {
            self.hinted(at, "malformed_expression", "the expression is empty", "`.` is the input");
            return None;
        }
        match Expression::compile(source, &scope.names()) {
            Ok(expression) => Some(expression),
            Err(_) if source.contains("${") => {
                self.partial(at);
                None
            }
            Err(error) => {
                match &error.hint {
                    Some(hint) => self.hinted(at, "malformed_expression", error.detail, hint),
                    None => self.fault(at, "malformed_expression", error.detail),
                }
                None
            }
        }
    }

    /// Notes an expression on several lines in a field where the language's own schema wants one.
    pub(super) fn one_line(&mut self, at: &Place<'_>) {
        let whole = at.text().filter(|text| wrapped(text).is_some());
        if whole.is_some_and(|text| text.trim().contains(['\n', '\r'])) {
            let detail = "an expression must stand on one line here";
            self.hinted(at, "malformed_expression", detail, "`>-` joins lines into one");
        }
    }

    fn partial(&mut self, at: &Place<'_>) {
        let detail = "an expression must be the whole text";
        let hint = "build the text inside of the expression: ${ \"Hello \\(.name)\" }";
        self.hinted(at, "partial_expression", detail, hint);
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
            self.partial(at);
            return None;
        }
        Some(Template::Literal(Value::String(text.to_owned())))
    }

    /// A template that gives an object: one written out, or an expression.
    pub(super) fn object(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Template> {
        if at.is_map() || at.text().and_then(wrapped).is_some() {
            return self.template(at, scope);
        }
        let detail = "an object or an expression is wanted here";
        self.hinted(at, "wrong_type", detail, "expressions stand in ${ }");
        None
    }

    /// A template that gives text: text as it is, or an expression.
    pub(super) fn words(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Template> {
        let text = self.text(at)?;
        self.text_template(at, text, scope)
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
