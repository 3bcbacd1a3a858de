//! Webhooks in: authenticated by their signature alone, taken once, answered at once.

use axum::body::Bytes;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use domain::integration::{Integration, Webhook};
use domain::webhook::signature::{Verified, verify};
use domain::webhook::{self, Delivery, NewDelivery};
use domain::{Actor, Aggregate as _, Fault, Id, Tenant};
use eventstore::{EVENT_LIMIT, Metadata, execute, load};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use super::subjects;
use crate::command::{id, read_body, set};
use crate::gateway::RequestId;
use crate::{App, Problem, json};

/// A delivery that was taken.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Taken {
    /// The delivery.
    delivery_id: Uuid,
    /// `accepted`, or `duplicate` if it was taken before.
    status: &'static str,
}

/// The raw request: signatures are over the bytes as they came.
pub(super) struct Raw {
    headers: HeaderMap,
    body: Bytes,
    request: Uuid,
}

impl FromRequest<App> for Raw {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let request = parts.extensions.get::<RequestId>().map_or_else(|| app.clock.id(), |id| id.0);
        Ok(Self { headers: parts.headers, body: read_body(body, EVENT_LIMIT).await?, request })
    }
}

/// Take a webhook delivery.
///
/// The signature is checked over the raw bytes, with the scheme and the secret of the integration.
/// A delivery with an id that was seen before is answered with 200 and changes nothing.
#[utoipa::path(
    post, path = "/webhooks/{integration}", tag = "integrations", operation_id = "receive_webhook",
    security(()), params(("integration" = Uuid, Path)),
    request_body(content = Object, content_type = "application/json"),
    responses(
        (status = 200, description = "It was taken before", body = Taken),
        (status = 202, description = "Taken", body = Taken),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn receive(
    State(app): State<App>,
    Path(which): Path<String>,
    raw: Raw,
) -> Result<Response, Problem> {
    let missing = ("webhook_not_found", "webhook endpoint");
    let integration: Id<Integration> = id(&which, missing.0, missing.1)?;
    let tenant = app.log.tenant_of(Integration::NAME, integration.as_uuid()).await?;
    let tenant = tenant.ok_or_else(|| Problem::not_found(missing.0, missing.1))?;
    let (state, _) = load::<Integration>(&*app.log, tenant, integration).await?;
    let endpoint = state.spec().and_then(|spec| spec.webhook.as_ref());
    let endpoint = endpoint.ok_or_else(|| Problem::not_found(missing.0, missing.1))?;
    let verified = verified(&app, tenant, endpoint, &raw).await?;
    let body: Value = json::read(&raw.body).map_err(Problem::malformed)?;
    let meta = Metadata {
        tenant,
        actor: Actor::Webhook(integration.as_uuid()),
        correlation: raw.request,
        causation: raw.request,
        traceparent: None,
        at: app.clock.now(),
    };
    let fields = raw.headers.iter();
    let fields = fields.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let subject = endpoint.subject_of(&body);
    let subject = subjects::named(&app, tenant, subject.as_deref()).await?;
    let starts = endpoint.started_by(verified.event_type.as_deref()).cloned();
    let new = NewDelivery {
        integration,
        event_type: verified.event_type,
        headers: webhook::kept(fields),
        body,
        digest: hex::encode(Sha256::digest(&raw.body)),
        subject,
        starts,
        dedupe_key: verified.dedupe_key,
    };
    let delivery = Delivery::id(integration, &new.dedupe_key);
    let command = webhook::Command::Receive(Box::new(new));
    let done = execute(&*app.log, delivery, &command, &eventstore::Request::new(meta)).await?;
    let (code, status) = if done.changed {
        (StatusCode::ACCEPTED, "accepted")
    } else {
        (StatusCode::OK, "duplicate")
    };
    let taken = Taken { delivery_id: delivery.as_uuid(), status };
    let mut response = (code, axum::Json(taken)).into_response();
    set(response.headers_mut(), "x-position", &done.position.to_string());
    Ok(response)
}

async fn verified(
    app: &App,
    tenant: Id<Tenant>,
    endpoint: &Webhook,
    raw: &Raw,
) -> Result<Verified, Problem> {
    let secret = app.vault.get(tenant, &endpoint.secret).await;
    let secret = secret.map_err(|error| Problem::internal(&error))?;
    let header =
        |name: &str| raw.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let now = app.clock.now();
    verify(endpoint.scheme, secret.expose_secret(), &header, &raw.body, now).map_err(|error| {
        // The sender learns which field is wrong, never how far a signature was off.
        let fault = Fault::new("", "signature", error.to_string());
        let mut problem = Problem::new(
            StatusCode::UNAUTHORIZED,
            "webhook_signature_invalid",
            "the delivery's signature is missing or wrong",
        );
        problem.add(fault);
        problem
    })
}
