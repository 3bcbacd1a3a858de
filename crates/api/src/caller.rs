//! Who is calling: an API key, checked against its own history in the log.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use domain::api_key::{Access, ApiKey, Token};
use domain::{Actor, Id, Tenant};
use eventstore::{Clock, Metadata, StreamId, Version};
use uuid::Uuid;

use crate::gateway::RequestId;
use crate::{App, Problem};

/// An authenticated caller.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) tenant: Id<Tenant>,
    pub(crate) key: Uuid,
    access: Access,
    request: Uuid,
    traceparent: Option<String>,
}

impl Caller {
    /// Who the events of this request name.
    pub(crate) fn actor(&self) -> Actor {
        Actor::ApiKey(self.key)
    }

    /// Circumstances of the events of this request.
    pub(crate) fn meta(&self, clock: &Clock) -> Metadata {
        Metadata {
            tenant: self.tenant,
            actor: self.actor(),
            correlation: self.request,
            causation: self.request,
            traceparent: self.traceparent.clone(),
            at: clock.now(),
        }
    }

    /// Who sent a request if their key still is what it was when it was last looked at; with its stream
    /// and version, for the log to judge that.
    pub(crate) fn remembered(parts: &Parts, app: &App) -> Option<(Self, (StreamId, Version))> {
        let token = bearer(&parts.headers)?;
        let id = Id::from_uuid(token.key);
        let (key, version) = app.api_keys.remembered(token.tenant, id)?;
        let caller = Self::with(&token, &key, parts, app).ok()?;
        Some((caller, (StreamId::of(token.tenant, id), version)))
    }

    /// Who sent a request, if the key opens and may do that.
    fn with(token: &Token, key: &ApiKey, parts: &Parts, app: &App) -> Result<Self, Problem> {
        let access = key.opens(token).ok_or_else(unauthenticated)?;
        let request = parts.extensions.get::<RequestId>().map_or_else(|| app.clock.id(), |id| id.0);
        let traceparent = parts.headers.get("traceparent").and_then(|value| value.to_str().ok());
        let caller = Self {
            tenant: token.tenant,
            key: token.key,
            access,
            request,
            traceparent: traceparent.filter(|text| is_traceparent(text)).map(str::to_owned),
        };
        let looks = parts.method == Method::GET || parts.method == Method::HEAD;
        caller.needs(if looks { Access::Read } else { Access::Write })?;
        Ok(caller)
    }

    /// Whose data a request says to be about, whoever sent it.
    pub(crate) fn claimed(headers: &HeaderMap) -> Option<Id<Tenant>> {
        bearer(headers).map(|token| token.tenant)
    }

    /// Refuses a caller who may do less than `wanted`.
    pub(crate) fn needs(&self, wanted: Access) -> Result<(), Problem> {
        if self.access >= wanted {
            return Ok(());
        }
        let detail = format!("this key may not do that: it takes `{}` access", name(wanted));
        Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail))
    }
}

fn name(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::Write => "write",
        Access::Admin => "admin",
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller
where
    App: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let app = App::from_ref(state);
        let token = bearer(&parts.headers).ok_or_else(unauthenticated)?;
        let key = app.api_keys.look(&*app.log, token.tenant, Id::from_uuid(token.key)).await?;
        Self::with(&token, &key, parts, &app)
    }
}

fn bearer(headers: &HeaderMap) -> Option<Token> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    Token::parse(token.trim()).ok()
}

/// One answer for every reason: no token, no such key, wrong secret, revoked.
fn unauthenticated() -> Problem {
    let detail = "send a valid API key as `Authorization: Bearer evs_...`";
    Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
}

/// Whether a text is a `traceparent` of version 00 (W3C Trace Context, 3.2) with non-zero ids.
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str, length| {
        part.len() == length
            && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    match parts.as_slice() {
        [version, trace, parent, flags] => {
            *version == "00"
                && hex(trace, 32)
                && hex(parent, 16)
                && hex(flags, 2)
                && trace.bytes().any(|b| b != b'0')
                && parent.bytes().any(|b| b != b'0')
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_trace_context_is_kept() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(is_traceparent(good));
        let bad = [
            "",
            "00",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        ];
        for text in bad {
            assert!(!is_traceparent(text), "{text}");
        }
    }
}
