//! `replay --to amqp`: a message for each event.
//!
//! At least once, in order: what was sent and not confirmed when a run ends is sent again by the
//! next. Receivers know a message that comes twice by its id.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use connectors::amqp::{Broker, Error, Exchange, Header, Message, Pending};
use eventstore::{CloudEvent, Position, Recorded};
use secrecy::ExposeSecret;
use serde_json::json;
use uuid::Uuid;

use super::super::Context;
use super::checkpoint::{Checkpoint, What};
use super::emission::{Emission, Wanted};
use crate::args::{Place, Replay};
use crate::failure::{Failure, count};
use crate::output::note;

/// How many messages may be under way.
const WINDOW: usize = 256;
/// How often what was confirmed is kept.
const KEPT: Duration = Duration::from_millis(500);
/// The format of the messages: `CloudEvents` AMQP binding, structured mode.
const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// Publishes events to an exchange. It only publishes: nothing acts on them here.
pub(super) async fn replay(context: &Context, what: &Replay) -> Result<(), Failure> {
    let usage = |flag: &str| Failure::Usage(format!("--to amqp needs {flag}"));
    let url = what.emit.amqp_url.as_ref().ok_or_else(|| usage("--amqp-url"))?;
    let exchange = what.emit.exchange.as_deref().filter(|name| !name.is_empty());
    let exchange = exchange.ok_or_else(|| usage("--exchange"))?;
    let broker = Broker::parse(url.expose_secret()).map_err(failure)?;
    let same = identity(what, &broker, exchange);
    let path = what.emit.checkpoint.clone().unwrap_or_else(|| default_path(context, &same));
    let mut checkpoint = Checkpoint::open(&path, &same, what.emit.restart, crate::random_uuid())?;
    let wanted = Wanted::open(context, what).await?;
    let exchange = broker.exchange(exchange).await.map_err(failure)?;
    let mut emission = wanted.after(context, checkpoint.position(), what);
    let mut window = Window::new(&mut checkpoint);
    let done = publish(&mut emission, &exchange, what, &mut window).await;
    let (sent, unrouted) = (window.settled, window.unrouted);
    // What was confirmed before something failed need not be sent again.
    let kept = window.keep();
    done.and(kept)?;
    emission.finish();
    checkpoint.keep(wanted.last.max(checkpoint.position()))?;
    exchange.close().await.map_err(failure)?;
    told(context, sent, unrouted, &checkpoint)
}

fn told(
    context: &Context,
    sent: usize,
    unrouted: usize,
    checkpoint: &Checkpoint,
) -> Result<(), Failure> {
    if unrouted > 0 && context.output.is_for_people() {
        note(format!("{} went to no queue: none is bound for them", count(unrouted, "event")));
    }
    let (replay, position) = (checkpoint.replay(), checkpoint.position());
    let result = json!({
        "replay": replay, "events": sent, "unrouted": unrouted, "position": position,
        "result": "emitted",
    });
    context.output.show(&result, || {
        format!("{} published, up to position {position}, as replay {replay}", count(sent, "event"))
    })
}

/// What makes another run the same replay.
fn identity(what: &Replay, broker: &Broker, exchange: &str) -> What {
    let shown = |place: Option<Place>| {
        place.map(|place| match place {
            Place::Position(position) => position.to_string(),
            Place::Time(time) => time.to_rfc3339(),
        })
    };
    What {
        broker: broker.to_string(),
        exchange: exchange.to_owned(),
        routing_key: what.emit.routing_key.clone(),
        from: shown(what.emit.from),
        until: shown(what.until),
        tenant: what.emit.tenant,
        kind: what.emit.kind.clone(),
    }
}

/// A file of its own for each replay.
fn default_path(context: &Context, what: &What) -> PathBuf {
    let name = Uuid::new_v5(&Uuid::NAMESPACE_OID, json!(what).to_string().as_bytes());
    context.settings.data_dir.join("replays").join(format!("{name}.json"))
}

async fn publish(
    emission: &mut Emission<'_>,
    exchange: &Exchange,
    what: &Replay,
    window: &mut Window<'_>,
) -> Result<(), Failure> {
    while let Some(event) = emission.next().await? {
        let message = message(&event, what.emit.routing_key.as_deref(), window.replay)?;
        let pending = exchange.publish(&message).await.map_err(failure)?;
        window.push(event.position, pending).await?;
        if what.rate.is_some() && emission.pauses() {
            window.settle_to(0).await?;
        }
    }
    window.settle_to(0).await
}

fn message(event: &Recorded, key: Option<&str>, replay: Uuid) -> Result<Message, Failure> {
    let body = serde_json::to_vec(&CloudEvent::from(event)).context("writing an event")?;
    let headers = BTreeMap::from([
        ("everstep-replay", Header::Flag(true)),
        ("everstep-replay-id", Header::Text(replay.to_string())),
    ]);
    Ok(Message {
        id: event.id,
        correlation: event.meta.correlation,
        kind: event.name.clone(),
        routing_key: key.unwrap_or(&event.name).to_owned(),
        content_type: CONTENT_TYPE,
        at: event.meta.at,
        headers,
        body,
    })
}

/// Messages under way, and how far they are confirmed.
struct Window<'a> {
    checkpoint: &'a mut Checkpoint,
    replay: Uuid,
    pending: VecDeque<(Position, Pending)>,
    confirmed: Position,
    kept: Instant,
    settled: usize,
    unrouted: usize,
}

impl<'a> Window<'a> {
    fn new(checkpoint: &'a mut Checkpoint) -> Self {
        let (replay, confirmed) = (checkpoint.replay(), checkpoint.position());
        let (pending, kept) = (VecDeque::new(), Instant::now());
        Self { checkpoint, replay, pending, confirmed, kept, settled: 0, unrouted: 0 }
    }

    async fn push(&mut self, position: Position, pending: Pending) -> Result<(), Failure> {
        self.pending.push_back((position, pending));
        self.settle_to(WINDOW).await
    }

    /// Waits, in order, until at most so many are under way.
    async fn settle_to(&mut self, limit: usize) -> Result<(), Failure> {
        while self.pending.len() > limit
            && let Some((position, pending)) = self.pending.pop_front()
        {
            if !pending.settled().await.map_err(failure)? {
                self.unrouted += 1;
            }
            self.settled += 1;
            self.confirmed = position;
            if self.kept.elapsed() >= KEPT {
                self.keep()?;
            }
        }
        Ok(())
    }

    fn keep(&mut self) -> Result<(), Failure> {
        self.kept = Instant::now();
        self.checkpoint.keep(self.confirmed)
    }
}

fn failure(error: Error) -> Failure {
    match error {
        Error::Url => Failure::Usage(format!("--amqp-url: {error}")),
        Error::TooLong(_) => Failure::Usage(error.to_string()),
        Error::NoExchange { .. } => Failure::NotFound(error.to_string()),
        Error::Refused | Error::Silent | Error::Failed(_) => {
            let hint = "publishing; the same command goes on after what was confirmed";
            Failure::Other(anyhow::Error::new(error).context(hint))
        }
    }
}
