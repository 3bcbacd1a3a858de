//! `replay`: folds the log again into read models, or emits its events again for others.

mod amqp;
mod checkpoint;
mod emission;
mod ndjson;
mod projection;

use std::io::IsTerminal;

use anyhow::Context as _;
use eventstore::{EventStore, Position, position_at};
use indicatif::{ProgressBar, ProgressStyle};

pub(super) use self::emission::first_since;
pub(super) use self::projection::failure;
use super::Context;
use crate::args::{Emit, Place, Replay, To};
use crate::failure::Failure;

/// Carries out what was asked for; what does not go together is told first.
pub(crate) async fn replay(context: &Context, what: &Replay) -> Result<(), Failure> {
    if let Some(flag) = misplaced(what) {
        return Err(Failure::Usage(format!("{flag} says nothing to this sort of replay")));
    }
    match what.to {
        To::Projection => projection::replay(context, what).await,
        To::Ndjson => ndjson::replay(context, what).await,
        To::Amqp => amqp::replay(context, what).await,
    }
}

/// A flag that belongs to another destination. (The broker's URL may stand in the environment.)
fn misplaced(what: &Replay) -> Option<&'static str> {
    let Emit { from, tenant, kind, restart, file, exchange, routing_key, checkpoint, .. } =
        &what.emit;
    let of_projections = [
        ("--verify", what.verify),
        ("--rollback", what.rollback),
        ("--discard", what.discard),
        ("--projection", !what.projection.is_empty()),
    ];
    let of_events = [
        ("--from", from.is_some()),
        ("--tenant", tenant.is_some()),
        ("--type", kind.is_some()),
        ("--restart", *restart),
    ];
    let of_ndjson = [("--file", file.is_some())];
    let of_amqp = [
        ("--exchange", exchange.is_some()),
        ("--routing-key", routing_key.is_some()),
        ("--checkpoint", checkpoint.is_some()),
    ];
    let wrong: &[&[(&'static str, bool)]] = match what.to {
        To::Projection => &[&of_events, &of_ndjson, &of_amqp],
        To::Ndjson => &[&of_projections, &of_amqp],
        To::Amqp => &[&of_projections, &of_ndjson],
    };
    let mut wrong = wrong.iter().flat_map(|flags| flags.iter());
    wrong.find(|(_, given)| *given).map(|(flag, _)| *flag)
}

async fn position(log: &dyn EventStore, until: Place) -> Result<Position, Failure> {
    let head = log.head().await.context("reading the log")?;
    match until {
        Place::Position(position) if position > head => {
            Err(Failure::Usage(format!("the log ends at position {head}")))
        }
        Place::Position(position) => Ok(position),
        Place::Time(time) => Ok(position_at(log, time).await.context("reading the log")?),
    }
}

fn bar(context: &Context) -> ProgressBar {
    if !context.output.is_for_people() || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    let style = "{bar:40} {pos}/{len} events, {per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar
}
