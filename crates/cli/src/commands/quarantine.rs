//! `quarantine`: what nobody works on because that went wrong each time.

use anyhow::Context as _;
use eventstore::Role;
use serde_json::json;
use workers::quarantine::{self, Quarantined};

use super::Context;
use crate::args::Quarantine;
use crate::failure::{Failure, count};
use crate::output::table;

/// Commands on what is in quarantine.
pub(crate) async fn quarantine(context: &Context, command: Quarantine) -> Result<(), Failure> {
    let pool = eventstore::connect(&context.database_url()?, Role::Worker, 2).await;
    let pool = pool.context("connecting to the database")?;
    match command {
        Quarantine::List { .. } => {
            let all = quarantine::list(&pool).await.context("reading the quarantine")?;
            context.output.show(&json!({"items": all}), || {
                let headings =
                    ["STREAM", "SINCE", "STRIKES", "CAUSE", "TRIED AGAIN", "TENANT", "REASON"];
                table(&headings, all.iter().map(row))
            })
        }
        Quarantine::Release { stream, .. } => {
            let released = quarantine::release(&pool, stream).await.context("releasing it")?;
            if let (0, Some(stream)) = (released, stream) {
                let nothing = format!("the stream {stream} is not in quarantine");
                return Err(Failure::NotFound(nothing));
            }
            let streams = count(usize::try_from(released).unwrap_or(usize::MAX), "stream");
            context.output.show(&json!({"released": released}), || {
                format!("{streams} will be worked on again within seconds")
            })
        }
    }
}

fn row(one: &Quarantined) -> Vec<String> {
    let retried = one.retry_at.map(|at| at.format("%F %T").to_string());
    vec![
        format!("{}/{}", one.category, one.stream),
        one.since.format("%F %T").to_string(),
        one.strikes.to_string(),
        one.cause.clone(),
        retried.unwrap_or_else(|| "once it is released".to_owned()),
        one.tenant.to_string(),
        one.reason.clone(),
    ]
}
