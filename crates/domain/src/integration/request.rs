//! Making requests of operations, and checking that operations can make requests.

use serde_json::{Map, Value};

use super::{Operation, Spec};
use crate::Fault;

/// Methods that operations may use.
const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];

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
        let path = filler.text(&operation.path, segment);
        let header = |(name, value): (&String, &String)| {
            (name.clone(), filler.text(value, |text| text.replace(['\r', '\n'], " ")))
        };
        let headers = operation.headers.iter().map(header).collect();
        let body = operation.body.as_ref().map(|body| filler.value(body));
        if !filler.faults.is_empty() {
            return Err(filler.faults);
        }
        Ok(Outbound {
            method: operation.method.clone(),
            url: format!("{}{path}", self.base_url.trim_end_matches('/')),
            headers,
            body,
            idempotency_header: operation
                .idempotency_header
                .clone()
                .unwrap_or_else(|| DEFAULT_KEY_HEADER.to_owned()),
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

    /// Fills a JSON body; text that is exactly `{name}` becomes the parameter, of whatever type.
    fn value(&mut self, value: &Value) -> Value {
        match value {
            Value::String(text) => match placeholder(text) {
                Some(("", name, "")) => match self.parameters.get(name) {
                    Some(parameter) => parameter.clone(),
                    None => {
                        self.fault(name, "missing_parameter", "is missing");
                        Value::Null
                    }
                },
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
        self.faults.push(Fault::new(pointer, code, format!("parameter `{name}` {what}")));
    }
}

/// Splits a text at its first `{name}`.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(open) = text[from..].find('{').map(|at| from + at) {
        let close = text[open..].find('}').map(|at| open + at)?;
        let name = &text[open + 1..close];
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if !name.is_empty() && name.bytes().all(good) {
            return Some((&text[..open], name, &text[close + 1..]));
        }
        from = open + 1;
    }
    None
}

/// A parameter as one segment of a path: it cannot climb out of it or add another.
fn segment(text: &str) -> String {
    use std::fmt::Write as _;
    let mut encoded = String::with_capacity(text.len());
    let dots = text == "." || text == "..";
    for byte in text.bytes() {
        let plain =
            byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) || (byte == b'.' && !dots);
        if plain {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    encoded
}

impl Spec {
    /// Everything that is wrong with it.
    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut faults = vec![];
        base_url(&self.base_url, &mut faults);
        for (name, operation) in &self.operations {
            check(&format!("/operations/{name}"), operation, &mut faults);
        }
        if let Some(test) = &self.test {
            check("/test", test, &mut faults);
            if placeholder(&test.path).is_some() {
                let detail = "the test is made without parameters";
                faults.push(Fault::new("/test/path", "placeholder", detail));
            }
        }
        if let super::Auth::Header { name, .. } = &self.auth
            && !is_header(name)
        {
            let detail = format!("`{name}` is no header field name");
            faults.push(Fault::new("/auth/name", "malformed_header", detail));
        }
        faults
    }
}

fn base_url(url: &str, faults: &mut Vec<Fault>) {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let bad = |c: char| c.is_control() || c.is_whitespace() || "?#@{}\\".contains(c);
    if host.is_empty() || url.contains(bad) || url.contains("/..") {
        let hint = "an absolute http(s) URL without user, query, fragment or `..`";
        let detail = format!("`{url}` is no base URL");
        faults.push(Fault::new("/base_url", "malformed_url", detail).hint(hint));
    }
}

fn check(pointer: &str, operation: &Operation, faults: &mut Vec<Fault>) {
    let mut fault = |member: &str, code: &str, detail: String| {
        faults.push(Fault::new(format!("{pointer}/{member}"), code, detail));
    };
    if !METHODS.contains(&operation.method.as_str()) {
        let detail = format!("`{}` is none of {}", operation.method, METHODS.join(", "));
        fault("method", "unknown_method", detail);
    }
    let climbs = operation.path.split('/').any(|part| part == ".." || part == ".");
    let bad = |c: char| c.is_control() || c.is_whitespace() || c == '#' || c == '\\';
    if !operation.path.starts_with('/') || climbs || operation.path.contains(bad) {
        let detail = format!("`{}` is no path: it must begin with `/`", operation.path);
        fault("path", "malformed_path", detail);
    }
    for (name, value) in &operation.headers {
        if !is_header(name) || value.contains(['\r', '\n', '\0']) {
            fault("headers", "malformed_header", format!("`{name}` is no header field"));
        }
    }
    if operation.idempotency_header.as_deref().is_some_and(|name| !is_header(name)) {
        fault("idempotency_header", "malformed_header", "it is no header field name".to_owned());
    }
}

/// Whether a text is a field name (RFC 9110, 5.1).
fn is_header(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(token)
}
