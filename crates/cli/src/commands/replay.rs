//! `replay`: makes read models anew from the log, or proves that they are what it says.

use std::io::IsTerminal;

use anyhow::Context as _;
use eventstore::PgEventStore;
use indicatif::{ProgressBar, ProgressStyle};
use projections::{Checked, Error, Progress, Report};
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;

use super::Context;
use crate::args::Replay;
use crate::failure::{Failure, count};
use crate::output::table;

/// How many connections a replay uses: one to fold into, one to read the log from.
const CONNECTIONS: u32 = 3;

/// Rebuilds all read models or one, or compares them with a replay of the log.
pub(crate) async fn replay(context: &Context, what: &Replay) -> Result<(), Failure> {
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS);
    let pool =
        pool.connect(&context.database_url()?).await.context("connecting to the database")?;
    let log = PgEventStore::new(pool.clone());
    let names: Vec<&String> = what.projection.iter().collect();
    let bar = bar(context);
    let progress = |Progress { done, total }: Progress| {
        bar.set_length(u64::try_from(total).unwrap_or_default());
        bar.set_position(u64::try_from(done).unwrap_or_default());
    };
    if what.verify {
        let report = projections::verify(&pool, &log, &names, &progress).await;
        bar.finish_and_clear();
        return judge(context, &report.map_err(failure)?);
    }
    let rebuilt = projections::rebuild(&pool, &log, &names, &progress).await;
    bar.finish_and_clear();
    rebuilt.map_err(failure)?;
    let which = what.projection.as_deref().unwrap_or("all");
    context.output.show(&json!({"rebuilt": which}), || match &what.projection {
        Some(name) => format!("{name} is rebuilt"),
        None => "all read models are rebuilt".to_owned(),
    })
}

fn failure(error: Error) -> Failure {
    match error {
        Error::UnknownView(_) => Failure::Usage(error.to_string()),
        Error::Busy => Failure::Conflict(error.to_string()),
        Error::Log(_) | Error::Database(_) | Error::Stuck { .. } => {
            Failure::Other(anyhow::Error::new(error).context("replaying the log"))
        }
    }
}

/// Shows what was compared; a failure that names the rows if anything differs.
fn judge(context: &Context, report: &Report) -> Result<(), Failure> {
    let word = |view: &Checked| if view.difference.is_none() { "identical" } else { "different" };
    let items: Vec<Value> = report
        .views
        .iter()
        .map(|view| {
            json!({
                "projection": view.name,
                "position": view.position,
                "rows": view.rows,
                "result": word(view),
                "difference": view.difference.as_ref().map(ToString::to_string),
            })
        })
        .collect();
    context.output.show(&json!({"items": items}), || {
        let rows = report.views.iter().map(|view| {
            let (position, rows) = (view.position.to_string(), view.rows.to_string());
            vec![view.name.to_owned(), position, rows, word(view).to_owned()]
        });
        table(&["PROJECTION", "POSITION", "ROWS", "RESULT"], rows)
    })?;
    if report.is_identical() {
        return Ok(());
    }
    let different = report.views.iter().filter_map(|view| view.difference.as_ref());
    let different: Vec<String> = different.map(|row| format!("\n  {row}")).collect();
    let models = count(different.len(), "read model");
    Err(Failure::Verification(format!(
        "{models} not what the log says; the first such row of each:{}",
        different.concat()
    )))
}

fn bar(context: &Context) -> ProgressBar {
    if !context.output.is_for_people() || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} events, {eta} left") {
        bar.set_style(style);
    }
    bar
}
