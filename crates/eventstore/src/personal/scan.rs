//! Finding marked values in the JSON of an event, without building a tree of it.
//!
//! The mark cannot stand within a JSON string, whose quotes are escaped.

use std::fmt::Write as _;

use serde_json::value::RawValue;

/// What a marked value begins with.
const OPEN: &str = r#"{"$personal":"#;

/// Whether anything is marked.
pub(super) fn is_marked(body: &str) -> bool {
    body.contains(OPEN)
}

/// A body without its marked values, which have their numbers in their places, and the values as
/// one JSON array. What was erased already stays as it is.
pub(super) fn take_out(body: &str) -> (String, String) {
    let (mut skeleton, mut values, mut count) =
        (String::with_capacity(body.len()), String::new(), 0);
    let mut rest = body;
    while let Some(at) = rest.find(OPEN) {
        let (before, marked) = rest.split_at(at + OPEN.len());
        skeleton.push_str(before);
        let value = inner(marked);
        let Some(value) = value else {
            rest = marked;
            continue;
        };
        values.push(if count == 0 { '[' } else { ',' });
        values.push_str(value);
        let _ = write!(skeleton, "{count}");
        count += 1;
        // The list that holds the value ends behind it.
        rest = &marked[value.len() + 2..];
    }
    skeleton.push_str(rest);
    values.push_str(if count == 0 { "[]" } else { "]" });
    (skeleton, values)
}

/// A body with its marked values as if they were not marked.
pub(super) fn bare(body: &str) -> String {
    let (mut bare, mut rest) = (String::with_capacity(body.len()), body);
    while let Some(at) = rest.find(OPEN) {
        let (before, marked) = (&rest[..at], &rest[at + OPEN.len()..]);
        bare.push_str(before);
        // Behind a value two brackets end, its list's and its mark's; behind null or a number, which
        // stand by themselves, one.
        let (value, end) = match inner(marked) {
            Some(value) => (value, 1 + value.len() + 2),
            None => ("null", marked.find('}').map_or(marked.len(), |end| end + 1)),
        };
        bare.push_str(value);
        rest = &marked[end..];
    }
    bare.push_str(rest);
    bare
}

/// The value in the list that a text begins with; none if it begins otherwise.
fn inner(text: &str) -> Option<&str> {
    let list = text.strip_prefix('[')?;
    let mut values = serde_json::Deserializer::from_str(list).into_iter::<&RawValue>();
    Some(values.next()?.ok()?.get())
}

/// Puts values back in their places; null in those of which there is none.
pub(super) fn put_back(skeleton: &str, values: &[&RawValue]) -> String {
    let sizes: usize = values.iter().map(|value| value.get().len() + 2).sum();
    let mut body = String::with_capacity(skeleton.len() + sizes);
    let mut rest = skeleton;
    while let Some(at) = rest.find(OPEN) {
        let (before, marked) = rest.split_at(at + OPEN.len());
        body.push_str(before);
        let digits = marked.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = marked.split_at(digits);
        rest = after;
        let Ok(number) = number.parse::<usize>() else { continue };
        match values.get(number) {
            Some(value) => {
                body.push('[');
                body.push_str(value.get());
                body.push(']');
            }
            None => body.push_str("null"),
        }
    }
    body.push_str(rest);
    body
}
