//! Queries about how things go: counts, rates, durations and tokens.

use axum::Json;
use axum::extract::State;
use chrono::TimeDelta;
use domain::Timestamp;
use projections::Page;
use projections::analytics::{self, AgentUsage, Dashboard, Span, WorkflowUsage};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::query::{Look, Parameters};
use crate::{App, Problem};

/// How far back a question reaches unless it says otherwise.
const DEFAULT: TimeDelta = TimeDelta::days(1);

/// The longest time that can be asked about.
const LONGEST: TimeDelta = TimeDelta::days(366);

/// The time that is asked about.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Range {
    /// From the hour of this moment on (RFC 3339), because figures are kept by the hour; a day
    /// before `to` if not said.
    #[param(value_type = Option<String>)]
    from: Option<Timestamp>,
    /// Up to this moment (RFC 3339), its hour included; now if not said.
    #[param(value_type = Option<String>)]
    to: Option<Timestamp>,
}

impl Range {
    /// Whole hours: the read model counts by the hour.
    fn span(&self, app: &App) -> Result<Span, Problem> {
        let to = self.to.unwrap_or_else(|| app.clock.now());
        let from = self.from.unwrap_or(to - DEFAULT);
        if from >= to || to - from > LONGEST {
            return Err(Problem::parameter("`from` must be before `to`, by at most 366 days"));
        }
        Ok(Span { from, to })
    }
}

/// Show how the tenant's work goes.
///
/// Counts by outcome, success rate, percentiles of durations, tokens and notifications, by hour.
#[utoipa::path(
    get, path = "/analytics/dashboard", tag = "analytics", operation_id = "get_dashboard",
    params(Range),
    responses(
        (status = 200, description = "The figures", body = Dashboard),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn dashboard(
    State(app): State<App>,
    mut look: Look,
    Parameters(range): Parameters<Range>,
) -> Result<Json<Dashboard>, Problem> {
    Ok(Json(analytics::dashboard(&mut look.reader, range.span(&app)?).await?))
}

/// Show how each workflow goes.
#[utoipa::path(
    get, path = "/analytics/workflows", tag = "analytics", operation_id = "get_workflow_usage",
    params(Range),
    responses(
        (status = 200, description = "The figures", body = Page<WorkflowUsage>),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn workflows(
    State(app): State<App>,
    mut look: Look,
    Parameters(range): Parameters<Range>,
) -> Result<Json<Page<WorkflowUsage>>, Problem> {
    let items = analytics::workflows(&mut look.reader, range.span(&app)?).await?;
    Ok(Json(Page { items, next_cursor: None }))
}

/// Show how each agent and model goes.
#[utoipa::path(
    get, path = "/analytics/agents", tag = "analytics", operation_id = "get_agent_usage",
    params(Range),
    responses(
        (status = 200, description = "The figures", body = Page<AgentUsage>),
        (status = "4XX", description = "A problem", body = Problem),
    ),
)]
pub(super) async fn agents(
    State(app): State<App>,
    mut look: Look,
    Parameters(range): Parameters<Range>,
) -> Result<Json<Page<AgentUsage>>, Problem> {
    let items = analytics::agents(&mut look.reader, range.span(&app)?).await?;
    Ok(Json(Page { items, next_cursor: None }))
}
