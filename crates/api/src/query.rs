//! What all queries have in common: for whom, from which position on, which page.

use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use projections::{Cursor, Paging, Reader, wait_for};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use crate::caller::Caller;
use crate::command::set;
use crate::{App, Problem};

/// How long a query waits for the read models to reach `Min-Position`.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a query that names no position waits for the read models to reach the log's end.
const MOMENT: Duration = Duration::from_millis(250);

/// The longest that a command waits for an end.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// How many items a page has unless the caller says otherwise.
const PAGE: u32 = 50;

/// A query as it came in: a look at the read models, for the caller's tenant.
pub(crate) struct Look {
    pub(crate) caller: Caller,
    pub(crate) reader: Reader,
}

impl FromRequestParts<App> for Look {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        if let Some(position) = parts.headers.get("min-position") {
            let position = position.to_str().ok().and_then(|text| text.trim().parse().ok());
            let position = position.ok_or_else(|| {
                Problem::parameter("Min-Position must be the X-Position of an earlier answer")
            })?;
            seen(app, position).await?;
        } else {
            // What this process wrote is shown to whoever asks next, if that takes but a moment.
            let head = *app.log.watch().borrow();
            wait_for(&app.views, &[], head, MOMENT).await?;
        }
        let reader = Reader::begin(&app.views, caller.tenant).await?;
        Ok(Self { caller, reader })
    }
}

/// Waits until the read models have seen a position.
pub(crate) async fn seen(app: &App, position: i64) -> Result<(), Problem> {
    if wait_for(&app.views, &[], position, PATIENCE).await? {
        return Ok(());
    }
    let detail = "the read models have not come that far yet";
    Err(Problem::unavailable("projection_behind", detail, 1))
}

/// Which page of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct List {
    /// At most so many items, 1 to 200; 50 unless said otherwise.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl List {
    /// The page that is asked for.
    pub(crate) fn paging(&self) -> Result<Paging, Problem> {
        let limit = self.limit.unwrap_or(PAGE);
        if !(1..=200).contains(&limit) {
            return Err(Problem::parameter("`limit` must be from 1 to 200"));
        }
        let cursor = self.cursor.as_deref().map(str::parse::<Cursor>).transpose();
        let cursor = cursor.map_err(|error| Problem::cursor(&error.to_string()))?;
        Ok(Paging::new(limit, cursor))
    }
}

/// Query parameters, or a problem that says what is wrong with them.
pub(crate) struct Parameters<T>(pub(crate) T);

impl<T, S> FromRequestParts<S> for Parameters<T>
where
    T: serde::de::DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(parameters)) => Ok(Self(parameters)),
            Err(error) => Err(Problem::parameter(&error.body_text())),
        }
    }
}

/// How long to wait for the end.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wait {
    /// Wait this long for the end, such as `10s` or `500ms`; at most 60s.
    pub(crate) wait: Option<String>,
}

/// Reads a time to wait.
pub(crate) fn parse_wait(text: &str) -> Result<Duration, Problem> {
    let parsed = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(millis), _) => millis.parse().ok().map(Duration::from_millis),
        (None, Some(seconds)) => seconds.parse().ok().map(Duration::from_secs),
        (None, None) => text.parse().ok().map(Duration::from_secs),
    };
    parsed.filter(|wait| *wait <= LONGEST_WAIT).ok_or_else(|| {
        Problem::parameter("`wait` must be a time such as 10s or 500ms, at most 60s")
    })
}

/// One thing, with its version as the `ETag`.
pub(crate) struct Seen<T> {
    pub(crate) version: i64,
    pub(crate) body: T,
}

impl<T: Serialize> IntoResponse for Seen<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.body).into_response();
        set(response.headers_mut(), "etag", &format!("\"{}\"", self.version));
        response
    }
}
