//! JSON as it comes from outside: no duplicate members, bounded depth, no U+0000.

use std::fmt;

use domain::Fault;
use serde::de::{DeserializeOwned, DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deep arrays and objects may nest.
const DEPTH: usize = 64;

/// Reads a JSON text into a type, or says what is wrong with it and where.
pub(crate) fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, Fault> {
    typed(parse(text)?)
}

/// Makes a type of JSON that was read, or says what is wrong with it and where.
pub(crate) fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Fault> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let pointer = pointer(error.path());
        let detail = error.into_inner().to_string();
        let code = if detail.starts_with("unknown field") {
            "unknown_field"
        } else if detail.starts_with("missing field") {
            "missing_field"
        } else {
            "wrong_type"
        };
        Fault::new(pointer, code, detail)
    })
}

fn parse(text: &[u8]) -> Result<Value, Fault> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Strict { depth: 0 }.deserialize(&mut reader);
    value.and_then(|value| reader.end().map(|()| value)).map_err(|error| {
        let line = u32::try_from(error.line()).unwrap_or(u32::MAX);
        Fault::new("", "malformed_json", error.to_string()).at_line(line)
    })
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let part = |segment: &Segment| match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { .. } | Segment::Unknown => String::new(),
    };
    path.iter().map(part).collect()
}

#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= DEPTH {
            return Err(E::custom(format!("nested deeper than {DEPTH} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number out of range"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        if value.contains('\0') {
            return Err(E::custom("text with U+0000, which cannot be stored"));
        }
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut read = vec![];
        while let Some(item) = items.next_element_seed(inner)? {
            read.push(item);
        }
        Ok(Value::Array(read))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut read = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if name.contains('\0') {
                return Err(A::Error::custom("a name with U+0000, which cannot be stored"));
            }
            if read.contains_key(&name) {
                return Err(A::Error::custom(format!("member `{name}` stands twice")));
            }
            let value = members.next_value_seed(inner)?;
            read.insert(name, value);
        }
        Ok(Value::Object(read))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shape {
        outer: Vec<Inner>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        number: u32,
    }

    fn fault(text: &str) -> (String, String) {
        let fault = read::<Shape>(text.as_bytes()).expect_err(text);
        (fault.pointer, fault.code)
    }

    #[test]
    fn faults_say_what_and_where() {
        let said = |pointer: &str, code: &str| (pointer.to_owned(), code.to_owned());
        assert_eq!(
            fault(r#"{"outer":[{"number":1},{"number":"x"}]}"#),
            said("/outer/1/number", "wrong_type")
        );
        assert_eq!(fault(r#"{"outer":[{"numbr":1}]}"#), said("/outer/0/numbr", "unknown_field"));
        assert_eq!(fault(r#"{"outer":[{}]}"#), said("/outer/0", "missing_field"));
        assert_eq!(fault(r#"{"outer":[]"#), said("", "malformed_json"));
        assert_eq!(fault(r#"{"outer":[],"outer":[]}"#), said("", "malformed_json"));
    }

    #[test]
    fn bombs_and_what_cannot_be_stored_are_refused() {
        let deep = "[".repeat(65) + &"]".repeat(65);
        for bad in [deep.as_str(), r#""a\u0000b""#, r#"{"a\u0000":1}"#, "1 2", "", "1e999", "NaN"] {
            assert!(read::<Value>(bad.as_bytes()).is_err(), "{bad}");
        }
        let fits = "[".repeat(64) + &"]".repeat(64);
        assert!(read::<Value>(fits.as_bytes()).is_ok());
        assert_eq!(
            read::<Value>(b" {\"a\": [1, -2, 1.5, null]} ").expect("JSON"),
            json!({"a": [1, -2, 1.5, null]})
        );
    }
}
