//! The HTTP face: commands in, views out.
//!
//! `commands/` changes things and reads no read model to decide; `queries/` reads and never
//! touches the log, but for the endpoints whose subject is the log itself. They use different
//! database roles.

mod caller;
mod command;
mod commands;
mod docs;
mod gateway;
mod json;
mod problem;
mod problems;
mod queries;
mod query;
mod serve;

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use connectors::egress::Egress;
use connectors::models::Models;
use connectors::vault::Vault;
use domain::api_key::ApiKey;
use eventstore::audit::Trees;
use eventstore::personal::Keyring;
use eventstore::{Clock, EventStore, Known, Moves, Plans};
use sqlx::PgPool;
use tokio::sync::watch;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use docs::Security;
pub use problem::Problem;
pub use serve::serve;

/// What the handlers share; each layer of each request has one, so it is no more than a pointer.
#[derive(Clone)]
pub struct App(Arc<Services>);

impl From<Services> for App {
    fn from(services: Services) -> Self {
        Self(Arc::new(services))
    }
}

impl Deref for App {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.0
    }
}

/// What requests are answered with.
pub struct Services {
    /// The log, through the command role.
    pub log: Arc<dyn EventStore>,
    /// What proves the log, through the same role.
    pub trees: Trees,
    /// Wakes who waits for a stream.
    pub moves: Arc<Moves>,
    /// The keys that callers come with.
    pub api_keys: Arc<Known<ApiKey>>,
    /// Published workflows, compiled.
    pub plans: Arc<Plans>,
    /// The read models, through the query role.
    pub views: PgPool,
    /// What time it is, and new ids.
    pub clock: Clock,
    /// Keys of personal data.
    pub keys: Arc<Keyring>,
    /// Where secrets go; only references to them enter the log.
    pub vault: Arc<Vault>,
    /// The one way out, for trying integrations.
    pub egress: Arc<Egress>,
    /// The configured providers.
    pub models: Arc<Models>,
    /// Whether this process is about to stop: it still answers, but nobody should count on it.
    pub leaving: watch::Receiver<bool>,
    /// Whether the database is there.
    pub pulse: watch::Receiver<bool>,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Everstep",
        description = "Runs AI workflows on one verifiable log.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    modifiers(&Security)
)]
struct Description;

fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Description::openapi())
        .nest("/api/v1", commands::router().merge(queries::router()))
}

/// The whole API.
fn router(app: App) -> Router {
    let (routes, description) = described();
    let routes = routes.layer(from_fn_with_state(app.clone(), gateway::reachable));
    let routes = routes.merge(docs::router(&description)).with_state(app.clone());
    gateway::wrap(routes, app)
}

/// The API's description (`OpenAPI` 3.1), as served at `/openapi.json`.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    described().1
}

fn described() -> (Router<App>, utoipa::openapi::OpenApi) {
    let (routes, mut description) = routes().split_for_parts();
    docs::complete(&mut description);
    (routes, description)
}
