//! What happened to an execution, event by event: the log itself, as `CloudEvents` 1.0.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use domain::execution::Execution;
use domain::workflow::Workflow;
use domain::{Id, Tenant};
use eventstore::{CloudEvent, EventStore, Recorded, StreamId, Version, load};
use futures::{Stream, StreamExt, TryStreamExt, stream};

use crate::caller::Caller;
use crate::command::id;
use crate::{App, Problem};

const MISSING: (&str, &str) = ("execution_not_found", "execution");

/// Events with which an execution is over.
const ENDS: [&str; 3] = ["execution.completed", "execution.faulted", "execution.cancelled"];

/// How many events are read at once.
const PAGE: usize = 500;

/// How often an idle stream says that it is still there.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Export the events of an execution.
///
/// One `CloudEvent` 1.0 a line, in order.
#[utoipa::path(
    get, path = "/workflows/{workflow}/executions/{execution}/events", tag = "workflows",
    operation_id = "export_execution_events",
    params(("workflow" = Uuid, Path), ("execution" = Uuid, Path)),
    responses(
        (status = 200, description = "NDJSON", content_type = "application/x-ndjson"),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn export(
    State(app): State<App>,
    caller: Caller,
    Path(path): Path<(String, String)>,
) -> Result<Response, Problem> {
    let execution = find(&app, caller.tenant, &path).await?;
    let stream = StreamId::of(caller.tenant, execution);
    let lines = pages(app.log.clone(), stream).map_ok(|event| line(&event) + "\n");
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(lines)).into_response())
}

/// Follow the events of an execution.
///
/// Server-sent events: `id` is the position in the log, `event` the name, `data` the `CloudEvent`.
/// `Last-Event-ID` resumes after a position. The stream ends with the execution.
#[utoipa::path(
    get, path = "/workflows/{workflow}/executions/{execution}/stream", tag = "workflows",
    operation_id = "stream_execution_events",
    params(
        ("workflow" = Uuid, Path), ("execution" = Uuid, Path),
        ("Last-Event-ID" = Option<i64>, Header, description = "Resume after this position"),
    ),
    responses(
        (status = 200, description = "Server-sent events", content_type = "text/event-stream"),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn follow(
    State(app): State<App>,
    caller: Caller,
    Path(path): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let execution = find(&app, caller.tenant, &path).await?;
    let after = match headers.get("last-event-id") {
        Some(value) => {
            value.to_str().ok().and_then(|text| text.trim().parse().ok()).ok_or_else(|| {
                Problem::parameter("Last-Event-ID must be the id of an event of this stream")
            })?
        }
        None => 0,
    };
    let from = Follow {
        app,
        stream: StreamId::of(caller.tenant, execution),
        after,
        version: 0,
        over: false,
    };
    let events = events(from).map(|event| {
        let shown = Event::default().id(event.position.to_string()).event(event.name.clone());
        Ok::<_, Infallible>(shown.data(line(&event)))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response())
}

/// The events of a stream so far, read a page at a time. A failure breaks the answer off.
fn pages(
    log: Arc<dyn EventStore>,
    stream: StreamId,
) -> impl Stream<Item = Result<Recorded, eventstore::Error>> {
    let next = move |after: Option<Version>| {
        let log = log.clone();
        async move {
            let Some(after) = after else { return Ok(None) };
            let page = log.load(stream, after, PAGE).await?;
            let next = page.get(PAGE - 1).map(|last| last.version);
            Ok::<_, eventstore::Error>(Some((stream::iter(page.into_iter().map(Ok)), next)))
        }
    };
    stream::try_unfold(Some(0), next).try_flatten()
}

/// Where a follower stands.
struct Follow {
    app: App,
    stream: StreamId,
    /// Events up to this position are not told.
    after: i64,
    /// The stream has been read up to here.
    version: i64,
    over: bool,
}

/// Events as they come, until the execution is over.
fn events(from: Follow) -> impl Stream<Item = Recorded> {
    let batches = stream::unfold(from, |mut from| async move {
        let mut head = from.app.log.watch();
        while !from.over {
            head.mark_unchanged();
            let batch = match from.app.log.load(from.stream, from.version, PAGE).await {
                Ok(events) => events,
                Err(error) => {
                    tracing::warn!(%error, "a stream of events breaks off");
                    return None;
                }
            };
            let batch_len = batch.len();
            from.over = batch.iter().any(|event| ENDS.contains(&event.name.as_str()));
            from.version = batch.last().map_or(from.version, |event| event.version);
            let news: Vec<Recorded> =
                batch.into_iter().filter(|event| event.position > from.after).collect();
            if let Some(last) = news.last() {
                from.after = last.position;
                return Some((stream::iter(news), from));
            }
            let is_end = batch_len < PAGE;
            if from.over || is_end && head.changed().await.is_err() {
                return None;
            }
        }
        None
    });
    batches.flatten()
}

async fn find(
    app: &App,
    tenant: Id<Tenant>,
    (workflow, execution): &(String, String),
) -> Result<Id<Execution>, Problem> {
    let workflow = id::<Workflow>(workflow, MISSING.0, MISSING.1)?;
    let execution = id::<Execution>(execution, MISSING.0, MISSING.1)?;
    let (state, _) = load::<Execution>(&*app.log, tenant, execution).await?;
    match state.pinned() {
        Some((pinned, _)) if pinned == workflow => Ok(execution),
        Some(_) | None => Err(Problem::not_found(MISSING.0, MISSING.1)),
    }
}

fn line(event: &Recorded) -> String {
    serde_json::to_string(&CloudEvent::from(event)).unwrap_or_default()
}
