//! Commands on integrations. Secrets come in here and go to the vault; only references go on.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use domain::api_key::Access;
use domain::integration::{
    Auth, Command as Change, Integration, Operation, Scheme, SecretRef, Spec, Webhook, WorkflowRef,
};
use domain::webhook::signature::check_secret;
use domain::{Fault, Id, Tenant};
use eventstore::load;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::command::{Answer, Command, Json, NamedJson, Nothing, id};
use crate::{App, Problem};

const MISSING: (&str, &str) = ("integration_not_found", "integration");

/// All settings of an integration.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = IntegrationSettings)]
pub(super) struct Settings {
    /// What it is for.
    description: Option<String>,
    /// Where its operations go.
    base_url: String,
    /// How requests authenticate.
    #[serde(default)]
    auth: AuthSettings,
    /// Named requests that workflows may make.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Object>)]
    operations: BTreeMap<String, Operation>,
    /// The request that `test` makes.
    #[schema(value_type = Option<Object>)]
    test: Option<Operation>,
    /// How its webhooks come in.
    webhook: Option<WebhookSettings>,
}

/// How requests authenticate. A secret that is left out stays as it was.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum AuthSettings {
    /// They do not.
    #[default]
    None,
    /// By a bearer token.
    Bearer {
        /// The token.
        #[schema(value_type = Option<String>)]
        token: Option<Secret>,
    },
    /// By name and password.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        #[schema(value_type = Option<String>)]
        password: Option<Secret>,
    },
    /// By a header field.
    Header {
        /// Its name.
        name: String,
        /// Its value.
        #[schema(value_type = Option<String>)]
        value: Option<Secret>,
    },
}

/// How webhooks come in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WebhookSettings {
    /// `github_sha256` or `standard_webhooks`.
    #[schema(value_type = String)]
    scheme: Scheme,
    /// The signing secret; left out, it stays as it was.
    #[schema(value_type = Option<String>)]
    secret: Option<Secret>,
    /// The workflow that each delivery starts.
    #[schema(value_type = Option<Object>)]
    starts: Option<WorkflowRef>,
    /// Event types that start it; all if empty.
    #[serde(default)]
    events: Vec<String>,
    /// Where a body names the person whose data it is: a JSON Pointer.
    subject: Option<String>,
}

/// A secret in a request: shown nowhere.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Secret(SecretString);

/// An integration, after a change to it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Changed {
    /// Its id.
    id: Uuid,
    /// Its name.
    name: String,
    /// Its newest revision, counted from 1.
    revision: u32,
    /// Where its webhooks go.
    webhook_url: String,
}

/// What a try of the connection gave.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tried {
    /// Whether it answered as it should.
    ok: bool,
    /// The HTTP status, if there was an answer.
    status: Option<u16>,
    /// What happened, in words.
    detail: String,
    /// How long it took, in milliseconds.
    duration_ms: u64,
}

