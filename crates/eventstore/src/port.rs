//! The port: what the log takes in and gives out, without saying how it is kept.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::subject::Subject;
use domain::{Actor, Aggregate, Fact, Id, Tenant, Timestamp};
use serde_json::value::RawValue;
use tokio::sync::watch;
use uuid::Uuid;

use crate::Priority;
use crate::personal::{self, Opened};

/// Place of an event in its stream, from 1; 0 is "no events yet".
pub type Version = i64;
/// Place of an event in the log as a whole, from 1, without gaps and in the order of commits.
pub type Position = i64;

/// Names a stream: whose, which sort of aggregate, and which one.
///
/// The tenant is part of the name, so another tenant's aggregate is simply not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    /// Whose it is.
    pub tenant: Id<Tenant>,
    /// The aggregate's category.
    pub category: &'static str,
    /// Which one.
    pub id: Uuid,
}

impl StreamId {
    /// The stream of aggregate `id` of `tenant`.
    #[must_use]
    pub fn of<A: Aggregate>(tenant: Id<Tenant>, id: Id<A>) -> Self {
        Self { tenant, category: A::NAME, id: id.as_uuid() }
    }
}

/// Who, for whom, when and because of what; the same for all events of one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Whose data this is.
    pub tenant: Id<Tenant>,
    /// Who did it.
    pub actor: Actor,
    /// What all events of one story share: the request that began it.
    pub correlation: Uuid,
    /// The command or the event that led to this; event ids are derived from it.
    pub causation: Uuid,
    /// W3C Trace Context of the request, if it had one.
    pub traceparent: Option<String>,
    /// When it was decided.
    pub at: Timestamp,
}

/// An event about to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Its identity: the same command deciding the same again gives the same ids.
    pub id: Uuid,
    /// Stored name.
    pub name: String,
    /// Schema version of `body`.
    pub schema: u16,
    /// The event's own fields, as JSON.
    pub body: String,
    /// The same with their personal values, if those are sealed in `body`; it is not stored.
    pub opened: Option<Arc<str>>,
    /// What it says, if whoever stores it has said it just now; it is not stored.
    pub fact: Option<Arc<Fact>>,
}

/// An event as it was stored.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The name of the installation whose log it is in.
    pub deployment: Arc<str>,
    /// Place in the log.
    pub position: Position,
    /// Its identity.
    pub id: Uuid,
    /// Category of its stream.
    pub category: String,
    /// Its stream.
    pub stream: Uuid,
    /// Place in its stream.
    pub version: Version,
    /// Stored name.
    pub name: String,
    /// Schema version of `body`.
    pub schema: u16,
    /// Random bytes that are hashed before the body, so that the hash tells nobody what it says.
    pub salt: [u8; 32],
    /// The event's own fields, as they are stored and hashed: personal values are sealed.
    pub body: Box<RawValue>,
    /// The fields with their personal values, if those are sealed in `body` and this was read with
    /// the keys.
    pub opened: Option<Opened>,
    /// What it says, if this process has said it: [`crate::fact`] need not read it.
    pub fact: Option<Arc<Fact>>,
    /// Its circumstances.
    pub meta: Metadata,
    /// When it was stored, by the store's clock: never before that of the event before it. Events of
    /// releases that did not note it have none.
    pub recorded_at: Option<Timestamp>,
}

impl Recorded {
    /// The event's own fields as JSON, as far as the reader may know them.
    #[must_use]
    pub fn data(&self) -> Cow<'_, str> {
        self.opened.as_ref().map_or(Cow::Borrowed(self.body.get()), Opened::whole)
    }

    /// How many bytes [`Self::data`] has, more or less.
    #[must_use]
    pub fn size(&self) -> usize {
        self.opened.as_ref().map_or(self.body.get().len(), Opened::size)
    }

    /// Whose data its personal values are; none for nobody in particular, and if it has none.
    #[must_use]
    pub fn subject(&self) -> Option<Id<Subject>> {
        personal::subject(self)
    }
}

/// Which events a reader wants: all of them, unless it says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those of this tenant.
    pub tenant: Option<Id<Tenant>>,
    /// Only those of these categories.
    pub categories: Option<Vec<&'static str>>,
}

impl Filter {
    /// Whether an event is wanted.
    #[must_use]
    pub fn wants(&self, event: &Recorded) -> bool {
        self.tenant.is_none_or(|tenant| tenant == event.meta.tenant)
            && self.categories.as_ref().is_none_or(|some| some.contains(&event.category.as_str()))
    }

    /// Whether every event is wanted.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }
}

