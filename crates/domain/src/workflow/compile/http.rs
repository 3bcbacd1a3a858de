//! `call: http`.

use url::Url;

use super::data::wrapped;
use super::place::{Fields, Place, quoted};
use super::{Compiler, Scope};
use crate::execution::HttpOutput;
use crate::workflow::plan::{Call, Template};

/// Methods that can be used.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Header fields that belong to the connection, not to a request.
const OF_THE_CONNECTION: [&str; 6] =
    ["connection", "content-length", "host", "te", "transfer-encoding", "upgrade"];

/// Header fields that hold secrets, which must not stand in documents.
const SECRET: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

impl Compiler {
    pub(super) fn http(&mut self, fields: &mut Fields<'_>, scope: &Scope) -> Option<Call> {
        let method = fields.required(self, "method");
        let endpoint = fields.required(self, "endpoint");
        let (headers, query) = (fields.take("headers"), fields.take("query"));
        let (body, output) = (fields.take("body"), fields.take("output"));
        let redirect = fields.take("redirect");
        let method = method.and_then(|at| self.method(&at));
        let endpoint = endpoint.and_then(|at| self.endpoint(&at, scope));
        if let Some(at) = &headers {
            self.headers(at);
        }
        let headers = headers.map(|at| self.texts(&at, scope));
        let query = query.map(|at| self.texts(&at, scope));
        let body = body.map(|at| self.template(&at, scope));
        let output = output.and_then(|at| self.choice(&at, &["raw", "content", "response"]));
        let redirect = redirect.and_then(|at| self.truth(&at)).unwrap_or(false);
        Some(Call::Http {
            method: method?,
            endpoint: endpoint?,
            headers: headers.flatten(),
            query: query.flatten(),
            body: body.flatten(),
            output: match output {
                Some("raw") => HttpOutput::Raw,
                Some("response") => HttpOutput::Response,
                Some(_) | None => HttpOutput::Content,
            },
            redirect,
        })
    }

    fn method(&mut self, at: &Place<'_>) -> Option<String> {
        let text = self.text(at)?;
        let upper = text.to_ascii_uppercase();
        if METHODS.contains(&upper.as_str()) {
            return Some(upper);
        }
        let detail = format!("{} is no method that can be used", quoted(text));
        self.hinted(at, "unknown_method", detail, &METHODS.join(", ").to_lowercase());
        None
    }

    /// An endpoint: a URI with `{name}` in it, an expression, or an object that has it as `uri`.
    fn endpoint(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Template> {
        if !at.is_map() {
            return self.uri(at, scope);
        }
        let mut fields = Fields::of(self, at)?;
        let (uri, credential) = (fields.required(self, "uri"), fields.take("authentication"));
        fields.finish(self);
        if let Some(at) = credential {
            let hint = "put the credential into an integration and use `call: integration`";
            self.unsupported(&at, "`endpoint.authentication`", Some(hint));
        }
        self.uri(&uri?, scope)
    }

    fn uri(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Template> {
        let text = self.text(at)?;
        if wrapped(text).is_some() || text.contains("${") {
            self.one_line(at);
            return self.words(at, scope);
        }
        if filled(text).is_none_or(|uri| !is_endpoint(&uri)) {
            let detail = format!("{} is no endpoint", quoted(text));
            let hint = "an absolute http(s) URI without user and password; {name} stands for a member of the input";
            self.hinted(at, "malformed_uri", detail, hint);
            return None;
        }
        let text = text.to_owned();
        Some(if text.contains('{') { Template::Uri(text) } else { Template::Literal(text.into()) })
    }

    /// An object of texts (headers, query), or an expression.
    fn texts(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Template> {
        for (_, place) in at.members().unwrap_or_default() {
            if place.text().is_none() {
                let hint = "put it into quotes";
                self.hinted(&place, "wrong_type", "text is wanted here", hint);
            }
        }
        self.one_line(at);
        self.object(at, scope)
    }

    fn headers(&mut self, at: &Place<'_>) {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        for (name, place) in at.members().unwrap_or_default() {
            let lower = name.to_ascii_lowercase();
            let detail = |what: &str| format!("{} {what}", quoted(name));
            if name.is_empty() || !name.bytes().all(token) {
                self.fault(&place, "malformed_header", detail("is no header field name"));
            } else if OF_THE_CONNECTION.contains(&lower.as_str()) {
                self.fault(&place, "reserved_header", detail("belongs to the connection"));
            } else if SECRET.contains(&lower.as_str()) {
                let hint = "put the credential into an integration and use `call: integration`";
                self.hinted(&place, "reserved_header", detail("holds a secret"), hint);
            }
            if place
                .text()
                .is_some_and(|text| text.contains(char::is_control) && !text.contains("${"))
            {
                let detail = "a header has no line breaks or other control characters";
                self.fault(&place, "malformed_header", detail);
            }
        }
    }
}

/// The URI with something in the place of each `{name}`; none if a brace is not part of one.
fn filled(text: &str) -> Option<String> {
    let mut uri = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if before.contains('}') || name.is_empty() || !name.bytes().all(good) {
            return None;
        }
        uri.push_str(before);
        uri.push('1');
        rest = after;
    }
    uri.push_str(rest);
    (!rest.contains('}')).then_some(uri)
}

fn is_endpoint(uri: &str) -> bool {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '\\';
    let rest = uri.strip_prefix("https://").or_else(|| uri.strip_prefix("http://"));
    // The URL standard would read over missing and surplus slashes.
    rest.is_some_and(|rest| !rest.starts_with('/'))
        && !uri.contains(bad)
        && Url::parse(uri).is_ok_and(|url| {
            url.has_host() && url.username().is_empty() && url.password().is_none()
        })
}
