//! What can be wrong with the settings of an integration.

use serde_json::Value;
use url::Url;

use super::request::{climbs, is_header_value, placeholder};
use super::{Auth, Operation, Spec, Webhook};
use crate::{Fault, name};

/// Methods that operations may use.
const METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];

/// Header fields that belong to the connection, not to an operation.
const OF_THE_CONNECTION: [&str; 6] =
    ["connection", "content-length", "host", "te", "transfer-encoding", "upgrade"];

/// Header fields that hold secrets: they come from `auth`, where the vault keeps them.
const OF_AUTH: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// The longest type of an event, in bytes.
const LONGEST_EVENT: usize = 100;

impl Spec {
    /// Everything that is wrong with it.
    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut faults = vec![];
        base_url(&self.base_url, &mut faults);
        auth(&self.auth, &mut faults);
        for (name, one) in &self.operations {
            let name = name.replace('~', "~0").replace('/', "~1");
            operation(&format!("/operations/{name}"), one, &mut faults);
        }
        if let Some(test) = &self.test {
            operation("/test", test, &mut faults);
            without_parameters(test, &mut faults);
        }
        if let Some(hook) = &self.webhook {
            webhook(hook, &mut faults);
        }
        faults
    }
}

fn base_url(text: &str, faults: &mut Vec<Fault>) {
    let bad = |c: char| c.is_control() || c.is_whitespace() || "?#@{}\\".contains(c);
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    // The URL standard would read over missing and surplus slashes.
    let good = rest.is_some_and(|rest| !rest.starts_with('/'))
        && !text.contains(bad)
        && !climbs(text)
        && Url::parse(text).is_ok_and(|url| url.has_host());
    if !good {
        let hint = "an absolute http(s) URL without user, query, fragment or `..`";
        let detail = format!("`{text}` is no base URL");
        faults.push(Fault::new("/base_url", "malformed_url", detail).hint(hint));
    }
}

fn auth(auth: &Auth, faults: &mut Vec<Fault>) {
    match auth {
        Auth::None | Auth::Bearer { .. } => {}
        Auth::Basic { username, .. } => {
            if username.contains(|c: char| c == ':' || c.is_control()) {
                let detail = "a user name has no colon and no control character";
                faults.push(Fault::new("/auth/username", "malformed_name", detail));
            }
        }
        Auth::Header { name, .. } => {
            if !is_header(name) || OF_THE_CONNECTION.contains(&&*name.to_ascii_lowercase()) {
                let detail = format!("`{name}` is no header field that can carry a secret");
                faults.push(Fault::new("/auth/name", "malformed_header", detail));
            }
        }
    }
}

fn operation(pointer: &str, operation: &Operation, faults: &mut Vec<Fault>) {
    let mut fault = |member: &str, code: &str, detail: String| {
        faults.push(Fault::new(format!("{pointer}/{member}"), code, detail));
    };
    if !METHODS.contains(&operation.method.as_str()) {
        let detail = format!("`{}` is none of {}", operation.method, METHODS.join(", "));
        fault("method", "unknown_method", detail);
    }
    let bad = |c: char| c.is_control() || c.is_whitespace() || c == '#' || c == '\\';
    let path = &operation.path;
    if !path.starts_with('/') || path.contains(bad) || climbs(path) {
        let detail = format!("`{path}` is no path: it begins with `/` and stays below it");
        fault("path", "malformed_path", detail);
    }
    if has_stray_brace(path) {
        let detail = "a brace that belongs to no `{name}`".to_owned();
        fault("path", "malformed_placeholder", detail);
    }
    for (name, value) in &operation.headers {
        if let Some((code, detail)) = header(name, value) {
            fault(&format!("headers/{}", name.replace('~', "~0").replace('/', "~1")), code, detail);
        }
    }
    let of_key = operation.idempotency_header.as_deref();
    if of_key.is_some_and(|name| header(name, "").is_some()) {
        let detail = "it is no header field that operations may set".to_owned();
        fault("idempotency_header", "malformed_header", detail);
    }
}

/// What is wrong with a header field of an operation.
fn header(name: &str, value: &str) -> Option<(&'static str, String)> {
    let lower = name.to_ascii_lowercase();
    if !is_header(name) {
        return Some(("malformed_header", format!("`{name}` is no header field name")));
    }
    if OF_THE_CONNECTION.contains(&&*lower) {
        return Some(("reserved_header", format!("`{name}` belongs to the connection")));
    }
    if OF_AUTH.contains(&&*lower) {
        return Some(("reserved_header", format!("`{name}` is a secret: say it in `auth`")));
    }
    if !is_header_value(value) {
        let detail = format!("`{name}` has a value that HTTP cannot carry: use printable ASCII");
        return Some(("malformed_header", detail));
    }
    let stray = || ("malformed_placeholder", "a brace that belongs to no `{name}`".to_owned());
    has_stray_brace(value).then(stray)
}

/// The test is made when nobody gives parameters.
fn without_parameters(test: &Operation, faults: &mut Vec<Fault>) {
    let headers = test.headers.values().any(|value| placeholder(value).is_some());
    let places = [
        ("/test/path", placeholder(&test.path).is_some()),
        ("/test/headers", headers),
        ("/test/body", test.body.as_ref().is_some_and(has_placeholder)),
    ];
    for (pointer, _) in places.iter().filter(|(_, found)| *found) {
        let detail = "the test is made without parameters";
        faults.push(Fault::new(*pointer, "malformed_placeholder", detail));
    }
}

fn webhook(hook: &Webhook, faults: &mut Vec<Fault>) {
    if let Some(starts) = &hook.starts {
        let names = [("namespace", &starts.namespace), ("name", &starts.name)];
        for (member, text) in names.iter().filter(|(_, text)| !name::is_good(text)) {
            let pointer = format!("/webhook/starts/{member}");
            faults.push(Fault::new(pointer, "malformed_name", format!("`{text}` is no name")));
        }
    }
    if let Some(subject) = &hook.subject
        && !subject.starts_with('/')
    {
        let detail = format!("`{subject}` is no JSON Pointer: it must begin with `/`");
        faults.push(Fault::new("/webhook/subject", "malformed_pointer", detail));
    }
    let good = |event: &str| {
        (1..=LONGEST_EVENT).contains(&event.len()) && !event.contains(char::is_control)
    };
    for (place, event) in hook.events.iter().enumerate().filter(|(_, event)| !good(event)) {
        let pointer = format!("/webhook/events/{place}");
        faults.push(Fault::new(pointer, "malformed_name", format!("`{event}` is no event type")));
    }
}

/// Whether a text has a brace that is no part of a `{name}`.
fn has_stray_brace(text: &str) -> bool {
    let mut rest = text;
    while let Some((before, _, after)) = placeholder(rest) {
        if before.contains(['{', '}']) {
            return true;
        }
        rest = after;
    }
    rest.contains(['{', '}'])
}

fn has_placeholder(value: &Value) -> bool {
    match value {
        Value::String(text) => placeholder(text).is_some(),
        Value::Array(items) => items.iter().any(has_placeholder),
        Value::Object(members) => members.values().any(has_placeholder),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether a text is a field name (RFC 9110, 5.1).
fn is_header(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(token)
}
