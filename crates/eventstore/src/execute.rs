//! The write side of the platform: load, decide, append.

use std::iter;
use std::sync::Arc;

use domain::{Aggregate, Event, FOLD, Fact, Id, Kind, Refusal, Tenant};

use crate::ahead::like;
use crate::codec::{decode, drafts, is_read_as_said};
use crate::{
    Answered, Append, CommandKey, Error, EventStore, Expected, Fence, Metadata, Position, Recorded,
    Reply, Snapshot, StreamAppend, StreamId, Version,
};

/// How often a command is decided anew because somebody else was faster.
const ATTEMPTS: usize = 10;

/// How many events of a stream are loaded at once, at most, and how many lie between two snapshots.
const PAGE: usize = 500;

/// How many are loaded first: until some have come nobody knows how large they are.
const FIRST: usize = 50;

/// How many bytes of events lie between two snapshots, if they are reached before as many events: what
/// is behind the last one is read whenever the state is needed. Twice as many as the last snapshot has in
/// any case, so that large states are not written again and again.
const FAR: usize = 1 << 20;

/// The circumstances of a command.
pub struct Request<'a, A> {
    /// Who, for whom, when and because of what.
    pub meta: Metadata,
    /// The version the aggregate must have, if the caller insists on one.
    pub if_match: Option<Version>,
    /// The answer to keep, if the caller may send the command again.
    pub reply: Option<Keyed<'a, A>>,
    /// On behalf of which slice of shared work it is carried out, if of one.
    pub fence: Option<Fence>,
    /// Other streams on which it was decided, with the versions that they had: what follows is only
    /// stored if they still have them.
    pub given: Vec<(StreamId, Version)>,
}

impl<A> Request<'_, A> {
    /// A command that is sent once, whatever the version.
    #[must_use]
    pub fn new(meta: Metadata) -> Self {
        Self { meta, if_match: None, reply: None, fence: None, given: vec![] }
    }

    /// The same on behalf of a slice of shared work.
    #[must_use]
    pub fn under(self, fence: Fence) -> Self {
        Self { fence: Some(fence), ..self }
    }

    fn is_given(&self, stream: StreamId) -> bool {
        self.given.iter().any(|(given, _)| *given == stream)
    }

    /// What other streams must look like, to which nothing is added.
    fn given(&self) -> impl Iterator<Item = StreamAppend> {
        self.given.iter().map(|(stream, version)| StreamAppend {
            stream: *stream,
            expected: Expected::At(*version),
            subject: None,
            events: vec![],
        })
    }
}

/// An idempotency key and the answer that is stored under it with the events.
pub struct Keyed<'a, A> {
    /// The key.
    pub key: CommandKey,
    /// Makes the answer from the state after the events.
    pub reply: &'a (dyn Fn(&A) -> Reply + Send + Sync),
}

/// A command that was carried out.
#[derive(Debug)]
pub struct Executed<A> {
    /// The state after it.
    pub state: A,
    /// The version after it.
    pub version: Version,
    /// The position from which on a reader sees the state; 0 if nothing ever happened.
    pub position: Position,
    /// Whether anything was added; `false` for "already so".
    pub changed: bool,
}

/// How a command can end without being carried out.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError<R> {
    /// A rule said no.
    #[error(transparent)]
    Refused(R),
    /// The aggregate does not have the version that the caller insists on.
    #[error("the version is {actual}")]
    Stale {
        /// The version it has.
        actual: Version,
    },
    /// Another stream on which it was decided has changed since; nothing was stored.
    #[error("what the command was decided on has changed")]
    Outdated,
    /// The command was answered before; this is the answer.
    #[error("the command was answered before")]
    Replayed(Answered),
    /// The idempotency key belongs to another command.
    #[error("the idempotency key was used for another command")]
    KeyReused,
    /// The store failed, or was contended for too long.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Loads `id`, decides `command`, appends what follows with the answer to it.
pub async fn execute<A: Aggregate>(
    store: &dyn EventStore,
    id: Id<A>,
    command: &A::Command,
    request: &Request<'_, A>,
) -> Result<Executed<A>, ExecuteError<A::Refusal>> {
    let mut held = Held::new(request.meta.tenant, id);
    let changed = held.execute(store, command, request).await?;
    let Held { state, version, position, .. } = held;
    Ok(Executed { state, version, position, changed })
}

/// The state of an aggregate and its version, 0 if it has no events.
pub async fn load<A: Aggregate>(
    store: &dyn EventStore,
    tenant: Id<Tenant>,
    id: Id<A>,
) -> Result<(A, Version), Error> {
    let mut held = Held::new(tenant, id);
    held.catch_up(store).await?;
    Ok((held.state, held.version))
}

