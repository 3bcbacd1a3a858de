//! Every unhappy answer, as `application/problem+json` (RFC 9457).

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::{Fault, Kind, Refusal};
use eventstore::{ExecuteError, PlanError, Version};
use serde::Serialize;
use utoipa::ToSchema;

/// What went wrong, for people (`title`, `detail`) and for programs (`code`).
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// A page about this sort of problem, served by this very API.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    kind: Box<str>,
    /// The sort, in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What happened this time.
    #[schema(value_type = String)]
    detail: Box<str>,
    /// Stable, machine-readable.
    code: &'static str,
    /// What exactly is wrong with the request, and where.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<FaultSchema>)]
    errors: Vec<Fault>,
    /// The version the thing has, when the one that was sent is stale.
    #[serde(skip_serializing_if = "Option::is_none")]
    current_version: Option<Version>,
    #[serde(skip)]
    retry_after: Option<u32>,
}

/// One thing that is wrong with a request, and where.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Fault)]
pub(crate) struct FaultSchema {
    /// Where, as a JSON Pointer (RFC 6901); empty for the whole.
    pub pointer: String,
    /// The line in the text that was sent, from 1.
    pub line: Option<u32>,
    /// A stable name for this sort of fault.
    pub code: String,
    /// What is wrong.
    pub detail: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem with a status, a stable code (one page each in `docs/problems`) and a detail.
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/problems/{code}").into(),
            title: status.canonical_reason().unwrap_or("Problem"),
            status: status.as_u16(),
            detail: detail.into().into(),
            code,
            errors: vec![],
            current_version: None,
            retry_after: None,
        }
    }

    /// Nothing is there, or it is somebody else's: the two answers are the same.
    pub(crate) fn not_found(code: &'static str, what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, format!("there is no such {what}"))
    }

    /// A request that makes no sense, with all that is wrong with it.
    pub(crate) fn invalid(code: &'static str, errors: Vec<Fault>) -> Self {
        let detail = match errors.as_slice() {
            [one] => one.detail.clone(),
            many => format!("{} things are wrong", many.len()),
        };
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail) }
    }

    /// A query parameter or header field that cannot be read.
    pub(crate) fn parameter(detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "parameter_invalid", detail)
    }

    /// A cursor that did not come from here.
    pub(crate) fn cursor(detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "cursor_invalid", detail)
    }

    /// A body that cannot be read at all.
    pub(crate) fn malformed(fault: Fault) -> Self {
        let detail = fault.detail.clone();
        let errors = vec![fault];
        Self { errors, ..Self::new(StatusCode::BAD_REQUEST, "malformed_request", detail) }
    }

    /// Come back in so many seconds.
    pub(crate) fn unavailable(code: &'static str, detail: &str, seconds: u32) -> Self {
        let retry_after = Some(seconds);
        Self { retry_after, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail) }
    }

    /// This tenant asks for more than can be taken in at the moment.
    pub(crate) fn overloaded(retry_after: Duration) -> Self {
        let detail = "more is started than can be stored at the moment, most of it by you";
        let seconds = u32::try_from(retry_after.as_secs()).unwrap_or(u32::MAX);
        let new = Self::new(StatusCode::TOO_MANY_REQUESTS, "overloaded", detail);
        Self { retry_after: Some(seconds), ..new }
    }

    /// Ours to mend: the cause goes to the log, never to the client.
    pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "something broke on our side")
    }

    /// Says one more thing that is wrong.
    pub(crate) fn add(&mut self, fault: Fault) {
        self.errors.push(fault);
    }
}

impl<R: Refusal> From<ExecuteError<R>> for Problem {
    fn from(error: ExecuteError<R>) -> Self {
        match error {
            ExecuteError::Refused(no) => refused(&no),
            ExecuteError::Stale { actual } => stale(actual),
            ExecuteError::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "this Idempotency-Key was used for another request",
            ),
            ExecuteError::Replayed(_) => {
                Self::new(StatusCode::CONFLICT, "busy", "the request was answered meanwhile")
            }
            ExecuteError::Outdated => {
                let detail = "what the request was decided on changed meanwhile; send it again";
                Self::new(StatusCode::CONFLICT, "busy", detail)
            }
            ExecuteError::Store(error) => error.into(),
        }
    }
}

