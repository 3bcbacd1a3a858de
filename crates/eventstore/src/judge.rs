//! What makes an append good, bad or a repetition: the rules that every store shares.

use std::collections::HashSet;

use domain::Timestamp;
use serde::de::IgnoredAny;
use uuid::Uuid;

use crate::personal;
use crate::{Answered, Append, Appended, Draft, Error, Expected, Position, StreamAppend, Version};

/// The most bytes the body of one event may have.
pub const EVENT_LIMIT: usize = 256 * 1024;
/// The same once its personal values are sealed: base64 takes a third more.
const SEALED_LIMIT: usize = EVENT_LIMIT / 3 * 4 + 1024;
/// The most events one append may have.
pub const APPEND_LIMIT: usize = 1_000;

/// The deepest nesting a body may have: what is stored must be readable, and JSON readers give up
/// at 128 levels to spare their stack.
pub const DEPTH_LIMIT: usize = 100;

/// Where an event stands that was found under an id that is being appended.
#[derive(Debug, Clone, Copy, sqlx::FromRow)]
pub(crate) struct Found {
    pub(crate) id: Uuid,
    pub(crate) version: Version,
    pub(crate) position: Position,
}

impl Expected {
    /// Whether a stream of this version looks as expected.
    pub(crate) fn holds(self, version: Version) -> bool {
        match self {
            Self::Any => true,
            Self::None => version == 0,
            Self::Exists => version > 0,
            Self::At(expected) => version == expected,
        }
    }

    /// The version the stream must have, if it must have a certain one.
    pub(crate) fn exactly(self) -> Option<Version> {
        match self {
            Self::Any | Self::Exists => None,
            Self::None => Some(0),
            Self::At(version) => Some(version),
        }
    }
}

impl StreamAppend {
    /// The versions between which a repetition of this append would find its events: after the
    /// first, up to the second.
    pub(crate) fn window(&self) -> (Version, Version) {
        let count = Version::try_from(self.events.len()).unwrap_or(Version::MAX);
        self.expected.exactly().map_or((0, Version::MAX), |at| (at, at.saturating_add(count)))
    }
}

/// The moment as it is kept: a microsecond is the finest that Postgres knows.
pub(crate) fn kept(at: Timestamp) -> Timestamp {
    chrono::SubsecRound::trunc_subsecs(at, 6)
}

/// Refuses what no state of the log would make good.
///
/// A stream of another tenant than the append's is simply not there, and a stream that is named
/// twice has moved on by the time of its second turn: both are conflicts.
pub(crate) fn check(append: &Append) -> Result<(), Error> {
    let total = append.streams.iter().map(|part| part.events.len()).sum();
    within("an append in events", total, APPEND_LIMIT)?;
    let mut seen = HashSet::new();
    for part in &append.streams {
        if part.stream.tenant != append.meta.tenant || !seen.insert(part.stream) {
            return Err(Error::Conflict { stream: part.stream, actual: 0 });
        }
        for draft in &part.events {
            readable(draft)?;
        }
    }
    Ok(())
}

/// Refuses a body that could be stored but never be read again.
fn readable(draft: &Draft) -> Result<(), Error> {
    let limit = if personal::is_sealed(&draft.body) { SEALED_LIMIT } else { EVENT_LIMIT };
    within("an event in bytes", draft.body.len(), limit)?;
    within("an event in levels of nesting", depth(&draft.body), DEPTH_LIMIT)?;
    serde_json::from_str::<IgnoredAny>(&draft.body).map_err(|source| Error::Decode {
        name: draft.name.clone(),
        version: draft.schema,
        source,
    })?;
    Ok(())
}

/// How many arrays and objects are open at once, at most.
fn depth(json: &str) -> usize {
    let (mut open, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                open += 1;
                deepest = deepest.max(open);
            }
            b'}' | b']' if !quoted => open = open.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn within(what: &'static str, size: usize, limit: usize) -> Result<(), Error> {
    if size > limit {
        return Err(Error::TooLarge { what, size, limit });
    }
    Ok(())
}

/// What becomes of an append that cannot be stored: the outcome of the first time, if all of it is
/// stored already, the answer to its command included; else the reason against it.
///
/// `is_fenced` says that its slice is somebody else's; `versions` and `found` speak of its streams,
/// in their order; `answered` of its key.
pub(crate) fn settle(
    append: &Append,
    is_fenced: bool,
    (versions, found): (&[Version], &[Vec<Found>]),
    answered: Option<&Answered>,
) -> Result<Appended, Error> {
    let fingerprint = answered.map(|answered| answered.fingerprint);
    let kept = append.reply.as_ref().is_none_or(|(key, _)| Some(key.fingerprint) == fingerprint);
    if kept && let Some(done) = repetition(append, versions, found) {
        return Ok(done);
    }
    if let Some(fence) = append.fence.filter(|_| is_fenced) {
        return Err(Error::Fenced(fence));
    }
    Err(if answered.is_some() { Error::KeyUsed } else { conflict(append, versions, found) })
}

/// The answer that the append got the first time, if all its events already stand where it would
/// put them.
fn repetition(append: &Append, versions: &[Version], found: &[Vec<Found>]) -> Option<Appended> {
    let mut done = Appended { position: 0, versions: Vec::with_capacity(versions.len()) };
    for ((part, version), found) in append.streams.iter().zip(versions).zip(found) {
        if !stands(part, found) {
            return None;
        }
        let unchanged = part.expected.exactly().unwrap_or(*version);
        done.versions.push(found.last().map_or(unchanged, |last| last.version));
        let last = found.last().map_or(0, |last| last.position);
        done.position = done.position.max(last);
    }
    (done.position > 0).then_some(done)
}

/// Whether `found` is exactly the events of `part`, one after the other.
fn stands(part: &StreamAppend, found: &[Found]) -> bool {
    let Some(first) = found.first() else { return part.events.is_empty() };
    found.len() == part.events.len()
        && part.expected.exactly().is_none_or(|at| first.version == at + 1)
        && found.iter().zip(&part.events).all(|(found, draft)| found.id == draft.id)
        && found.windows(2).all(|pair| pair[0].version + 1 == pair[1].version)
}

/// The conflict to report: the first stream that is not as expected, or that has some of the
/// events already but not all of them.
fn conflict(append: &Append, versions: &[Version], found: &[Vec<Found>]) -> Error {
    let bad = append.streams.iter().zip(versions).zip(found).find(|((part, version), found)| {
        let halfway = part.expected.exactly().is_none() && !found.is_empty();
        halfway || !part.expected.holds(**version)
    });
    bad.map_or_else(
        || Error::Damaged("an append was refused without a reason".to_owned()),
        |((part, version), _)| Error::Conflict { stream: part.stream, actual: *version },
    )
}
