//! The log as an audit trail. These questions are about the log itself, so it answers them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use domain::api_key::Access;
use domain::{Id, Tenant};
use eventstore::audit::{Line, Sealed, origin, verifiers};
use eventstore::{Filter, Position, Recorded, Stretch};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::caller::Caller;
use crate::query::Parameters;
use crate::{App, Problem};

/// The most events of a page.
const MOST: usize = 1_000;

/// Which page of the audit trail.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// At most so many events, 1 to 1,000; 100 unless said otherwise.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Events in order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditPage)]
pub(super) struct Events {
    /// Lines of an audit export: `CloudEvents` 1.0 with `datahash`, `datasalt` and, when the event
    /// is sealed, `leafindex`. Their bytes are those that were hashed.
    #[schema(value_type = Vec<Object>)]
    items: Vec<Box<RawValue>>,
    /// For the next page; a page may have fewer events than it could. None at the end of the log.
    next_cursor: Option<String>,
}

/// The newest signed checkpoint.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditCheckpoint)]
pub(super) struct Checkpoint {
    /// The name of the tenant's tree.
    origin: String,
    /// How many events it has.
    size: u64,
    /// Position of the last of them.
    position: Position,
    /// The root of the tree, in base 64.
    root: String,
    /// The signed note (C2SP tlog-checkpoint).
    note: String,
    /// The keys that may sign it, as C2SP signed-note writes them.
    keys: Vec<String>,
}

/// Read the audit trail.
///
/// All events of the tenant, in order. It takes `admin` access.
#[utoipa::path(
    get, path = "/audit/events", tag = "audit", operation_id = "list_audit_events", params(Which),
    responses(
        (status = 200, description = "A page", body = Events),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn events(
    State(app): State<App>,
    caller: Caller,
    Parameters(which): Parameters<Which>,
) -> Result<Json<Events>, Problem> {
    caller.needs(Access::Admin)?;
    let limit = which.limit.unwrap_or(100);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::parameter("limit must be 1 to 1000"));
    }
    let after = which.cursor.as_deref().unwrap_or("0").parse().ok().filter(|after| *after >= 0);
    let after = after.ok_or_else(|| Problem::parameter("cursor is not of an earlier page"))?;
    let tenant = caller.tenant.as_uuid();
    let (found, next) = look(&app, caller.tenant, after, limit).await?;
    let items = lines(&app, tenant, &found).await?;
    Ok(Json(Events { items, next_cursor: next.map(|next| next.to_string()) }))
}

/// The next events of a tenant, and from where to go on.
async fn look(
    app: &App,
    tenant: Id<Tenant>,
    after: Position,
    limit: usize,
) -> Result<(Vec<Recorded>, Option<Position>), Problem> {
    let mine = Filter { tenant: Some(tenant), categories: None };
    let Stretch { events, upto } = app.log.select(&mine, after, limit).await?;
    let is_end = events.len() < limit && upto >= app.log.head().await?;
    Ok((events, (!is_end).then_some(upto)))
}

async fn lines(
    app: &App,
    tenant: Uuid,
    events: &[Recorded],
) -> Result<Vec<Box<RawValue>>, Problem> {
    let Some(first) = events.first() else { return Ok(vec![]) };
    let size = app.trees.latest(tenant).await?.map_or(0, |sealed| sealed.head.size);
    let leaf = app.trees.leaves_upto(tenant, first.position - 1).await?;
    let line = |(leaf, event): (u64, &Recorded)| {
        let line = Line::write(event, (leaf < size).then_some(leaf));
        RawValue::from_string(line).map_err(|error| Problem::internal(&error))
    };
    (leaf..).zip(events).map(line).collect()
}

/// Get the newest checkpoint.
///
/// Who keeps it can prove later that nothing before it was changed. It takes `admin` access.
#[utoipa::path(
    get, path = "/audit/checkpoints/latest", tag = "audit",
    operation_id = "get_latest_audit_checkpoint",
    responses(
        (status = 200, description = "The checkpoint", body = Checkpoint),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn latest(
    State(app): State<App>,
    caller: Caller,
) -> Result<Json<Checkpoint>, Problem> {
    caller.needs(Access::Admin)?;
    let tenant = caller.tenant.as_uuid();
    let Some(Sealed { head, position, note, .. }) = app.trees.latest(tenant).await? else {
        let detail = "nothing is sealed yet: the notary has not come by";
        return Err(Problem::new(StatusCode::NOT_FOUND, "checkpoint_not_found", detail));
    };
    let origin = origin(&app.trees.deployment().await?, tenant);
    let keys = verifiers(&origin, &app.trees.keys().await?.publics);
    let keys = keys.map_err(|error| Problem::internal(&error))?;
    let keys = keys.iter().map(ToString::to_string).collect();
    let (size, root) = (head.size, head.root.to_string());
    Ok(Json(Checkpoint { origin, size, position, root, note, keys }))
}

/// What proves that an event is in the log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditProof)]
pub(super) struct Proved {
    /// The event.
    event_id: Uuid,
    /// Its place in the log.
    position: Position,
    /// Its place in the tenant's tree.
    leaf_index: u64,
    /// The proof, with the newest checkpoint (C2SP tlog-proof).
    proof: String,
}

/// Prove an event.
///
/// Whoever has the event's line of an export and a key of the log can check with it that the log has
/// the event, without seeing any other. It takes `admin` access.
#[utoipa::path(
    get, path = "/audit/proof/{event}", tag = "audit", operation_id = "get_audit_proof",
    params(("event" = Uuid, Path, description = "The event's id.")),
    responses(
        (status = 200, description = "The proof", body = Proved),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn proof(
    State(app): State<App>,
    caller: Caller,
    Path(event): Path<String>,
) -> Result<Json<Proved>, Problem> {
    caller.needs(Access::Admin)?;
    let missing = || {
        let detail = "there is no such event, or it is not sealed yet";
        Problem::new(StatusCode::NOT_FOUND, "event_not_found", detail)
    };
    let event_id: Uuid = event.parse().map_err(|_| missing())?;
    let tenant = caller.tenant.as_uuid();
    let position = app.trees.position_of(tenant, event_id).await?.ok_or_else(missing)?;
    let file = app.trees.prove(tenant, position).await?.ok_or_else(missing)?;
    let (leaf_index, proof) = (file.index, file.to_string());
    Ok(Json(Proved { event_id, position, leaf_index, proof }))
}