/// What a reader finds in a piece of the log.
#[derive(Debug)]
pub struct Stretch {
    /// The events that it wants, in order.
    pub events: Vec<Recorded>,
    /// The piece ends here: whatever stands before it was looked at.
    pub upto: Position,
}

/// What a process remembers of a stream.
#[derive(Debug)]
pub struct Recalled {
    /// Its events after a version, in order.
    pub events: Vec<Recorded>,
    /// Up to this position of the log there are no others.
    pub upto: Position,
}

/// A state that was kept so that its stream need not be folded from the beginning. It is a
/// convenience and never the truth: without any, everything is as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Names the code that made it and that alone can read it: [`domain::FOLD`].
    pub fold: String,
    /// The version of the stream that it is the state of.
    pub version: Version,
    /// The event that made this version.
    pub event: Uuid,
    /// Whose data it has; none for nobody in particular.
    pub subject: Option<Id<Subject>>,
    /// The state.
    pub state: Vec<u8>,
}

impl Snapshot {
    /// Whether another one of the same stream is to be kept instead.
    pub(crate) fn replaced_by(&self, other: &Self) -> bool {
        self.fold != other.fold || self.version < other.version
    }
}

/// What a stream must look like for an append to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Anything goes.
    Any,
    /// It has no events.
    None,
    /// It has at least one event.
    Exists,
    /// It has exactly this many.
    At(Version),
}

/// Events for one stream.
#[derive(Debug, Clone)]
pub struct StreamAppend {
    /// The stream.
    pub stream: StreamId,
    /// What it must look like.
    pub expected: Expected,
    /// Whose data the personal values in it are; none for nobody in particular.
    pub subject: Option<Id<Subject>>,
    /// What is added, in order; may be empty, then only `expected` is judged.
    pub events: Vec<Draft>,
}

/// The right to act on behalf of a slice of work that is shared out, for as long as nobody else was
/// given the slice: a fencing token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// What is shared out.
    pub lease: &'static str,
    /// Which slice of it.
    pub slice: i16,
    /// The time for which it was given; a later one has a higher number.
    pub epoch: i64,
}

/// One append: events for one or more streams, and the answer to the command that caused them.
/// All of it is stored, or none.
#[derive(Debug, Clone)]
pub struct Append {
    /// Circumstances of all the events.
    pub meta: Metadata,
    /// The streams, each at most once.
    pub streams: Vec<StreamAppend>,
    /// The idempotency key of the command with the answer to give to whoever repeats it.
    pub reply: Option<(CommandKey, Reply)>,
    /// On behalf of which slice, if of one: it is stored only if that is still whose it was.
    pub fence: Option<Fence>,
}

/// An append that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Position of the last event of the append; of the whole log when nothing was added.
    pub position: Position,
    /// The version each stream now has, in the order of the append.
    pub versions: Vec<Version>,
}

/// Names a command that a client may send more than once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandKey {
    /// Who sent it: keys of different callers never meet.
    pub principal: Uuid,
    /// The client's `Idempotency-Key`, with method and route before it.
    pub key: String,
    /// SHA-256 over method, path and body: tells a repetition from a mistake.
    pub fingerprint: [u8; 32],
}

/// The answer to a command, kept for whoever repeats it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Where the thing that was made is found, if one was.
    pub location: Option<String>,
    /// The body.
    pub body: String,
}

/// A stored [`Reply`] with what the append gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Fingerprint of the command that was answered.
    pub fingerprint: [u8; 32],
    /// The answer.
    pub reply: Reply,
    /// Position of its append.
    pub position: Position,
    /// Version of the first stream after its append; 0 if there was none.
    pub version: Version,
}