/// An aggregate as far as its stream has been read. Whoever keeps one reads every event once; the
/// log stays the authority, because what is appended names the version that it was decided on.
#[derive(Debug)]
pub struct Held<A: Aggregate> {
    stream: StreamId,
    /// The state at `version`.
    pub state: A,
    /// The version, 0 before the first event.
    pub version: Version,
    /// Position of the event that made this version.
    pub position: Position,
    /// What the last command added, as far as it is facts.
    pub added: Vec<Arc<Fact>>,
    /// The version of the last snapshot that was kept or found, and its size.
    kept: (Version, usize),
    /// How many bytes of events have come since.
    since: usize,
    /// Whether nothing is read before the next command is decided.
    is_trusted: bool,
}

impl<A: Aggregate> Held<A> {
    /// An aggregate of which nothing has been read yet.
    #[must_use]
    pub fn new(tenant: Id<Tenant>, id: Id<A>) -> Self {
        let stream = StreamId::of(tenant, id);
        Self {
            stream,
            state: A::default(),
            version: 0,
            position: 0,
            added: vec![],
            kept: (0, 0),
            since: 0,
            is_trusted: false,
        }
    }

    /// An aggregate whose id was just made, so that nothing can have happened to it: nothing is
    /// read before something does.
    #[must_use]
    pub fn unborn(tenant: Id<Tenant>, id: Id<A>) -> Self {
        Self { is_trusted: true, ..Self::new(tenant, id) }
    }

    /// Takes it for current: the next command is decided on it as it is. If it has moved on, the
    /// append finds out; only then, or if nothing would come of the command, its events are read.
    pub fn trust(&mut self) {
        self.is_trusted = true;
    }

    /// An aggregate that was read up to a version.
    pub(crate) fn at(tenant: Id<Tenant>, id: Id<A>, state: A, version: Version) -> Self {
        Self { state, version, kept: (version, 0), ..Self::new(tenant, id) }
    }

    /// Reads what has happened since.
    pub async fn catch_up(&mut self, store: &dyn EventStore) -> Result<(), Error> {
        let mut limit = FIRST;
        loop {
            let rows = store.load(self.stream, self.version, limit).await?;
            let is_full = rows.len() == limit;
            limit = like(&rows).clamp(FIRST, PAGE);
            // Short streams, which are nearly all, cost no look for a snapshot.
            if is_full && self.version == 0 && self.resume(store, &rows).await? {
                continue;
            }
            self.take_in(&rows)?;
            if !is_full {
                self.keep(store).await;
                return Ok(());
            }
        }
    }

    /// Takes in what this process remembers to have happened since; whether it remembers everything up
    /// to a position. See [`EventStore::recall`].
    pub async fn recall(&mut self, store: &dyn EventStore, upto: Position) -> Result<bool, Error> {
        let Some(recalled) = store.recall(self.stream, self.version).await? else {
            return Ok(false);
        };
        self.take_in(&recalled.events)?;
        Ok(recalled.upto >= upto)
    }

    fn take_in(&mut self, rows: &[Recorded]) -> Result<(), Error> {
        for row in rows {
            match row.fact.as_deref().and_then(A::Event::in_fact) {
                Some(event) => self.state.evolve(event),
                None => self.state.evolve(&decode(row)?),
            }
            self.version = row.version;
            self.position = row.position;
            self.since += row.size();
        }
        Ok(())
    }

    /// Goes on from a snapshot behind the events that were read, if there is one that fits.
    async fn resume(&mut self, store: &dyn EventStore, read: &[Recorded]) -> Result<bool, Error> {
        let Some(snapshot) = store.snapshot(self.stream, FOLD).await? else { return Ok(false) };
        let behind = read.last().is_none_or(|row| row.version < snapshot.version);
        let text = str::from_utf8(&snapshot.state).ok();
        let Some(state) = text.filter(|_| behind).and_then(A::restore) else { return Ok(false) };
        // It is only of use if it is of this very history.
        let Some(row) = self.event(store, snapshot.version).await? else { return Ok(false) };
        if row.id != snapshot.event {
            return Ok(false);
        }
        (self.state, self.version, self.position) = (state, row.version, row.position);
        (self.kept, self.since) = ((row.version, snapshot.state.len()), 0);
        Ok(true)
    }

    /// Keeps a snapshot if the last one is far behind. What goes wrong with that hurts nobody.
    async fn keep(&mut self, store: &dyn EventStore) {
        let (kept, size) = self.kept;
        let count = usize::try_from(self.version.saturating_sub(kept)).unwrap_or(0);
        let is_far = count >= PAGE || count >= FIRST && self.since >= FAR.max(2 * size);
        if is_far && let Some(state) = self.state.snapshot() {
            (self.kept, self.since) = ((self.version, state.len()), 0);
            if let Err(error) = self.store_snapshot(store, state).await {
                tracing::warn!(%error, stream = %self.stream.id, "a snapshot was not kept");
            }
        }
    }

    async fn store_snapshot(&self, store: &dyn EventStore, state: String) -> Result<(), Error> {
        let Some(row) = self.event(store, self.version).await? else { return Ok(()) };
        let snapshot = Snapshot {
            fold: FOLD.to_owned(),
            version: self.version,
            event: row.id,
            subject: self.state.subject(),
            state: state.into_bytes(),
        };
        store.keep(self.stream, snapshot).await
    }