/// Create an integration.
#[utoipa::path(
    post, path = "/integrations", tag = "integrations", operation_id = "create_integration",
    request_body = Settings,
    responses(
        (status = 201, description = "Created", body = Changed),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn create(
    State(app): State<App>,
    command: Command<NamedJson<Settings>>,
) -> Result<Response, Problem> {
    let NamedJson { name, settings } = &command.body;
    let tenant = command.caller.tenant;
    let integration = Integration::id(tenant, name);
    let spec = Box::new(spec(&app, tenant, settings, None).await?);
    let change = Change::Create { name: name.clone(), spec };
    let location = Some(format!("/api/v1/integrations/{integration}"));
    let view = |state: &Integration| changed(integration, state);
    let answer = Answer::created(location, &view);
    Ok(command.execute(&app, integration, &change, answer).await?.into_response())
}

/// Change an integration.
///
/// The body is the whole. A secret that is left out stays as it was, unless it would go to another
/// host or into another header field: then it must be given again.
#[utoipa::path(
    put, path = "/integrations/{integration}", tag = "integrations",
    operation_id = "update_integration",
    params(
        ("integration" = Uuid, Path),
        ("If-Match" = String, Header, description = "The ETag of the last answer"),
    ),
    request_body = Settings,
    responses(
        (status = 200, description = "Changed", body = Changed),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn update(
    State(app): State<App>,
    Path(which): Path<String>,
    command: Command<Json<Settings>>,
) -> Result<Response, Problem> {
    let integration: Id<Integration> = id(&which, MISSING.0, MISSING.1)?;
    command.precondition()?;
    let Json(settings) = &command.body;
    let tenant = command.caller.tenant;
    let (state, _) = load::<Integration>(&*app.log, tenant, integration).await?;
    let known = state.spec().ok_or_else(|| Problem::not_found(MISSING.0, MISSING.1))?;
    let spec = Box::new(spec(&app, tenant, settings, Some(known)).await?);
    let view = |state: &Integration| changed(integration, state);
    let answer = Answer::changed(&view);
    let change = Change::Revise { spec };
    Ok(command.execute(&app, integration, &change, answer).await?.into_response())
}

/// Delete an integration.
#[utoipa::path(
    delete, path = "/integrations/{integration}", tag = "integrations",
    operation_id = "delete_integration",
    params(
        ("integration" = Uuid, Path),
        ("If-Match" = String, Header, description = "The ETag of the last answer"),
    ),
    responses(
        (status = 204, description = "Deleted"),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn delete(
    State(app): State<App>,
    Path(which): Path<String>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    command.delete::<Integration>(&app, &which, MISSING, &Change::Delete).await
}

/// Try the connection of an integration.
///
/// Makes its `test` request, with its credentials, and notes how it went.
#[utoipa::path(
    post, path = "/integrations/{integration}/test", tag = "integrations",
    operation_id = "test_integration", params(("integration" = Uuid, Path)),
    responses(
        (status = 200, description = "How it went", body = Tried),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn test(
    State(app): State<App>,
    Path(which): Path<String>,
    command: Command<Nothing>,
) -> Result<Response, Problem> {
    command.caller.needs(Access::Write)?;
    let integration: Id<Integration> = id(&which, MISSING.0, MISSING.1)?;
    let tenant = command.caller.tenant;
    let (state, _) = load::<Integration>(&*app.log, tenant, integration).await?;
    let spec = state.spec().ok_or_else(|| Problem::not_found(MISSING.0, MISSING.1))?;
    let began = app.clock.now();
    let (ok, status, detail) = attempt(&app, tenant, spec).await?;
    let took = (app.clock.now() - began).num_milliseconds();
    let duration_ms = u64::try_from(took).unwrap_or_default();
    let change = Change::RecordTest { ok, status, detail: detail.clone(), duration_ms };
    let view = |_: &Integration| Tried { ok, status, detail: detail.clone(), duration_ms };
    let answer = Answer::changed(&view);
    Ok(command.execute(&app, integration, &change, answer).await?.into_response())
}

async fn attempt(
    app: &App,
    tenant: Id<Tenant>,
    spec: &Spec,
) -> Result<(bool, Option<u16>, String), Problem> {
    let outbound =
        spec.test_request().map_err(|faults| Problem::invalid("integration_invalid", faults))?;
    let request = connectors::integrations::request(&app.vault, tenant, spec, outbound, None).await;
    let request = request.map_err(|error| Problem::internal(&error))?;
    Ok(match app.egress.send(request).await {
        Ok(answer) => {
            let detail = format!("it answered {}", answer.status);
            (answer.is_success(), Some(answer.status), detail)
        }
        Err(error) => (false, None, error.to_string()),
    })
}

fn changed(id: Id<Integration>, state: &Integration) -> Changed {
    Changed {
        id: id.as_uuid(),
        name: state.name().to_owned(),
        revision: state.current().map_or(0, |(revision, _)| revision),
        webhook_url: format!("/api/v1/webhooks/{id}"),
    }
}

/// Settings with their secrets put into the vault; `known` are the settings so far.
async fn spec(
    app: &App,
    tenant: Id<Tenant>,
    settings: &Settings,
    known: Option<&Spec>,
) -> Result<Spec, Problem> {
    let webhook = match &settings.webhook {
        Some(webhook) => {
            let kept = known.and_then(|spec| spec.webhook.as_ref()).map(|kept| &kept.secret);
            Some(endpoint(app, tenant, webhook, kept).await?)
        }
        None => None,
    };
    Ok(Spec {
        description: settings.description.clone(),
        base_url: settings.base_url.clone(),
        auth: auth(app, tenant, &settings.auth, known.and_then(|spec| kept(spec, settings)))
            .await?,
        operations: settings.operations.clone(),
        test: settings.test.clone(),
        webhook,
    })
}

/// The credential there is, if the settings use it as before. It does not go along to another
/// host or into another field: whoever may change settings could have it sent to himself.
fn kept<'a>(spec: &'a Spec, settings: &Settings) -> Option<&'a Auth> {
    let origin = |url: &str| url::Url::parse(url).map(|url| url.origin()).ok();
    let same_place = origin(&spec.base_url) == origin(&settings.base_url);
    let same_use = match (&spec.auth, &settings.auth) {
        (Auth::Bearer { .. }, AuthSettings::Bearer { .. }) => true,
        (Auth::Basic { username: known, .. }, AuthSettings::Basic { username, .. }) => {
            known == username
        }
        (Auth::Header { name: known, .. }, AuthSettings::Header { name, .. }) => known == name,
        (
            Auth::None | Auth::Bearer { .. } | Auth::Basic { .. } | Auth::Header { .. },
            AuthSettings::None
            | AuthSettings::Bearer { .. }
            | AuthSettings::Basic { .. }
            | AuthSettings::Header { .. },
        ) => false,
    };
    (same_place && same_use).then_some(&spec.auth)
}

async fn endpoint(
    app: &App,
    tenant: Id<Tenant>,
    settings: &WebhookSettings,
    kept: Option<&SecretRef>,
) -> Result<Webhook, Problem> {
    if let Some(Secret(secret)) = &settings.secret {
        let secret = secrecy::ExposeSecret::expose_secret(secret);
        check_secret(settings.scheme, secret).map_err(|error| {
            let fault = Fault::new("/webhook/secret", "malformed_secret", error.to_string());
            Problem::invalid("integration_invalid", vec![fault])
        })?;
    }
    Ok(Webhook {
        scheme: settings.scheme,
        secret: keep(app, tenant, "/webhook/secret", settings.secret.as_ref(), kept).await?,
        starts: settings.starts.clone(),
        events: settings.events.clone(),
        subject: settings.subject.clone(),
    })
}

async fn auth(
    app: &App,
    tenant: Id<Tenant>,
    settings: &AuthSettings,
    known: Option<&Auth>,
) -> Result<Auth, Problem> {
    let kept = known.and_then(|auth| match auth {
        Auth::None => None,
        Auth::Bearer { secret } | Auth::Basic { secret, .. } | Auth::Header { secret, .. } => {
            Some(secret)
        }
    });
    Ok(match settings {
        AuthSettings::None => Auth::None,
        AuthSettings::Bearer { token } => {
            Auth::Bearer { secret: keep(app, tenant, "/auth/token", token.as_ref(), kept).await? }
        }
        AuthSettings::Basic { username, password } => Auth::Basic {
            username: username.clone(),
            secret: keep(app, tenant, "/auth/password", password.as_ref(), kept).await?,
        },
        AuthSettings::Header { name, value } => Auth::Header {
            name: name.clone(),
            secret: keep(app, tenant, "/auth/value", value.as_ref(), kept).await?,
        },
    })
}

/// Puts a secret into the vault under a new id, or keeps the reference there is.
async fn keep(
    app: &App,
    tenant: Id<Tenant>,
    pointer: &str,
    given: Option<&Secret>,
    kept: Option<&SecretRef>,
) -> Result<SecretRef, Problem> {
    match (given, kept) {
        (Some(Secret(secret)), _) => {
            let put = app.vault.put(tenant, app.clock.id(), secret).await;
            put.map_err(|error| Problem::internal(&error))
        }
        (None, Some(kept)) => Ok(kept.clone()),
        (None, None) => {
            let fault = Fault::new(
                pointer,
                "missing_field",
                "the secret is missing; it is kept only for the same host and use",
            );
            Err(Problem::invalid("integration_invalid", vec![fault]))
        }
    }
}
