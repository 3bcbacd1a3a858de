//! Judging a model's answer.

use serde_json::Value;

use crate::agent::schema::compile;
use crate::storable;

/// The longest answer, in bytes: it must fit into the execution that waits for it.
const LONGEST: usize = 96 * 1024;

/// The most complaints that are sent back for repair.
const COMPLAINTS: usize = 5;

/// The most characters of one complaint.
const COMPLAINT_LENGTH: usize = 200;

/// What a model's text amounts to: with a schema, JSON that satisfies it; without one, the text.
/// Complaints if it does not; they name places and rules, never what the model said.
pub fn accept(schema: Option<&Value>, text: &str) -> Result<Value, Vec<String>> {
    // As JSON: what must be escaped is up to six times as long.
    let length = storable::size(&text);
    if length > LONGEST {
        return Err(vec![format!("it has {length} bytes; the limit is {LONGEST}")]);
    }
    let Some(schema) = schema else { return Ok(Value::String(text.replace('\0', ""))) };
    let value = parse(text).ok_or_else(|| vec!["it is not JSON".to_owned()])?;
    storable::check(&value).map_err(|error| vec![error])?;
    let validator = compile(schema).map_err(|error| vec![error])?;
    let complaint = |error: jsonschema::ValidationError<'_>| {
        let place = error.instance_path().to_string();
        let error = error.masked();
        let text = if place.is_empty() { error.to_string() } else { format!("{place}: {error}") };
        text.chars().take(COMPLAINT_LENGTH).collect()
    };
    let complaints: Vec<String> =
        validator.iter_errors(&value).take(COMPLAINTS).map(complaint).collect();
    if complaints.is_empty() { Ok(value) } else { Err(complaints) }
}

/// What is said to a model whose answer was not accepted.
#[must_use]
pub fn repair_message(complaints: &[String]) -> String {
    format!(
        "That answer does not fit: {}. Answer again, with JSON that satisfies the schema and \
         nothing else.",
        complaints.join("; ")
    )
}

/// The JSON of an answer: all of it, the inside of a code fence, or the first whole object or
/// array in it, because small models like to explain themselves.
fn parse(text: &str) -> Option<Value> {
    let text = text.trim();
    let fenced = text.strip_prefix("```json").or_else(|| text.strip_prefix("```"));
    let inner = fenced.and_then(|rest| rest.rsplit_once("```")).map_or(text, |(inner, _)| inner);
    serde_json::from_str(inner.trim()).ok().or_else(|| {
        let starts = text.char_indices().filter(|(_, c)| *c == '{' || *c == '[');
        starts.take(8).find_map(|(at, _)| {
            let mut values = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>();
            values.next()?.ok()
        })
    })
}
