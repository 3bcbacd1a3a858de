//! Values written as JSON text, counted.

use std::fmt::Write as _;

use super::budget::{Budget, Outcome};
use super::value::Value;

/// The value as JSON without spaces; what JSON cannot hold is `null`.
pub(super) fn write(value: &Value, budget: &Budget) -> Outcome<String> {
    let mut text = String::new();
    write_to(&mut text, value, budget)?;
    Ok(text)
}

fn write_to(text: &mut String, value: &Value, budget: &Budget) -> Outcome<()> {
    budget.spend(1)?;
    match value {
        Value::Null => put(text, "null", budget),
        Value::Bool(true) => put(text, "true", budget),
        Value::Bool(false) => put(text, "false", budget),
        Value::Int(integer) => put(text, &integer.to_string(), budget),
        Value::Float(float) => match serde_json::Number::from_f64(*float) {
            Some(number) => put(text, &number.to_string(), budget),
            None => put(text, "null", budget),
        },
        Value::Text(inside) => quote(text, inside, budget),
        Value::Array(array) => {
            put(text, "[", budget)?;
            for (at, item) in array.items.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write_to(text, item, budget)?;
            }
            put(text, "]", budget)
        }
        Value::Object(object) => {
            put(text, "{", budget)?;
            for (at, (name, value)) in object.members.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                quote(text, name, budget)?;
                text.push(':');
                write_to(text, value, budget)?;
            }
            put(text, "}", budget)
        }
    }
}

fn put(text: &mut String, piece: &str, budget: &Budget) -> Outcome<()> {
    budget.allocate(2 * (piece.len() + 1))?;
    text.push_str(piece);
    Ok(())
}

fn quote(text: &mut String, inside: &str, budget: &Budget) -> Outcome<()> {
    budget.allocate(2 * (inside.len() + 2))?;
    text.push('"');
    for char in inside.chars() {
        match char {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            control if control < ' ' || control == '\u{7f}' => {
                budget.allocate(12)?;
                let _ = write!(text, "\\u{:04x}", u32::from(control));
            }
            char => text.push(char),
        }
    }
    text.push('"');
    Ok(())
}
