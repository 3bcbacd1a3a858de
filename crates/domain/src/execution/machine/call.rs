//! Building the request of a call.

use serde_json::{Map, Value};

use super::super::{HttpCall, Request, Standard};
use super::{Error, Machine};
use crate::workflow::{Call, Template};

impl Machine<'_> {
    /// The request of a `call` or `run: workflow` task, with every expression evaluated.
    pub(super) fn request(
        &self,
        number: u32,
        call: &Call,
        input: &Value,
    ) -> Result<Request, Error> {
        match call {
            Call::Http { .. } => self.http(number, call, input),
            Call::Agent { agent, input: given } => Ok(Request::Agent {
                agent: agent.clone(),
                input: self.fill_or(number, given.as_ref(), input)?.into(),
            }),
            Call::Integration { integration, operation, parameters } => Ok(Request::Integration {
                integration: integration.clone(),
                operation: operation.clone(),
                parameters: self.object(number, parameters.as_ref(), input, "parameters")?.into(),
            }),
            Call::Notify { channel, to, template, data } => Ok(Request::Notify {
                channel: channel.clone(),
                to: self.addresses(number, to, input)?.into(),
                template: template.clone(),
                data: self.fill_or(number, data.as_ref(), input)?.into(),
            }),
            Call::Workflow { namespace, name, version, input: given, r#await } => {
                Ok(Request::Workflow {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    version: version.clone(),
                    input: self.fill_or(number, given.as_ref(), input)?.into(),
                    r#await: *r#await,
                })
            }
        }
    }

    fn http(&self, number: u32, call: &Call, input: &Value) -> Result<Request, Error> {
        let Call::Http { method, endpoint, headers, query, body, output, redirect } = call else {
            return Err(Standard::Runtime.error("not an HTTP call"));
        };
        let body = body.as_ref().map(|body| self.fill(number, body, input)).transpose()?;
        Ok(Request::Http(HttpCall {
            method: method.clone(),
            url: self.text(number, endpoint, input)?.into(),
            headers: self.object(number, headers.as_ref(), input, "headers")?.into(),
            query: self.object(number, query.as_ref(), input, "query")?.into(),
            body: body.map(Into::into),
            output: *output,
            redirect: *redirect,
        }))
    }

    fn fill_or(
        &self,
        number: u32,
        template: Option<&Template>,
        input: &Value,
    ) -> Result<Value, Error> {
        template.map_or_else(|| Ok(input.clone()), |template| self.fill(number, template, input))
    }

    fn object(
        &self,
        number: u32,
        template: Option<&Template>,
        input: &Value,
        what: &str,
    ) -> Result<Map<String, Value>, Error> {
        match template.map(|template| self.fill(number, template, input)).transpose()? {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(members)) => Ok(members),
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                Err(Standard::Validation.error(format!("`{what}` must give an object")))
            }
        }
    }

    fn addresses(&self, number: u32, to: &Template, input: &Value) -> Result<Vec<String>, Error> {
        let wrong = || Standard::Validation.error("`to` must give an address or a list of them");
        let text = |value: Value| value.as_str().map(str::to_owned).ok_or_else(wrong);
        match self.fill(number, to, input)? {
            Value::Array(items) => items.into_iter().map(text).collect(),
            one @ (Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_)) => Ok(vec![text(one)?]),
        }
    }
}