fn refused(no: &impl Refusal) -> Problem {
    let status = match no.kind() {
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Forbidden => StatusCode::FORBIDDEN,
    };
    Problem { errors: no.faults().to_vec(), ..Problem::new(status, no.code(), no.to_string()) }
}

fn stale(actual: Version) -> Problem {
    let detail = format!("it has version {actual} now: look at it again and decide again");
    Problem {
        current_version: Some(actual),
        ..Problem::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", detail)
    }
}

impl From<eventstore::Error> for Problem {
    fn from(error: eventstore::Error) -> Self {
        match error {
            eventstore::Error::Conflict { .. } | eventstore::Error::KeyUsed => {
                Self::new(StatusCode::CONFLICT, "busy", "too many changes at once: try again")
            }
            eventstore::Error::TooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", error.to_string())
            }
            eventstore::Error::Newer { .. } => Self::unavailable(
                "newer_release",
                "a newer release wrote this: this one must not touch it",
                60,
            ),
            eventstore::Error::Busy { retry_after } => {
                let seconds = u32::try_from(retry_after.as_secs()).unwrap_or(u32::MAX);
                Self::unavailable("unavailable", &error.to_string(), seconds)
            }
            eventstore::Error::Database(error) => Self::from_database(&error),
            eventstore::Error::Unreadable { ref source, .. } => {
                tracing::error!(%source, "{error}");
                Self::unavailable("unavailable", "old events cannot be read at the moment", 60)
            }
            // No request appends on behalf of a slice.
            eventstore::Error::Decode { .. }
            | eventstore::Error::Damaged(_)
            | eventstore::Error::Fenced(_) => Self::internal(&error),
        }
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        Self::from_database(&error)
    }
}

impl Problem {
    fn from_database(error: &sqlx::Error) -> Self {
        if let sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) = error {
            tracing::warn!(%error, "the database is away");
            return Self::unavailable("unavailable", "the database is away", 1);
        }
        Self::internal(error)
    }
}

impl From<projections::Error> for Problem {
    fn from(error: projections::Error) -> Self {
        match error {
            projections::Error::Database(error) => error.into(),
            projections::Error::Log(error) => error.into(),
            projections::Error::UnknownView(_)
            | projections::Error::Busy
            | projections::Error::Locked
            | projections::Error::NothingKept
            | projections::Error::Stuck { .. } => Self::internal(&error),
        }
    }
}

impl From<PlanError> for Problem {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::NotFound => Self::not_found("workflow_not_found", "workflow"),
            PlanError::NoSuchVersion => {
                Self::not_found("workflow_version_not_found", "version of this workflow")
            }
            PlanError::Broken(faults) => {
                tracing::error!(?faults, "a published workflow does not compile");
                Self::invalid("workflow_invalid", faults)
            }
            PlanError::Store(error) => error.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {

    use http_body_util::BodyExt;

    use super::*;

    /// Never refuses; only the store does.
    #[derive(Debug, thiserror::Error)]
    enum Never {}

    impl Refusal for Never {
        fn kind(&self) -> Kind {
            match *self {}
        }

        fn code(&self) -> &'static str {
            match *self {}
        }
    }

    #[tokio::test]
    async fn whoever_meets_a_log_with_too_much_to_store_is_told_when_to_come_back() {
        let busy = eventstore::Error::Busy { retry_after: Duration::from_secs(1) };
        let problem = Problem::from(ExecuteError::<Never>::Store(busy));
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body["code"], "unavailable");
        assert_eq!(body["detail"], "the log has more to store than it can take in");
    }
}
