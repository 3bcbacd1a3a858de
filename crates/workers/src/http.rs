//! `call: http`: sends the request and makes an answer of what comes back.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use connectors::egress::{EgressError, OutboundRequest, OutboundResponse};
use connectors::integrations;
use connectors::vault::VaultError;
use domain::execution::{Answer, HttpCall, HttpOutput, Standard, VALUE_LIMIT};
use domain::integration::{Outbound, Spec};
use domain::{Id, Personal, Tenant};
use serde_json::{Map, Value, json};

use crate::{Deps, Error};

/// How long a call may take, whatever the task's own timeout says.
const DEADLINE: Duration = Duration::from_secs(30);

/// Makes the call. The idempotency key goes with it, so that a receiver that knows such keys
/// carries it out once however often it arrives.
pub(crate) async fn call(deps: &Deps, key: &str, call: &HttpCall) -> Answer {
    match deps.egress.send(request(key, call)).await {
        Ok(response) => answered(call, &response),
        Err(error) => unanswered(&error),
    }
}

fn request(key: &str, call: &HttpCall) -> OutboundRequest {
    let mut headers: Vec<(String, String)> =
        call.headers.iter().map(|(name, value)| (name.clone(), text(value))).collect();
    let has = |headers: &[(String, String)], name: &str| {
        headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
    };
    if !has(&headers, "idempotency-key") {
        headers.push(("Idempotency-Key".to_owned(), key.to_owned()));
    }
    let body = call.body.as_deref().map(|body| match body {
        Value::String(text) => text.clone().into_bytes(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            if !has(&headers, "content-type") {
                headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
            }
            body.to_string().into_bytes()
        }
    });
    OutboundRequest {
        method: call.method.clone(),
        url: with_query(&call.url, &call.query),
        headers,
        body: body.unwrap_or_default(),
        timeout: DEADLINE,
        max_body: VALUE_LIMIT,
        follow: call.redirect,
    }
}

fn with_query(url: &str, query: &Map<String, Value>) -> String {
    let Ok(mut parsed) = url::Url::parse(url) else { return url.to_owned() };
    if !query.is_empty() {
        parsed
            .query_pairs_mut()
            .extend_pairs(query.iter().map(|(name, value)| (name, text(value))));
    }
    parsed.into()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// 2xx is success, 3xx too where the task says so; everything else is an error with its status.
fn answered(call: &HttpCall, response: &OutboundResponse) -> Answer {
    let good = (200..300).contains(&response.status)
        || (call.redirect && (300..400).contains(&response.status));
    if !good {
        let detail = format!("{} {} answered {}", call.method, *call.url, response.status);
        let sort = match response.status {
            401 => Standard::Authentication,
            403 => Standard::Authorization,
            408 => Standard::Timeout,
            _ => Standard::Communication,
        };
        return Answer::Failure(sort.error(detail).with_status(response.status));
    }
    Answer::Success(match call.output {
        HttpOutput::Content => content(&response.body),
        HttpOutput::Raw => Value::String(STANDARD.encode(&response.body)),
        HttpOutput::Response => json!({
            "request": {"method": call.method, "uri": *call.url, "headers": *call.headers},
            "statusCode": response.status,
            "headers": response.headers.iter()
                .map(|(name, value)| (name.clone(), Value::String(value.clone())))
                .collect::<Map<_, _>>(),
            "content": content(&response.body),
        }),
    })
}

/// A body as data: JSON if it is JSON, else text, else nothing.
fn content(body: &[u8]) -> Value {
    if body.is_empty() {
        return Value::Null;
    }
    serde_json::from_slice(body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).replace('\0', "\u{fffd}")))
}

/// What a missing answer means: only what was certainly not sent is a definite failure.
pub(crate) fn unanswered(error: &EgressError) -> Answer {
    let detail = error.to_string();
    match error {
        EgressError::Denied => Answer::Failure(Standard::Authorization.error(detail)),
        EgressError::Invalid(_) => Answer::Failure(Standard::Configuration.error(detail)),
        EgressError::NotSent(_) => {
            Answer::Failure(Standard::Communication.error(detail).with_status(503))
        }
        // It was carried out. A second attempt must be known for one.
        EgressError::TooLarge { .. } => Answer::Unknown(Standard::Validation.error(detail)),
        EgressError::Unknown { .. } => {
            Answer::Unknown(Standard::Communication.error(detail).with_status(504))
        }
    }
}

/// Calls an operation of an integration, with its credentials.
pub(crate) async fn integrate(
    deps: &Deps,
    tenant: Id<Tenant>,
    spec: &Spec,
    outbound: Outbound,
    key: &str,
) -> Result<Answer, Error> {
    let call = HttpCall {
        method: outbound.method.clone(),
        url: outbound.url.clone().into(),
        headers: Personal::default(),
        query: Personal::default(),
        body: None,
        output: HttpOutput::Content,
        redirect: false,
    };
    let made = integrations::request(&deps.vault, tenant, spec, outbound, Some(key)).await;
    let mut request = match made {
        Ok(request) => request,
        Err(VaultError::Database(error)) => return Err(error.into()),
        Err(error) => return Ok(Answer::Failure(Standard::Configuration.error(error.to_string()))),
    };
    request.max_body = VALUE_LIMIT;
    Ok(match deps.egress.send(request).await {
        Ok(response) => answered(&call, &response),
        Err(error) => unanswered(&error),
    })
}
