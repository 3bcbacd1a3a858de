//! Values that are too large to stand in their events: taken out, kept once, put back.
//!
//! Each becomes a stream of its own ([`domain::payload`]), named by a hash of what it says under the key
//! that it is sealed with: the same value of the same subject is the same stream, and the name tells
//! nothing to whoever has no key. The event names it, so that what is hashed of the event holds for it;
//! and being events, its pieces are hashed, proved, exported, archived and erased like all others.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use domain::personal::INLINE_LIMIT;
use domain::subject::Subject;
use domain::{Id, Tenant, payload};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::scan;
use super::seal::{Key, mac};
use crate::codec::decode;
use crate::{Draft, Error, Expected, Recorded, StreamAppend, StreamId, drafts};

/// The most bytes of JSON in a piece. As text in JSON again they are at most twice as many, and an event
/// takes them.
const PIECE: usize = 120 * 1024;

/// What stands behind the marks of large values, by whose they are and their names.
type Payloads = HashMap<(Id<Tenant>, Uuid), String>;

/// The large values of one append, by their streams.
pub(super) type TakenOut = BTreeMap<StreamId, StreamAppend>;

/// The stream of a large value.
pub(super) fn stream(tenant: Id<Tenant>, id: Uuid) -> StreamId {
    StreamId { tenant, category: payload::NAME, id }
}

/// Takes the large values out of a draft; their names stay.
pub(super) fn take_out(
    key: &Key,
    (tenant, subject): (Id<Tenant>, Option<Id<Subject>>),
    draft: &mut Draft,
    taken: &mut TakenOut,
) {
    draft.body = scan::name(&draft.body, |value| {
        if value.len() <= INLINE_LIMIT {
            return None;
        }
        let id = key.name(value.as_bytes());
        let stream = stream(tenant, id);
        taken.entry(stream).or_insert_with(|| {
            let events = drafts(&pieces(value), stream, 0, id);
            StreamAppend { stream, expected: Expected::None, subject, events }
        });
        // What is large is kept once, and not in memory.
        draft.fact = None;
        Some(id)
    });
}

fn pieces(value: &str) -> Vec<payload::Event> {
    let (mut pieces, mut rest) = (vec![], value);
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(rest.floor_char_boundary(PIECE));
        pieces.push(payload::Event::Kept { piece: piece.to_owned().into() });
        rest = more;
    }
    pieces
}

/// What stands behind the mark of the value whose pieces these are: it, in a list, or null if it was
/// erased.
pub(super) fn joined(id: Uuid, rows: &[Recorded]) -> Result<String, Error> {
    let mut listed = "[".to_owned();
    for row in rows {
        let payload::Event::Kept { piece } = decode(row)?;
        let Some(piece) = piece.known() else { return Ok("null".to_owned()) };
        listed.push_str(piece);
    }
    listed.push(']');
    match serde_json::from_str::<[&RawValue; 1]>(&listed) {
        Ok(_) => Ok(listed),
        Err(_) => Err(Error::Damaged(format!("the payload {id} is not whole"))),
    }
}

impl Key {
    /// What a value that is sealed under this key is called.
    fn name(&self, value: &[u8]) -> Uuid {
        let hash = mac(mac(self.ids.as_slice(), b"payload").as_slice(), value);
        let (first, _) = hash.split_first_chunk::<16>().expect("32 bytes are more than 16");
        uuid::Builder::from_custom_bytes(*first).into_uuid()
    }
}

/// An event's fields with their personal values, of which large ones stand beside, once for all events
/// that were read together.
#[derive(Debug, Clone)]
pub struct Opened {
    tenant: Id<Tenant>,
    body: Arc<str>,
    apart: Arc<Payloads>,
}

impl Opened {
    pub(crate) fn new(tenant: Id<Tenant>, body: impl Into<Arc<str>>) -> Self {
        Self { tenant, body: body.into(), apart: Arc::default() }
    }

    /// The streams of the large values in it.
    pub(super) fn large_streams(&self) -> impl Iterator<Item = StreamId> {
        scan::names(&self.body).map(|name| stream(self.tenant, name))
    }

    pub(super) fn with(&mut self, apart: &Arc<Payloads>) {
        self.apart = apart.clone();
    }

    fn large(&self, name: Uuid) -> Option<&str> {
        self.apart.get(&(self.tenant, name)).map(String::as_str)
    }

    /// How many bytes [`Self::whole`] has, more or less.
    pub(crate) fn size(&self) -> usize {
        if self.apart.is_empty() {
            return self.body.len();
        }
        let large = scan::names(&self.body).filter_map(|name| self.large(name));
        self.body.len() + large.map(str::len).sum::<usize>()
    }

    /// The fields with all their values.
    pub(crate) fn whole(&self) -> Cow<'_, str> {
        if self.apart.is_empty() {
            return Cow::Borrowed(&self.body);
        }
        Cow::Owned(scan::put_in(&self.body, |name| self.large(name)))
    }
}
