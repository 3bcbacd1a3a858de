//! What every request passes through before a handler sees it, and every answer on its way out.

use std::any::Any;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Level;
use uuid::Uuid;

use crate::{App, Problem};

/// The largest body that is read, in bytes.
pub(crate) const BODY_LIMIT: usize = 1024 * 1024;

/// The longest request target that is taken, in bytes.
const URI_LIMIT: usize = 8 * 1024;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request: in every event it causes, in its answer, in the server's own log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestId(pub(crate) Uuid);

/// Puts the layers around the routes.
pub(crate) fn wrap(routes: Router, app: App) -> Router {
    routes
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_that_way)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(app, passing))
}

async fn nothing_here(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", format!("there is nothing at {}", uri.path()))
}

async fn not_that_way(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} does not take {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

#[expect(clippy::needless_pass_by_value, reason = "the layer hands it over")]
fn panicked(cause: Box<dyn Any + Send + 'static>) -> Response {
    let text = cause.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| cause.downcast_ref::<String>().cloned()).unwrap_or_default();
    Problem::internal(&std::io::Error::other(format!("a handler panicked: {text}"))).into_response()
}

/// A body that is certainly read to its end, in bytes, whatever becomes of the request.
const SMALL: u64 = 16 * 1024;

/// Whether an answer may leave some of the body unread. The connection is closed then; a client that is not
/// told may already have sent its next request.
fn may_be_left_unread(request: &Request) -> bool {
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let length = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    length.is_some_and(|length| length > SMALL)
        || request.headers().contains_key(header::TRANSFER_ENCODING)
}

/// How long a database may be away before anybody is told: sessions that were ended are made again.
const BLINK: Duration = Duration::from_millis(500);

/// Refuses at once what would wait in vain for a database that is away.
pub(crate) async fn reachable(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut pulse = app.pulse.clone();
    let is_there = timeout(BLINK, pulse.wait_for(|is_there| *is_there)).await;
    let is_there = is_there.is_ok_and(|seen| seen.is_ok());
    if is_there {
        next.run(request).await
    } else {
        Problem::unavailable("unavailable", "the database is away", 1).into_response()
    }
}

/// Why a request is refused before anything reads it: it is too long, or packed.
fn unfit(request: &Request) -> Option<Problem> {
    let uri = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if uri > URI_LIMIT {
        let detail = format!("the request target is longer than {URI_LIMIT} bytes");
        return Some(Problem::new(StatusCode::URI_TOO_LONG, "uri_too_long", detail));
    }
    if request.headers().contains_key(header::CONTENT_ENCODING) {
        let detail = "send the body as it is, without Content-Encoding";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Some(Problem::new(status, "unsupported_media_type", detail));
    }
    None
}

/// Gives the request its id, the client's own if it is a UUID, else a new one; and the answer the header
/// fields that all have. One layer, because each costs every request.
async fn passing(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let own = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    let traced = own.and_then(|text| text.parse().ok());
    let id = app.clock.id();
    // Event ids are derived from the request's, so it must be new even when the client's is not.
    request.extensions_mut().insert(RequestId(id));
    let shown: Uuid = traced.unwrap_or(id);
    let asked = tracing::enabled!(Level::DEBUG)
        .then(|| (request.method().clone(), request.uri().path().to_owned()));
    let may_be_left = may_be_left_unread(&request);
    let mut response = match unfit(&request) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    };
    // Whoever is on the way out takes no more requests on any connection.
    if (may_be_left && response.status().is_client_error()) || *app.leaving.borrow() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Ok(value) = HeaderValue::from_str(&shown.to_string()) {
        response.headers_mut().insert(&REQUEST_ID, value);
    }
    secure(&mut response);
    if let Some((method, path)) = asked {
        let status = response.status().as_u16();
        tracing::debug!(%method, path, status, request = %shown, "answered");
    }
    response
}

/// Header fields that keep browsers from doing anything clever with answers.
fn secure(response: &mut Response) {
    let headers = response.headers_mut();
    let fields = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    for (name, value) in fields {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}
