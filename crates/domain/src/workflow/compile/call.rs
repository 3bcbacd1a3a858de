//! `call` and `run`.

use super::place::{Fields, Place, nearest, quoted};
use super::{Compiler, Scope};
use crate::workflow::plan::{Call, Kind, Referent};

/// Calls of the language that we do not make yet.
const NOT_YET: [&str; 5] = ["a2a", "asyncapi", "grpc", "mcp", "openapi"];

/// What can be called.
const FUNCTIONS: [&str; 4] = ["http", "agent", "integration", "notify"];

/// The most addresses that a notification is sent to.
const ADDRESSES: usize = 50;

impl Compiler {
    pub(super) fn call(
        &mut self,
        at: &Place<'_>,
        fields: &mut Fields<'_>,
        scope: &Scope,
    ) -> Option<Kind> {
        let (function, with) = (fields.take("call")?, fields.take("with"));
        let name = self.text(&function)?;
        if NOT_YET.contains(&name) {
            self.unsupported(&function, &format!("`call: {name}`"), None);
            return None;
        }
        if !FUNCTIONS.contains(&name) {
            let detail = format!("there is no function {}", quoted(name));
            let hint = match nearest(name, FUNCTIONS.into_iter()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => FUNCTIONS.join(", "),
            };
            self.hinted(&function, "unknown_function", detail, &hint);
            return None;
        }
        let Some(with) = with else {
            self.fault(at, "missing_field", "`with` is missing: what to call it with");
            return None;
        };
        let mut arguments = Fields::of(self, &with)?;
        let call = match name {
            "http" => self.http(&mut arguments, scope),
            "agent" => self.agent(&mut arguments, scope),
            "integration" => self.integration(&mut arguments, scope),
            _ => self.notify(&mut arguments, scope),
        };
        arguments.finish(self);
        call.map(|call| Kind::Call(Box::new(call)))
    }

    fn agent(&mut self, fields: &mut Fields<'_>, scope: &Scope) -> Option<Call> {
        let (agent, input) = (fields.required(self, "agent"), fields.take("input"));
        let agent = agent.and_then(|at| self.named(&at, Referent::Agent));
        let input = input.map(|at| self.template(&at, scope));
        Some(Call::Agent { agent: agent?, input: input.flatten() })
    }

    fn integration(&mut self, fields: &mut Fields<'_>, scope: &Scope) -> Option<Call> {
        let integration = fields.required(self, "integration");
        let operation = fields.required(self, "operation");
        let parameters = fields.take("parameters").map(|at| self.object(&at, scope));
        let operation = operation.and_then(|at| self.text(&at)).map(str::to_owned);
        let integration = match &operation {
            Some(operation) => {
                let to = Referent::Integration(operation.clone());
                integration.and_then(|at| self.named(&at, to))
            }
            None => integration.and_then(|at| self.label(&at)),
        };
        let parameters = parameters.flatten();
        Some(Call::Integration { integration: integration?, operation: operation?, parameters })
    }

    fn notify(&mut self, fields: &mut Fields<'_>, scope: &Scope) -> Option<Call> {
        let (channel, to) = (fields.required(self, "channel"), fields.required(self, "to"));
        let (template, data) = (fields.required(self, "template"), fields.take("data"));
        let channel = channel.and_then(|at| self.choice(&at, &["email"]));
        let template = template.and_then(|at| self.named(&at, Referent::Template));
        let data = data.map(|at| self.object(&at, scope));
        let to = to?;
        let all = to.items().unwrap_or_else(|| vec![to.clone()]);
        if all.is_empty() || all.len() > ADDRESSES {
            let detail = format!("1 to {ADDRESSES} addresses are wanted");
            self.fault(&to, "out_of_range", detail);
        }
        for one in &all {
            self.address(one);
        }
        Some(Call::Notify {
            channel: channel?.to_owned(),
            to: self.template(&to, scope)?,
            template: template?,
            data: data.flatten(),
        })
    }

    /// An address that is written out; whether mail gets there is found out by sending some.
    fn address(&mut self, at: &Place<'_>) {
        let Some(text) = self.text(at) else { return };
        if !text.contains("${") && (!text.contains('@') || text.contains(char::is_whitespace)) {
            let detail = format!("{} is no e-mail address", quoted(text));
            self.fault(at, "malformed_address", detail);
        }
    }

    /// `run`: another workflow.
    pub(super) fn run(&mut self, at: &Place<'_>, scope: &Scope) -> Option<Kind> {
        let mut fields = Fields::of(self, at)?;
        let (r#await, result) = (fields.take("await"), fields.take("return"));
        let workflow = fields.take("workflow");
        let mut others = false;
        for other in ["container", "script", "shell"] {
            if let Some(place) = fields.take(other) {
                self.unsupported(&place, &format!("`run: {other}`"), None);
                others = true;
            }
        }
        fields.finish(self);
        if others {
            return None;
        }
        if let Some(at) = result {
            let hint = "leave it out: what comes back is the output of the workflow";
            self.unsupported(&at, "`return`", Some(hint));
        }
        let r#await = r#await.is_none_or(|at| self.truth(&at).unwrap_or(true));
        let Some(workflow) = workflow else {
            self.fault(at, "missing_field", "`workflow` is missing: what to run");
            return None;
        };
        let mut fields = Fields::of(self, &workflow)?;
        let namespace = fields.required(self, "namespace");
        let (name, version) = (fields.required(self, "name"), fields.required(self, "version"));
        let input = fields.take("input");
        fields.finish(self);
        let namespace = namespace.and_then(|at| self.label(&at));
        let version = match version {
            Some(at) if at.text() == Some("latest") => None,
            Some(at) => Some(self.version(&at)?),
            None => None,
        };
        let input = match input {
            Some(at) if at.is_map() => Some(self.template(&at, scope)?),
            Some(at) => {
                let hint = "expressions stand inside of it: {order: '${ . }'}";
                self.hinted(&at, "wrong_type", "an object is wanted here", hint);
                None
            }
            None => None,
        };
        let namespace = namespace?;
        let name = self.named(&name?, Referent::Workflow(namespace.clone()))?;
        let call = Call::Workflow { namespace, name, version, input, r#await };
        Some(Kind::Call(Box::new(call)))
    }
}
