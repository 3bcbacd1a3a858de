//! Between domain events and stored rows: the only place that knows both.

use std::fmt;
use std::iter;
use std::sync::Arc;

use domain::agent::Agent;
use domain::api_key::ApiKey;
use domain::execution::Execution;
use domain::integration::Integration;
use domain::invocation::Invocation;
use domain::notification::Notification;
use domain::prompt::Prompt;
use domain::subject::Subject;
use domain::template::Template;
use domain::webhook::Delivery;
use domain::workflow::Workflow;
use domain::{Aggregate, Event, Fact, Id, payload};
use serde::Serialize;
use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer, MapDeserializer};
use serde::de::{self, DeserializeSeed, MapAccess};
use serde_json::Value;
use uuid::Uuid;

use crate::{Draft, Error, Recorded, StreamId, Version};

/// The events as they will be stored in `stream` after version `after`, each with an id that
/// follows from what caused it, from its place in the stream and from what it says: whoever appends
/// the same decision at the same place again appends the same events, and another decision is not
/// taken for it.
#[must_use]
pub fn drafts<E: Event>(
    events: &[E],
    stream: StreamId,
    after: Version,
    causation: Uuid,
) -> Vec<Draft> {
    let StreamId { category, id, .. } = stream;
    let draft = |(place, event)| {
        let (name, body) = encode(event);
        let said = format!("{category}/{id}/{place}/{name}/{}", body.as_str());
        let id = Id::<E>::derived(causation, &said).as_uuid();
        Draft { id, schema: E::version(&name), name, body, opened: None, fact: None }
    };
    (after + 1..).zip(events).map(draft).collect()
}

/// The event as one of all facts: as this process said it, or as it is read.
///
/// [`Error::Newer`] for anything that this release has never heard of.
pub fn fact(row: &Recorded) -> Result<Arc<Fact>, Error> {
    if let Some(fact) = &row.fact {
        return Ok(fact.clone());
    }
    Ok(Arc::new(match row.category.as_str() {
        Agent::NAME => Fact::Agent(decode(row)?),
        ApiKey::NAME => Fact::ApiKey(decode(row)?),
        Execution::NAME => Fact::Execution(decode(row)?),
        Integration::NAME => Fact::Integration(decode(row)?),
        Invocation::NAME => Fact::Invocation(decode(row)?),
        Notification::NAME => Fact::Notification(decode(row)?),
        payload::NAME => Fact::Payload(decode(row)?),
        Prompt::NAME => Fact::Prompt(decode(row)?),
        Subject::NAME => Fact::Subject(decode(row)?),
        Template::NAME => Fact::Template(decode(row)?),
        Delivery::NAME => Fact::Webhook(decode(row)?),
        Workflow::NAME => Fact::Workflow(decode(row)?),
        _ => return Err(newer(row)),
    }))
}

/// The category of this name, if this release knows it.
#[must_use]
pub fn category(name: &str) -> Option<&'static str> {
    const KNOWN: [&str; 12] = [
        Agent::NAME,
        ApiKey::NAME,
        Execution::NAME,
        Integration::NAME,
        Invocation::NAME,
        Notification::NAME,
        payload::NAME,
        Prompt::NAME,
        Subject::NAME,
        Template::NAME,
        Delivery::NAME,
        Workflow::NAME,
    ];
    KNOWN.into_iter().find(|known| *known == name)
}

/// Name and body of an event, from the `{"type": name, "data": body}` that serde makes of it.
pub(crate) fn encode<E: Event>(event: &E) -> (String, String) {
    let tagged = serde_json::to_value(event).expect("events are plain data");
    let name = tagged["type"].as_str().expect("events are adjacently tagged").to_owned();
    let mut body = vec![];
    canonical(&tagged["data"], &mut body);
    (name, String::from_utf8(body).expect("JSON is text"))
}