/// How the store can fail.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A stream does not look as expected; load again and decide again.
    #[error("the stream has moved on")]
    Conflict {
        /// Which stream.
        stream: StreamId,
        /// The version it has.
        actual: Version,
    },
    /// The idempotency key was used before: ask [`EventStore::answered`] for the answer.
    #[error("the idempotency key was used before")]
    KeyUsed,
    /// The slice on whose behalf this was is somebody else's by now: nothing was stored, and nothing
    /// is to be done about it here.
    #[error("slice {} of {} was given to somebody else", .0.slice, .0.lease)]
    Fenced(Fence),
    /// Too much for one event or one append.
    #[error("{what} of {size} exceeds the limit of {limit}")]
    TooLarge {
        /// What is too large, with its unit.
        what: &'static str,
        /// How large it is.
        size: usize,
        /// How large it may be.
        limit: usize,
    },
    /// A stored body does not fit its event type, even after upcasting.
    #[error("cannot read {name} v{version}")]
    Decode {
        /// Stored name of the event.
        name: String,
        /// Its stored schema version.
        version: u16,
        /// What serde said.
        source: serde_json::Error,
    },
    /// An event that a newer release wrote: this release must not act on its stream.
    #[error("{name} v{version} was written by a newer release")]
    Newer {
        /// Stored name of the event.
        name: String,
        /// Its stored schema version.
        version: u16,
    },
    /// The log breaks its own promise; nothing may go on from here.
    #[error("the log is damaged: {0}")]
    Damaged(String),
    /// A file of archived events cannot be read: it is not there, or not what it was.
    #[error("the archive {path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// More is waiting to be stored than may wait; nothing of this append was.
    #[error("the log has more to store than it can take in")]
    Busy {
        /// When to come back.
        retry_after: Duration,
    },
    /// The database failed. An append may have been stored nevertheless; sending it again does no
    /// harm.
    #[error("the database failed")]
    Database(#[source] Arc<sqlx::Error>),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}

/// The log: events in streams, in one order.
///
/// Every implementation passes [`crate::conformance`].
#[async_trait]
pub trait EventStore: Send + Sync {
    /// Adds events, all or none.
    ///
    /// Appending event ids that already stand at the expected place is success, not a duplicate.
    async fn append(&self, append: Append) -> Result<Appended, Error>;

    /// From now on, appends on behalf of these slices are stored under these epochs only. A slice
    /// that has a later epoch already keeps it.
    async fn fence(&self, fences: &[Fence]) -> Result<(), Error>;

    /// The answer that was stored under this principal and key, if one was.
    async fn answered(
        &self,
        tenant: Id<Tenant>,
        principal: Uuid,
        key: &str,
    ) -> Result<Option<Answered>, Error>;

    /// At most `limit` events of one stream after `after`, in order. Fewer than `limit` means that
    /// the end of the stream was reached.
    async fn load(
        &self,
        stream: StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Recorded>, Error>;

    /// The version of a stream, 0 if it has no events: what was appended before this was asked for
    /// is counted. Costs less than loading nothing, the more so the more is asked for at once.
    async fn version(&self, stream: StreamId) -> Result<Version, Error>;

    /// The events of a stream after a version as this process remembers them, without a question to the
    /// store; nothing unless these are all up to the newest position that it has heard of ([`Self::watch`]).
    /// What it appended itself is among them; what others have appended in the last moments may be
    /// missing: this is for those who find that out in another way, or to whom it makes no difference.
    async fn recall(&self, _: StreamId, _: Version) -> Result<Option<Recalled>, Error> {
        Ok(None)
    }

    /// The newest snapshot of a stream that this fold has made, if one was kept.
    async fn snapshot(&self, stream: StreamId, fold: &str) -> Result<Option<Snapshot>, Error>;

    /// Keeps a snapshot in place of an older one.
    async fn keep(&self, stream: StreamId, snapshot: Snapshot) -> Result<(), Error>;

    /// At most `limit` events of all streams after `after`, in order. Fewer than `limit` means
    /// that the end of the log was reached.
    async fn read(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, Error>;

    /// The streams that got the events after `after` up to `upto`, each at least once. Of events that
    /// left the table long ago it may say nothing: for whoever follows the end of the log.
    async fn streams(&self, after: Position, upto: Position) -> Result<Vec<Uuid>, Error>;

    /// At most `limit` of the events after `after` that pass a filter, in order. An empty stretch
    /// that ends after `after` has none of them, and the log may go on behind it; one that ends at
    /// `after` says that the log does.
    ///
    /// A hole in the log is seen by those who read all of it, not by those who filter.
    async fn select(
        &self,
        filter: &Filter,
        after: Position,
        limit: usize,
    ) -> Result<Stretch, Error>;

    /// Position of the last event; 0 for an empty log.
    async fn head(&self) -> Result<Position, Error>;

    /// Whose stream this is. For callers who hold an id that is itself the secret or that a
    /// signature proves, such as webhook endpoints; nobody else may ask.
    async fn tenant_of(
        &self,
        category: &'static str,
        id: Uuid,
    ) -> Result<Option<Id<Tenant>>, Error>;

    /// Whether a tenant may begin something new: [`Error::Busy`] if appends wait for long, and those of
    /// this tenant are the reason; the less urgent it is, the sooner. What was begun is appended in any
    /// case.
    fn admit(&self, _: Id<Tenant>, _: Priority) -> Result<(), Error> {
        Ok(())
    }

    /// Tells the newest position known to this process, as it grows: by appends of this process
    /// at once, by those of others as soon as they are heard of.
    fn watch(&self) -> watch::Receiver<Position>;
}
