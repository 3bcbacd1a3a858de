//! Making requests of operations.

use serde_json::{Map, Value};

use super::{Operation, Spec};
use crate::Fault;

/// A request without its credentials.
#[derive(Debug, Clone, PartialEq)]
pub struct Outbound {
    /// The method.
    pub method: String,
    /// Where to.
    pub url: String,
    /// Header fields.
    pub headers: Vec<(String, String)>,
    /// The JSON body.
    pub body: Option<Value>,
    /// The header field that carries the idempotency key.
    pub idempotency_header: String,
}

impl Spec {
    /// The request of an operation, filled with parameters; what is missing if it cannot be made.
    pub fn request(
        &self,
        operation: &str,
        parameters: &Map<String, Value>,
    ) -> Result<Outbound, Vec<Fault>> {
        let Some(found) = self.operations.get(operation) else {
            let known: Vec<&str> = self.operations.keys().map(String::as_str).collect();
            let detail = format!("there is no operation `{operation}`");
            let hint = format!("the integration has: {}", known.join(", "));
            return Err(vec![Fault::new("/operation", "unknown_operation", detail).hint(hint)]);
        };
        self.filled(found, parameters)
    }

    /// The request that tries the connection.
    pub fn test_request(&self) -> Result<Outbound, Vec<Fault>> {
        match &self.test {
            Some(test) => self.filled(test, &Map::new()),
            None => Ok(Outbound {
                method: "GET".to_owned(),
                url: self.base_url.clone(),
                headers: vec![],
                body: None,
                idempotency_header: DEFAULT_KEY_HEADER.to_owned(),
            }),
        }
    }

    fn filled(
        &self,
        operation: &Operation,
        parameters: &Map<String, Value>,
    ) -> Result<Outbound, Vec<Fault>> {
        let mut filler = Filler { parameters, faults: vec![] };
        let path = filler.path(&operation.path);
        let headers = operation.headers.iter().map(|(name, value)| filler.header(name, value));
        let headers = headers.collect();
        let body = operation.body.as_ref().map(|body| filler.value(body));
        if !filler.faults.is_empty() {
            return Err(filler.faults);
        }
        let key_header = operation.idempotency_header.as_deref().unwrap_or(DEFAULT_KEY_HEADER);
        Ok(Outbound {
            method: operation.method.clone(),
            url: format!("{}{path}", self.base_url.trim_end_matches('/')),
            headers,
            body,
            idempotency_header: key_header.to_owned(),
        })
    }
}

const DEFAULT_KEY_HEADER: &str = "Idempotency-Key";

struct Filler<'a> {
    parameters: &'a Map<String, Value>,
    faults: Vec<Fault>,
}

impl Filler<'_> {
    /// Fills `{name}` in a text.
    fn text(&mut self, text: &str, encode: fn(&str) -> String) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, name, after)) = placeholder(rest) {
            filled.push_str(before);
            match self.parameters.get(name) {
                Some(Value::String(text)) => filled.push_str(&encode(text)),
                Some(scalar @ (Value::Bool(_) | Value::Number(_))) => {
                    filled.push_str(&encode(&scalar.to_string()));
                }
                Some(Value::Null | Value::Array(_) | Value::Object(_)) => {
                    self.fault(name, "wrong_type", "must be text, a number or a boolean here");
                }
                None => self.fault(name, "missing_parameter", "is missing"),
            }
            rest = after;
        }
        filled + rest
    }

    /// Fills a path. The result has the segments that its author wrote: nothing climbs out, and
    /// nothing is left out, because `DELETE /items/` is not `DELETE /items/7`.
    fn path(&mut self, path: &str) -> String {
        let before_query = path.split('?').next().unwrap_or_default();
        let mut rest = before_query;
        while let Some((_, name, after)) = placeholder(rest) {
            if self.parameters.get(name).and_then(Value::as_str) == Some("") {
                self.fault(name, "empty_parameter", "must not be empty here");
            }
            rest = after;
        }
        let filled = self.text(path, segment);
        if climbs(&filled) {
            let detail = "the parameters make a path with `.` or `..` in it";
            self.faults.push(Fault::new("/parameters", "malformed_path", detail));
        }
        filled
    }

    /// Fills the value of a header field, which must stay one line that HTTP can carry.
    fn header(&mut self, name: &str, value: &str) -> (String, String) {
        let filled = self.text(value, str::to_owned);
        if !is_header_value(&filled) {
            let detail = format!("the parameters make a value that `{name}` cannot carry");
            self.faults.push(Fault::new("/parameters", "malformed_header", detail));
        }
        (name.to_owned(), filled)
    }

    /// Fills a JSON body; text that is exactly `{name}` becomes the parameter, of whatever type.
    fn value(&mut self, value: &Value) -> Value {
        match value {
            Value::String(text) => match placeholder(text) {
                Some(("", name, "")) => self.parameters.get(name).cloned().unwrap_or_else(|| {
                    self.fault(name, "missing_parameter", "is missing");
                    Value::Null
                }),
                Some(_) | None => Value::String(self.text(text, str::to_owned)),
            },
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(members) => {
                members.iter().map(|(name, member)| (name.clone(), self.value(member))).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    fn fault(&mut self, name: &str, code: &str, what: &str) {
        let pointer = format!("/parameters/{name}");
        if !self.faults.iter().any(|known| known.pointer == pointer && known.code == code) {
            self.faults.push(Fault::new(pointer, code, format!("parameter `{name}` {what}")));
        }
    }
}

/// Splits a text at its first `{name}`.
pub(super) fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.match_indices('{').find_map(|(open, _)| {
        let (name, after) = text[open + 1..].split_once('}')?;
        let named = !name.is_empty() && name.bytes().all(good);
        named.then(|| (&text[..open], name, after))
    })
}

/// Whether a path leads out of where it begins: servers take `%2e` for a dot.
pub(super) fn climbs(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let dots = |part: &str| matches!(&*part.to_ascii_lowercase().replace("%2e", "."), "." | "..");
    path.split('/').any(dots)
}

/// Whether HTTP carries a text as the value of a header field.
pub(super) fn is_header_value(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// A parameter as one part of a path or a query: it cannot climb out of it or add another.
fn segment(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    encoded
}