/// Whether an event is read as it was said: its memory must be as good as what is stored of it.
pub(crate) fn is_read_as_said<E: Event>(draft: &Draft) -> bool {
    let read = E::deserialize(MapAccessDeserializer::new(Tagged::new(&draft.name, &draft.body)));
    read.is_ok_and(|event| event.into_fact().as_ref() == draft.fact.as_deref())
}

pub(crate) fn decode<E: Event>(row: &Recorded) -> Result<E, Error> {
    if row.schema > E::version(&row.name) {
        return Err(newer(row));
    }
    read(row).map_err(|source| {
        if names::<E>(&row.name).is_some() {
            return newer(row);
        }
        Error::Decode { name: row.name.clone(), version: row.schema, source }
    })
}

fn newer(row: &Recorded) -> Error {
    Error::Newer { name: row.name.clone(), version: row.schema }
}

/// Bodies of today's version are left alone: only old rows pay for history.
fn read<E: Event>(row: &Recorded) -> Result<E, serde_json::Error> {
    let data = row.data();
    let of = |body| E::deserialize(MapAccessDeserializer::new(Tagged::new(&row.name, body)));
    if row.schema == E::version(&row.name) {
        return of(&data);
    }
    let steps = E::UPCASTS.iter().filter(|up| up.event == row.name && up.from >= row.schema);
    let body = serde_json::from_str(&data)?;
    let body = steps.fold(body, |body, up| (up.apply)(body));
    of(&body.to_string())
}

/// An event as serde knows it, `{"type": name, "data": body}`, of which the body is JSON still. The type
/// comes first: serde would have to hold back what came before it, and forget that names of members can
/// be numbers.
struct Tagged<'a> {
    name: Option<&'a str>,
    body: Option<&'a str>,
}

impl<'a> Tagged<'a> {
    fn new(name: &'a str, body: &'a str) -> Self {
        Self { name: Some(name), body: Some(body) }
    }
}

impl<'de> MapAccess<'de> for Tagged<'de> {
    type Error = serde_json::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Self::Error> {
        let key = match (self.name, self.body) {
            (Some(_), _) => "type",
            (None, Some(_)) => "data",
            (None, None) => return Ok(None),
        };
        seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, Self::Error> {
        if let Some(name) = self.name.take() {
            return seed.deserialize(BorrowedStrDeserializer::new(name));
        }
        let mut json = serde_json::Deserializer::from_str(self.body.take().unwrap_or_default());
        let value = seed.deserialize(&mut json)?;
        json.end().map(|()| value)
    }
}

/// Writes JSON with sorted keys and without spaces: equal values give equal bytes, whatever order
/// of keys `serde_json` was built to keep.
fn canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => write(value, out),
        Value::Array(items) => {
            separated(out, [b'[', b']'], items.iter(), canonical);
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            separated(out, [b'{', b'}'], members.into_iter(), |(key, value), out| {
                write(key, out);
                out.push(b':');
                canonical(value, out);
            });
        }
    }
}

fn write(value: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("plain data, written to memory");
}

fn separated<T>(
    out: &mut Vec<u8>,
    [open, close]: [u8; 2],
    items: impl Iterator<Item = T>,
    write: impl Fn(T, &mut Vec<u8>),
) {
    out.push(open);
    for (nth, item) in items.enumerate() {
        if nth > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(close);
}

/// The stored names of all events of this sort, told by serde if `name` is not one of them.
pub(crate) fn names<E: Event>(name: &str) -> Option<&'static [&'static str]> {
    match E::deserialize(MapDeserializer::new(iter::once(("type", name)))) {
        Err(Probe::UnknownName(names)) => Some(names),
        Ok(_) | Err(Probe::Other) => None,
    }
}

/// An error that tells an unknown name from everything else.
#[derive(Debug)]
enum Probe {
    UnknownName(&'static [&'static str]),
    Other,
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an event")
    }
}

impl std::error::Error for Probe {}

impl de::Error for Probe {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Other
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::UnknownName(expected)
    }
}
