//! What the log and the tables can hold of JSON that somebody else made.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// How deep arrays and objects may nest: the log takes 100 levels, events add a few of their own.
const DEPTH: usize = 64;

/// Says why a value cannot be stored: it nests too deep, or holds U+0000, which Postgres refuses.
pub(crate) fn check(value: &Value) -> Result<(), String> {
    inner(value, 0)
}

/// Size as JSON, in bytes.
pub(crate) fn size(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |bytes| bytes.len())
}

/// The beginning of a text that may be long, up to so many bytes.
pub(crate) fn clipped(text: &str, most: usize) -> String {
    let end = text.floor_char_boundary(most);
    let more = if end < text.len() { "…" } else { "" };
    format!("{}{more}", &text[..end])
}

/// Reads a member that may be absent and whose `null` is a value like any other; by itself, serde
/// takes the two for the same.
pub(crate) fn even_null<'de, T, D>(reader: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(reader).map(Some)
}

fn inner(value: &Value, depth: usize) -> Result<(), String> {
    if depth > DEPTH {
        return Err(format!("it nests deeper than {DEPTH} levels"));
    }
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        Value::String(text) => text_only(text),
        Value::Array(items) => items.iter().try_for_each(|item| inner(item, depth + 1)),
        Value::Object(members) => members.iter().try_for_each(|(name, value)| {
            text_only(name)?;
            inner(value, depth + 1)
        }),
    }
}

fn text_only(text: &str) -> Result<(), String> {
    if text.contains('\0') { Err("it holds U+0000".to_owned()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn deep_and_null_byte_values_are_refused() {
        let mut deep = json!(1);
        for _ in 0..DEPTH {
            deep = json!([deep]);
        }
        assert_eq!(check(&deep), Ok(()));
        assert!(check(&json!([deep])).is_err());
        assert!(check(&json!({"a\0": 1})).is_err());
        assert!(check(&json!(["\0"])).is_err());
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(clipped("äöü", 3), "ä…");
        assert_eq!(clipped("abc", 3), "abc");
    }
}
