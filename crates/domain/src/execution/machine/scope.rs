//! What expressions see, and how templates are filled.

use chrono::SecondsFormat;
use serde_json::{Map, Value, json};

use super::super::{Frame, Standard};
use super::{COST_A_TASK, COST_A_TURN, Error, MAIN, Machine};
use crate::Timestamp;
use crate::expression::{Expression, Scope};
use crate::workflow::{Shape, Template};

/// The most characters of a schema's complaint that an error repeats.
const COMPLAINT_LENGTH: usize = 300;

impl Machine<'_> {
    /// Fills a template; `.` is `input`.
    pub(super) fn fill(
        &self,
        number: u32,
        template: &Template,
        input: &Value,
    ) -> Result<Value, Error> {
        self.filled(number, template, input, None)
    }

    /// Fills a template of `output` or `export`; `.` and `$output` are the output.
    pub(super) fn fill_with_output(
        &self,
        number: u32,
        template: &Template,
        output: &Value,
    ) -> Result<Value, Error> {
        self.filled(number, template, output, Some(output))
    }

    fn filled(
        &self,
        number: u32,
        template: &Template,
        input: &Value,
        output: Option<&Value>,
    ) -> Result<Value, Error> {
        match template {
            Template::Literal(value) => Ok(value.clone()),
            Template::Expression(expression) => self.value(number, expression, input, output),
            Template::Uri(text) => Ok(Value::String(interpolate(text, input))),
            Template::Array(items) => {
                items.iter().map(|item| self.filled(number, item, input, output)).collect()
            }
            Template::Object(members) => {
                let fill = |(name, member): &(String, Template)| {
                    Ok((name.clone(), self.filled(number, member, input, output)?))
                };
                members.iter().map(fill).collect::<Result<Map<_, _>, _>>().map(Value::Object)
            }
        }
    }

    /// Fills a template that must give text.
    pub(super) fn text(
        &self,
        number: u32,
        template: &Template,
        input: &Value,
    ) -> Result<String, Error> {
        match self.fill(number, template, input)? {
            Value::String(text) => Ok(text),
            other @ (Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_)) => {
                Err(Standard::Validation
                    .error(format!("text is wanted here, not {}", kind(&other))))
            }
        }
    }

    /// Whether a condition holds: anything but `false` and `null` does, as in jq.
    pub(super) fn holds(
        &self,
        number: u32,
        condition: &Expression,
        input: &Value,
    ) -> Result<bool, Error> {
        let value = self.value(number, condition, input, None)?;
        Ok(!matches!(value, Value::Null | Value::Bool(false)))
    }

    /// What a transformation makes of a value; the value itself if there is none.
    pub(super) fn shaped(&self, number: u32, shape: &Shape, value: Value) -> Result<Value, Error> {
        match &shape.map {
            Some(map) => self.fill_with_output(number, map, &value),
            None => Ok(value),
        }
    }

    fn value(
        &self,
        number: u32,
        expression: &Expression,
        input: &Value,
        output: Option<&Value>,
    ) -> Result<Value, Error> {
        if self.spent.get() > COST_A_TURN + COST_A_TASK {
            let detail = "the expressions of this task cost too much together: make it several";
            return Err(Standard::Expression.error(detail));
        }
        let scope = self.scope(number, expression.source(), output);
        let (value, steps) = expression.counted(input, &scope);
        self.spent.set(self.spent.get() + steps);
        value.map_err(|error| {
            let source: String = expression.source().chars().take(80).collect();
            Standard::Expression.error(format!("{error} (in `{source}`)"))
        })
    }

    /// The variables that `source` names; building the others would only cost.
    fn scope(&self, number: u32, source: &str, output: Option<&Value>) -> Scope {
        let mut scope = Scope::new();
        self.add_variables(number, &mut scope);
        let frame = self.frames(number).last();
        let mut offer = |name: &str, value: &dyn Fn() -> Value| {
            if names(source, name) {
                scope.insert(name.to_owned(), value());
            }
        };
        offer("context", &|| self.context.clone());
        offer("input", &|| frame.map(|frame| frame.input.clone().into_inner()).unwrap_or_default());
        offer("output", &|| output.cloned().unwrap_or_default());
        let task = frame.filter(|frame| !frame.task.is_empty());
        offer("task", &|| task.map(|frame| self.described(frame, output)).unwrap_or_default());
        offer("workflow", &|| self.described_workflow());
        offer(
            "runtime",
            &|| json!({"name": "everstep", "version": env!("CARGO_PKG_VERSION"), "metadata": {}}),
        );
        scope
    }

    /// Variables of all tasks around, the innermost last so that it wins.
    fn add_variables(&self, number: u32, scope: &mut Scope) {
        if let Some((parent, _)) = self.threads.get(&number).and_then(|thread| thread.parent) {
            self.add_variables(parent, scope);
        }
        for frame in self.frames(number) {
            scope.extend(frame.vars.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
    }

    fn described(&self, frame: &Frame, output: Option<&Value>) -> Value {
        let task = self.task(frame);
        json!({
            "name": task.map(|task| task.name.as_str()),
            "reference": frame.task,
            "definition": task.and_then(|task| self.plan.definition.pointer(&task.pointer)),
            "input": *frame.input,
            "output": output,
            "startedAt": moment(frame.started_at),
        })
    }

    fn described_workflow(&self) -> Value {
        let started_at = self.frames(MAIN).first().map_or(self.now, |frame| frame.started_at);
        json!({
            "id": self.start.id,
            "definition": &*self.plan.definition,
            "input": self.start.input,
            "startedAt": moment(started_at),
        })
    }

    /// The `CloudEvent` of an `emit` task, with what the author left out.
    pub(super) fn emitted(
        &mut self,
        number: u32,
        template: &Template,
        input: &Value,
    ) -> Result<Value, Error> {
        let Value::Object(mut event) = self.fill(number, template, input)? else {
            return Err(Standard::Validation.error("`emit.event.with` must give an object"));
        };
        let run = self.top(number).run;
        let id = crate::Id::<()>::derived(self.start.id.as_uuid(), &format!("emit/{run}"));
        let source = format!("/{}/{}/{}", self.plan.namespace, self.plan.name, self.plan.version);
        let now = self.now.to_rfc3339_opts(SecondsFormat::Micros, true);
        let defaults = [
            ("id", id.to_string()),
            ("specversion", "1.0".to_owned()),
            ("source", source),
            ("time", now),
        ];
        for (name, value) in defaults {
            event.entry(name).or_insert(Value::String(value));
        }
        Ok(Value::Object(event))
    }
}

impl Shape {
    /// Checks a value against the schema, if there is one.
    pub(super) fn check(&self, value: &Value, what: &str) -> Result<(), Error> {
        let Some(schema) = &self.schema else { return Ok(()) };
        let Some(first) = schema.0.iter_errors(value).next() else { return Ok(()) };
        let complaint: String = first.to_string().chars().take(COMPLAINT_LENGTH).collect();
        let place = first.instance_path().to_string();
        let place = if place.is_empty() { String::new() } else { format!(" at {place}") };
        Err(Standard::Validation
            .error(format!("{what} does not satisfy its schema{place}: {complaint}")))
    }
}

/// Whether an expression may name a variable; saying yes too often only costs time.
fn names(source: &str, variable: &str) -> bool {
    source.match_indices('$').any(|(at, _)| source[at + 1..].starts_with(variable))
}

/// A moment as the language describes it to expressions.
fn moment(at: Timestamp) -> Value {
    json!({
        "iso8601": at.to_rfc3339_opts(SecondsFormat::Millis, true),
        "epoch": {"seconds": at.timestamp(), "milliseconds": at.timestamp_millis()},
    })
}

/// Fills `{name}` in a URI with top-level members of `input` (RFC 6570, level 1): scalars only,
/// percent-encoded, nothing for what is missing.
fn interpolate(text: &str, input: &Value) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            filled.push('{');
            rest = after;
            continue;
        };
        match input.get(name) {
            Some(Value::String(text)) => encode(text, &mut filled),
            Some(scalar @ (Value::Bool(_) | Value::Number(_))) => {
                encode(&scalar.to_string(), &mut filled);
            }
            Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => {}
        }
        rest = after;
    }
    filled + rest
}

/// Percent-encodes all but unreserved characters (RFC 3986, 2.3).
fn encode(text: &str, into: &mut String) {
    use std::fmt::Write as _;
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(char::from(byte));
        } else {
            write!(into, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
