//! Makes read models anew from the log, or proves that they are what it says.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use eventstore::{EventStore, Position};
use projections::{Checked, Course, Error, Progress, Report};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use super::super::Context;
use super::{bar, position};
use crate::args::Replay;
use crate::failure::{Failure, count};
use crate::output::table;
use crate::platform;

/// How many connections a replay uses: one to fold into, others to read the log from.
const CONNECTIONS: u32 = 4;

/// Rebuilds all read models or some, compares them with a replay of the log, or goes back.
pub(super) async fn replay(context: &Context, what: &Replay) -> Result<(), Failure> {
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS);
    let pool =
        pool.connect(&context.database_url()?).await.context("connecting to the database")?;
    let log = platform::opened(context, &pool).await?;
    if what.discard {
        projections::discard(&pool).await.map_err(failure)?;
        return context
            .output
            .show(&json!({"discarded": true}), || "nothing of a replay is kept".to_owned());
    }
    let bar = bar(context);
    let progress = |Progress { done, total }: Progress| {
        if bar.length() != Some(0) && bar.position() == 0 {
            // What an earlier run has done says nothing about the time that is left.
            bar.reset_eta();
        }
        bar.set_length(u64::try_from(total).unwrap_or_default());
        bar.set_position(u64::try_from(done).unwrap_or_default());
    };
    let build = build()?;
    let course = Course { build: &build, rate: what.rate, progress: &progress };
    let done = run(&pool, &log, what, &course).await;
    bar.finish_and_clear();
    done?.show(context, what)
}

/// What a replay came to.
enum Done {
    Verified(Report),
    Rebuilt(Position),
    RolledBack(Position),
    AsOf(Position),
}

async fn run(
    pool: &PgPool,
    log: &Arc<dyn EventStore>,
    what: &Replay,
    course: &Course<'_>,
) -> Result<Done, Failure> {
    let (log, names) = (log.clone(), &what.projection);
    let done = if what.verify {
        projections::verify(pool, log, names, course).await.map(Done::Verified)
    } else if what.rollback {
        projections::roll_back(pool, log, names, course).await.map(Done::RolledBack)
    } else if let Some(until) = what.until {
        let until = position(&*log, until).await?;
        projections::as_of(pool, log, names, until, course).await.map(|()| Done::AsOf(until))
    } else {
        projections::rebuild(pool, log, names, course).await.map(Done::Rebuilt)
    };
    done.map_err(failure)
}

/// What tells this build from every other: the digest of the program.
fn build() -> Result<String, Failure> {
    let program: PathBuf = std::env::current_exe().context("finding the program")?;
    let bytes = std::fs::read(&program).with_context(|| program.display().to_string())?;
    Ok(hex::encode(Sha256::digest(bytes)))
}

/// What a replay that failed says.
pub(in super::super) fn failure(error: Error) -> Failure {
    match error {
        Error::UnknownView(_) => Failure::Usage(error.to_string()),
        Error::NothingKept => Failure::NotFound(error.to_string()),
        Error::Busy | Error::Locked => Failure::Conflict(error.to_string()),
        Error::Log(_) | Error::Database(_) | Error::Stuck { .. } => {
            Failure::Other(anyhow::Error::new(error).context("replaying the log"))
        }
    }
}

impl Done {
    fn show(&self, context: &Context, what: &Replay) -> Result<(), Failure> {
        let names = if what.projection.is_empty() {
            "all read models".to_owned()
        } else {
            what.projection.join(", ")
        };
        let result = |verb: &str, position: &Position| json!({"result": verb, "projections": what.projection, "position": position});
        match self {
            Self::Verified(report) => judge(context, report),
            Self::Rebuilt(position) => context.output.show(&result("rebuilt", position), || {
                format!("{names}: rebuilt, up to position {position}")
            }),
            Self::RolledBack(position) => {
                context.output.show(&result("rolled_back", position), || {
                    format!("{names}: rolled back, and brought up to position {position}")
                })
            }
            Self::AsOf(position) => context.output.show(&result("as_of", position), || {
                format!("{names}: as of position {position}, in the schema as_of")
            }),
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
