//! Queries: `GET`. They read views and change nothing; only those about events read the log.

mod agents;
mod analytics;
mod api_keys;
mod audit;
mod events;
mod executions;
mod integrations;
mod notifications;
mod projections;
mod prompts;
mod templates;
mod workflows;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;

pub(crate) use ::projections::executions::Detail as ExecutionView;
pub(crate) use executions::at as execution_at;

pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(audit::events))
        .routes(routes!(audit::latest))
        .routes(routes!(audit::proof))
        .routes(routes!(workflows::list))
        .routes(routes!(workflows::get))
        .routes(routes!(executions::list_all))
        .routes(routes!(executions::list))
        .routes(routes!(executions::get))
        .routes(routes!(events::export))
        .routes(routes!(events::follow))
        .routes(routes!(agents::list))
        .routes(routes!(agents::get))
        .routes(routes!(agents::invocations))
        .routes(routes!(agents::models))
        .routes(routes!(prompts::list))
        .routes(routes!(prompts::get))
        .routes(routes!(templates::list))
        .routes(routes!(templates::get))
        .routes(routes!(notifications::list))
        .routes(routes!(notifications::get))
        .routes(routes!(integrations::list))
        .routes(routes!(integrations::get))
        .routes(routes!(integrations::logs))
        .routes(routes!(api_keys::list))
        .routes(routes!(self::projections::list))
        .routes(routes!(analytics::dashboard))
        .routes(routes!(analytics::workflows))
        .routes(routes!(analytics::agents))
}