    /// The event that made a version.
    async fn event(
        &self,
        store: &dyn EventStore,
        version: Version,
    ) -> Result<Option<Recorded>, Error> {
        Ok(store.load(self.stream, version - 1, 1).await?.pop())
    }

    /// Catches up, decides `command`, appends what follows with the answer to it; whether
    /// anything was added.
    ///
    /// What is not there cannot be stale: a refusal that says so comes before `if_match`, so that
    /// another tenant's aggregate answers exactly like an unknown one.
    #[tracing::instrument(skip_all, fields(aggregate = A::NAME, id = %self.stream.id))]
    pub async fn execute(
        &mut self,
        store: &dyn EventStore,
        command: &A::Command,
        request: &Request<'_, A>,
    ) -> Result<bool, ExecuteError<A::Refusal>> {
        if let Some(answer) = answer(store, request).await? {
            return Err(answer);
        }
        let mut attempt = 1;
        loop {
            // If it has moved on nevertheless the append is refused, and the next attempt looks.
            let trusted = std::mem::take(&mut self.is_trusted);
            if !trusted {
                self.catch_up(store).await?;
            }
            match self.once(store, command, request).await {
                Ok(false) | Err(ExecuteError::Refused(_)) if trusted => {}
                Err(ExecuteError::Store(Error::Conflict { stream, .. }))
                    if stream != self.stream && request.is_given(stream) =>
                {
                    return Err(ExecuteError::Outdated);
                }
                Err(ExecuteError::Store(Error::Conflict { .. })) if attempt < ATTEMPTS => {
                    attempt += 1;
                }
                // The same command, sent at the same time, may have been carried out meanwhile:
                // then its answer counts, not what it left for this one to find.
                Err(error) if request.reply.is_some() => {
                    return Err(answer(store, request).await?.unwrap_or(error));
                }
                done => return done,
            }
        }
    }

    async fn once(
        &mut self,
        store: &dyn EventStore,
        command: &A::Command,
        request: &Request<'_, A>,
    ) -> Result<bool, ExecuteError<A::Refusal>> {
        let events = self.decide(command, request)?;
        if events.is_empty() && request.reply.is_none() {
            self.added.clear();
            return Ok(false);
        }
        // The answer is that of the state after the events; until they are stored nobody else may
        // see that state.
        let mut after = self.state.clone();
        for event in &events {
            after.evolve(event);
        }
        let mut drafts = drafts(&events, self.stream, self.version, request.meta.causation);
        for (draft, event) in drafts.iter_mut().zip(events) {
            draft.fact = event.into_fact().map(Arc::new);
            debug_assert!(is_read_as_said::<A::Event>(draft), "{draft:?}");
        }
        let facts: Vec<_> = drafts.iter().filter_map(|draft| draft.fact.clone()).collect();
        let is_changed = !drafts.is_empty();
        let size: usize = drafts.iter().map(|draft| draft.body.len()).sum();
        let added = StreamAppend {
            stream: self.stream,
            expected: Expected::At(self.version),
            subject: after.subject(),
            events: drafts,
        };
        let append = Append {
            meta: request.meta.clone(),
            streams: iter::once(added).chain(request.given()).collect(),
            reply: request.reply.as_ref().map(|keyed| (keyed.key.clone(), (keyed.reply)(&after))),
            fence: request.fence,
        };
        let appended = store.append(append).await?;
        self.state = after;
        self.version = appended.versions.first().copied().unwrap_or(self.version);
        self.position = appended.position;
        self.since += size;
        self.keep(store).await;
        self.added = facts;
        Ok(is_changed)
    }

    fn decide(
        &self,
        command: &A::Command,
        request: &Request<'_, A>,
    ) -> Result<Vec<A::Event>, ExecuteError<A::Refusal>> {
        let decided = self.state.decide(command, request.meta.at);
        let absent = decided.as_ref().is_err_and(|refusal| refusal.kind() == Kind::NotFound);
        if !absent && request.if_match.is_some_and(|version| version != self.version) {
            return Err(ExecuteError::Stale { actual: self.version });
        }
        decided.map_err(ExecuteError::Refused)
    }
}

/// What was answered under the request's key, if it has one and it was used.
async fn answer<A: Aggregate>(
    store: &dyn EventStore,
    request: &Request<'_, A>,
) -> Result<Option<ExecuteError<A::Refusal>>, Error> {
    let Some(Keyed { key, .. }) = &request.reply else { return Ok(None) };
    let answered = store.answered(request.meta.tenant, key.principal, &key.key).await?;
    Ok(answered.map(|answered| {
        if answered.fingerprint == key.fingerprint {
            ExecuteError::Replayed(answered)
        } else {
            ExecuteError::KeyReused
        }
    }))
}
