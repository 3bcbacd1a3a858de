//! Commands: `POST`, `PUT` and `DELETE`. They answer with a version and a position; what the
//! queries show of it follows.

mod agents;
mod api_keys;
mod executions;
mod integrations;
mod notifications;
mod prompts;
mod references;
mod subjects;
mod templates;
mod webhooks;
mod workflows;

use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::App;

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(workflows::create))
        .routes(routes!(workflows::update, workflows::delete))
        .routes(routes!(executions::execute))
        .routes(routes!(executions::cancel))
        .routes(routes!(agents::create))
        .routes(routes!(agents::update, agents::delete))
        .routes(routes!(agents::invoke))
        .routes(routes!(prompts::create))
        .routes(routes!(prompts::update, prompts::delete))
        .routes(routes!(templates::create))
        .routes(routes!(templates::update, templates::delete))
        .routes(routes!(integrations::create))
        .routes(routes!(integrations::update, integrations::delete))
        .routes(routes!(integrations::test))
        .routes(routes!(notifications::create))
        .routes(routes!(notifications::resend))
        .routes(routes!(subjects::erase))
        .routes(routes!(webhooks::receive))
        .routes(routes!(api_keys::create))
        .routes(routes!(api_keys::revoke))
}

/// A thing with a name, after a change to it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Named {
    /// Its id.
    pub(crate) id: Uuid,
    /// Its name.
    pub(crate) name: String,
    /// Its newest revision or version, counted from 1.
    pub(crate) revision: u32,
}
