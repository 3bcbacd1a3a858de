//! Jinja templates of prompts and notifications, bounded: no loader, no missing variables, and
//! only so many steps.

use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::Value;

use crate::Fault;

/// What a template may cost: about one unit an instruction, or 64 bytes that it makes on the way.
const FUEL: u64 = 200_000;

/// The most bytes a template may make.
const LONGEST: usize = 128 * 1024;

/// Why a template made no text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the template cannot be filled: {0}")]
pub struct RenderError(pub(crate) String);

/// How what is filled in is escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Escape {
    /// Not at all.
    Plain,
    /// For HTML.
    Html,
}

fn environment(escape: Escape) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(50);
    environment.set_auto_escape_callback(move |_| match escape {
        Escape::Plain => AutoEscape::None,
        Escape::Html => AutoEscape::Html,
    });
    environment
}

/// Notes whether a template can be read at all.
pub(crate) fn check(pointer: &str, source: &str, faults: &mut Vec<Fault>) {
    if let Err(error) = environment(Escape::Plain).template_from_str(source) {
        let mut fault = Fault::new(pointer, "malformed_template", error.to_string());
        fault.line = error.line().and_then(|line| u32::try_from(line).ok());
        faults.push(fault);
    }
}

/// Fills a template. `values` are its variables, if they are an object.
pub(crate) fn render(source: &str, values: &Value, escape: Escape) -> Result<String, RenderError> {
    let wrong = |error: &minijinja::Error| RenderError(error.to_string());
    let environment = environment(escape);
    let template = environment.template_from_str(source).map_err(|error| wrong(&error))?;
    let text = template.render(value(values)).map_err(|error| wrong(&error))?;
    if text.len() > LONGEST {
        return Err(RenderError(format!("it makes more than {LONGEST} bytes")));
    }
    Ok(text)
}

/// JSON as templates see it.
fn value(json: &Value) -> minijinja::Value {
    match json {
        Value::Null => minijinja::Value::from(()),
        Value::Bool(truth) => minijinja::Value::from(*truth),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => minijinja::Value::from(whole),
            (None, Some(whole)) => minijinja::Value::from(whole),
            (None, None) => minijinja::Value::from(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => minijinja::Value::from(text.as_str()),
        Value::Array(items) => items.iter().map(value).collect(),
        Value::Object(members) => minijinja::Value::from_pairs(
            members.iter().map(|(name, member)| (name.as_str(), value(member))),
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_filled_in_stays_data() {
        let values = json!({"name": "{{ 7*7 }} <b>"});
        assert_eq!(render("Hi {{ name }}", &values, Escape::Plain).unwrap(), "Hi {{ 7*7 }} <b>");
        let html = render("Hi {{ name }}", &values, Escape::Html).unwrap();
        assert!(!html.contains('<'), "{html}");
    }

    #[test]
    fn missing_values_and_endless_templates_are_errors() {
        assert!(render("{{ nobody }}", &json!({}), Escape::Plain).is_err());
        let endless =
            "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        assert!(render(endless, &json!({}), Escape::Plain).is_err());
        let mut faults = vec![];
        check("/user", "{% if %}", &mut faults);
        assert_eq!((faults.len(), faults[0].pointer.as_str()), (1, "/user"));
    }

    #[test]
    fn a_template_stands_alone() {
        for source in ["{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}"] {
            let mut faults = vec![];
            check("/user", source, &mut faults);
            assert_eq!(faults.len(), 1, "{source}");
        }
    }

    #[test]
    fn there_is_fuel_for_the_largest_input() {
        let text = "a \"quoted\" line\n".repeat(6_000);
        let values = json!({"body": text, "many": vec![1; 5_000]});
        let source = "{{ body|tojson }} {% for one in many %}{{ one }}{% endfor %}";
        assert!(render(source, &values, Escape::Plain).is_ok());
    }
}
