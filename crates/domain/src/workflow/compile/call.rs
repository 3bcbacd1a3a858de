//! `call` and `run`.

use super::place::{Fields, Place};
use super::{Compiler, Scope};
use crate::execution::HttpOutput;
use crate::workflow::plan::{Call, Reference, Referent, Template};

/// Calls of the language that we do not make yet.
const NOT_YET: [&str; 5] = ["a2a", "asyncapi", "grpc", "mcp", "openapi"];

impl Compiler {
    pub(super) fn call(&mut self, fields: &mut Fields<'_>, scope: &Scope) -> Option<Call> {
        let (call, with) = (fields.take("call")?, fields.take("with"));
        let name = self.text(&call)?;
        if NOT_YET.contains(&name.as_str()) {
            self.unsupported(&call, &format!("`call: {name}`"), None);
            return None;
        }
        if !["http", "agent", "integration", "notify"].contains(&name.as_str()) {
            let detail = format!("there is no function `{name}`");
            let hint = "http, agent, integration or notify";
            self.hinted(&call, "unknown_function", detail, hint);
            return None;
        }
        let Some(with) = with else {
            self.fault(&call, "missing_field", "`with` is missing: what to call it with");
            return None;
        };
        let mut arguments = Fields::of(self, &with)?;
        let call = match name.as_str() {
            "http" => self.http(&mut arguments, scope),
            "agent" => self.agent(&mut arguments, scope),
            "integration" => self.integration(&mut arguments, scope),
            _ => self.notify(&mut arguments, scope),
        };
        arguments.finish(self);
        call
    }

    fn http(&mut self, fields: &mut Fields<'_>, scope: &Scope) -> Option<Call> {
        let (method, endpoint) =
            (fields.required(self, "method"), fields.required(self, "endpoint"));
        let headers = fields.take("headers").map(|at| self.template(&at, scope));
        let query = fields.take("query").map(|at| self.template(&at, scope));
        let body = fields.take("body").map(|at| self.template(&at, scope));
        let output = fields.take("output").map(|at| self.output(&at));
        let redirect = fields.take("redirect").is_some_and(|at| self.truth(&at));
        let method = method.and_then(|at| self.method(&at));
        let endpoint = endpoint.and_then(|at| self.endpoint(&at, scope));
        Some(Call::Http {
            method: method?,
            endpoint: endpoint?,
            headers: headers.flatten(),
            query: query.flatten(),
            body: body.flatten(),
            output: output.unwrap_or_default(),
            redirect,
        })
    }

    fn method(&mut self, at: &Place<'_>) -> Option<String> {
        let text = self.text(at)?.to_ascii_uppercase();
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        if known.contains(&text.as_str()) {
            return Some(text);
        }
        let detail = format!("`{text}` is no method");
        self.hinted(at, "unknown_method", detail, &known.join(", ").to_lowercase());
        None
    }

    fn output(&mut self, at: &Place<'_>) -> HttpOutput {
        match at.text() {
            Some("content") => HttpOutput::Content,
            Some("raw") => HttpOutput::Raw,
            Some("response") => HttpOutput::Response,
            Some(_) | None => {
                self.fault(at, "wrong_type", "`content`, `raw` or `response` is wanted here");
                HttpOutput::Content
            }
        }
    }

    /// An endpoint: a URI with `{name}` in it, an expression, or an object that has it as `uri`.
    fn endpoint(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Template> {
        if at.members().is_some() {
            let mut fields = Fields::of(self, at)?;
            let uri = fields.required(self, "uri");
            if let Some(place) = fields.take("authentication") {
                let hint = "put the credential into an integration and use call: integration";
                self.unsupported(&place, "`endpoint.authentication`", Some(hint));
            }
            fields.finish(self);
            return self.endpoint(&uri?, scope);
        }
        let text = self.text(at)?;
        if super::shape::wrapped(&text).is_some() {
            return self.template(at, scope);
        }
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let bad = |c: char| c.is_whitespace() || c.is_control();
        let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
        if host.is_empty() || host.contains('@') || text.contains(bad) {
            let hint = "an absolute http(s) URI without credentials; {name} stands for a member of the input";
            self.hinted(at, "malformed_uri", format!("`{text}` is no endpoint"), hint);
            return None;
        }
        if text.contains('{') {
            return Some(Template::Uri(text));
        }
        Some(Template::Literal(text.into()))
    }

    fn agent(&mut self, fields: &mut Fields<'_>, scope: &Scope) -> Option<Call> {
        let agent = fields.required(self, "agent");
        let input = fields.take("input").map(|at| self.template(&at, scope));
        let agent = self.named(&agent?, Referent::Agent)?;
        Some(Call::Agent { agent, input: input.flatten() })
    }

    fn integration(&mut self, fields: &mut Fields<'_>, scope: &Scope) -> Option<Call> {
        let integration = fields.required(self, "integration");
        let operation = fields.required(self, "operation");
        let parameters = fields.take("parameters").map(|at| self.template(&at, scope));
        let operation = operation.and_then(|at| self.text(&at));
        let to = Referent::Integration(operation.clone().unwrap_or_default());
        let integration = self.named(&integration?, to)?;
        let parameters = parameters.flatten();
        Some(Call::Integration { integration, operation: operation?, parameters })
    }

    fn notify(&mut self, fields: &mut Fields<'_>, scope: &Scope) -> Option<Call> {
        let channel = fields.required(self, "channel");
        let to = fields.required(self, "to").and_then(|at| self.template(&at, scope));
        let template = fields.required(self, "template");
        let data = fields.take("data").map(|at| self.template(&at, scope));
        if let Some(at) = &channel
            && self.text(at)? != "email"
        {
            self.hinted(at, "unknown_channel", "there is no such channel", "email");
            return None;
        }
        let channel = self.text(&channel?)?;
        let template = self.named(&template?, Referent::Template)?;
        Some(Call::Notify { channel, to: to?, template, data: data.flatten() })
    }

    /// `run`: another workflow.
    pub(super) fn run(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Call> {
        let mut fields = Fields::of(self, at)?;
        let r#await = fields.take("await").is_none_or(|at| self.truth(&at));
        fields.take("return");
        let workflow = fields.take("workflow");
        for other in ["container", "script", "shell"] {
            if let Some(place) = fields.take(other) {
                self.unsupported(&place, &format!("`run: {other}`"), None);
                return None;
            }
        }
        fields.finish(self);
        let Some(workflow) = workflow else {
            self.fault(at, "missing_field", "`workflow` is missing: what to run");
            return None;
        };
        let mut fields = Fields::of(self, &workflow)?;
        let namespace = fields.required(self, "namespace").and_then(|at| self.text(&at));
        let name = fields.required(self, "name");
        let version = fields.take("version").and_then(|at| self.text(&at));
        let input = fields.take("input").map(|at| self.template(&at, scope));
        fields.finish(self);
        let (namespace, name) = (namespace?, name?);
        let name = self.named(&name, Referent::Workflow(namespace.clone()))?;
        let version = version.filter(|version| version != "latest");
        Some(Call::Workflow { namespace, name, version, input: input.flatten(), r#await })
    }

    /// A name of something outside of the document, noted for whoever can check it.
    fn named(&mut self, at: &Place<'_>, to: Referent) -> Option<String> {
        let name = self.text(at)?;
        let (pointer, line) = (at.pointer.clone(), at.node.line);
        self.references.push(Reference { to, name: name.clone(), pointer, line });
        Some(name)
    }
}
