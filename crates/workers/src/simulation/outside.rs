//! The outside world: it carries a request out once for each idempotency key and gives whoever
//! repeats the key the same answer. What becomes of a call is decided by what is called, so that it
//! is the same in every run.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use connectors::egress::{EgressError, OutboundRequest, OutboundResponse, WayOut};
use eventstore::{EventStore, Position};
use futures::FutureExt;
use serde_json::{Value, json};
use uuid::Uuid;

use super::chance::mix;
use super::planted::Bug;
use super::world::{Call, What, World};

/// How many executions differ by what becomes of their calls.
pub(super) const VARIANTS: u64 = 8;

/// How often an answer to one and the same call is lost at most: fewer times than it is tried.
const LOSSES: u32 = 2;

/// The way out of a worker.
pub(super) struct Door(pub(super) Arc<World>);

#[async_trait]
impl WayOut for Door {
    async fn send(&self, mut request: OutboundRequest) -> Result<OutboundResponse, EgressError> {
        if self.0.bug == Some(Bug::NewKeyForEachSending) {
            let nonce = self.0.state().chance.next();
            for (name, value) in &mut request.headers {
                if name == "Idempotency-Key" {
                    *value = format!("{value}-{nonce}");
                }
            }
        }
        let wait = {
            let mut state = self.0.state();
            let wait = state.wait.unwrap_or_default();
            state.call(wait);
            wait
        };
        self.0.ask(|slot| What::Send(Box::new(Call { request, wait }), slot)).await
    }
}

/// What the outside remembers.
#[derive(Debug, Default)]
pub(super) struct Outside {
    /// The keys under which each call came, in the order of their first coming.
    keys: BTreeMap<Asked, Vec<String>>,
    losses: BTreeMap<Asked, u32>,
    pub(super) ledger: Vec<Made>,
}

/// What is asked: path and body.
type Asked = (String, String);

/// A call that arrived.
#[derive(Debug)]
pub(super) struct Made {
    /// The execution and the wait for which it was made.
    pub(super) wait: (Uuid, u32),
    pub(super) key: String,
    /// How long the log was.
    pub(super) head: Position,
    /// Whether it was carried out.
    pub(super) is_done: bool,
}

/// What becomes of a call.
enum Fate {
    Works,
    /// It fails so many times for certain, then works.
    Stumbles(usize),
    /// The other side does not want it.
    Refused,
    /// It is carried out, and never answered.
    Silent,
}

impl World {
    /// A call arrives, and is answered or not.
    pub(super) fn arrive(&self, call: &Call) -> Result<OutboundResponse, EgressError> {
        let head = self.log.head().now_or_never().expect("it never waits").expect("a head");
        let mut state = self.state();
        let body = String::from_utf8_lossy(&call.request.body).into_owned();
        let asked = (call.request.url.clone(), body);
        let key = call.request.headers.iter().find(|(name, _)| name == "Idempotency-Key");
        let key = key.map(|(_, value)| value.clone()).unwrap_or_default();
        let is_lost = !state.is_calm && state.chance.one_in(4) && state.may_lose(&asked);
        if is_lost && state.chance.one_in(2) {
            state.say(|| format!("  lost on its way: {} {key}", asked.0));
            return Err(unknown());
        }
        let answer = state.outside.answer(&asked, &key);
        let is_done = answer.as_ref().map_or_else(
            |error| matches!(error, EgressError::Unknown { .. }),
            OutboundResponse::is_success,
        );
        state.outside.ledger.push(Made { wait: call.wait, key: key.clone(), head, is_done });
        let told = answer.as_ref().map_or_else(ToString::to_string, |ok| ok.status.to_string());
        let lost = if is_lost { ", and the answer is lost" } else { "" };
        state.say(|| format!("  made: {} {key}: {told}{lost}", asked.0));
        if is_lost { Err(unknown()) } else { answer }
    }
}

impl super::world::State {
    /// Whether losing the answer changes only how often it is tried, not what comes of it.
    fn may_lose(&mut self, asked: &Asked) -> bool {
        let losses = self.outside.losses.entry(asked.clone()).or_default();
        let may = *losses < LOSSES && !asked.0.contains("/plain/");
        *losses += u32::from(may);
        may
    }
}

impl Outside {
    fn answer(&mut self, asked: &Asked, key: &str) -> Result<OutboundResponse, EgressError> {
        let keys = self.keys.entry(asked.clone()).or_default();
        let place = keys.iter().position(|known| known == key).unwrap_or_else(|| {
            keys.push(key.to_owned());
            keys.len() - 1
        });
        let number = serde_json::from_str::<Value>(&asked.1).ok();
        let number = number.and_then(|body| body["n"].as_u64()).unwrap_or_default();
        let luck = asked.0.bytes().fold(number % VARIANTS, |sum, byte| mix(sum, u64::from(byte)));
        match fate(luck) {
            Fate::Works => Ok(ok(luck)),
            Fate::Stumbles(times) if place >= times => Ok(ok(luck)),
            Fate::Stumbles(_) if luck.is_multiple_of(3) => {
                Err(EgressError::NotSent("no connection"))
            }
            Fate::Stumbles(_) => Ok(status(500 + u16::try_from(luck % 4).unwrap_or_default())),
            Fate::Refused => Ok(status(422)),
            Fate::Silent => Err(unknown()),
        }
    }
}

fn fate(luck: u64) -> Fate {
    match luck % 16 {
        0..8 => Fate::Works,
        8..11 => Fate::Stumbles(1),
        11..13 => Fate::Stumbles(2),
        13..15 => Fate::Refused,
        _ => Fate::Silent,
    }
}

fn ok(luck: u64) -> OutboundResponse {
    OutboundResponse { body: json!({"luck": luck % 1_000}).to_string().into_bytes(), ..status(200) }
}

fn status(status: u16) -> OutboundResponse {
    OutboundResponse { status, headers: vec![], body: vec![] }
}

fn unknown() -> EgressError {
    EgressError::Unknown { timed_out: false, detail: "the connection broke off" }
}
