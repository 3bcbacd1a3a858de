//! The write side of the platform: load, decide, append.

use domain::{Aggregate, Id, Kind, Refusal, Tenant};

use crate::codec::{decode, drafts};
use crate::{
    Answered, Append, CommandKey, Error, EventStore, Expected, Metadata, Position, Reply,
    StreamAppend, StreamId, Version,
};

/// How often a command is decided anew because somebody else was faster.
const ATTEMPTS: usize = 5;

/// The circumstances of a command.
pub struct Request<'a, A> {
    /// Who, for whom, when and because of what.
    pub meta: Metadata,
    /// The version the aggregate must have, if the caller insists on one.
    pub if_match: Option<Version>,
    /// The answer to keep, if the caller may send the command again.
    pub reply: Option<Keyed<'a, A>>,
}

impl<A> Request<'_, A> {
    /// A command that is sent once, whatever the version.
    #[must_use]
    pub fn new(meta: Metadata) -> Self {
        Self { meta, if_match: None, reply: None }
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
///
/// What is not there cannot be stale: a refusal that says so comes before `if_match`, so that
/// another tenant's aggregate answers exactly like an unknown one.
#[tracing::instrument(skip_all, fields(aggregate = A::NAME, %id))]
pub async fn execute<A: Aggregate>(
    store: &dyn EventStore,
    id: Id<A>,
    command: &A::Command,
    request: &Request<'_, A>,
) -> Result<Executed<A>, ExecuteError<A::Refusal>> {
    if let Some(answer) = answer(store, request).await? {
        return Err(answer);
    }
    let stream = StreamId::of(request.meta.tenant, id);
    let mut attempt = 1;
    loop {
        let loaded = History::load(store, stream).await?;
        match once(store, stream, loaded, command, request).await {
            Err(ExecuteError::Store(Error::Conflict { .. })) if attempt < ATTEMPTS => attempt += 1,
            Err(ExecuteError::Store(Error::KeyUsed)) => {
                let answer = answer(store, request).await?;
                return Err(answer.unwrap_or(ExecuteError::Store(Error::KeyUsed)));
            }
            done => return done,
        }
    }
}

/// The state of an aggregate and its version, 0 if it has no events.
pub async fn load<A: Aggregate>(
    store: &dyn EventStore,
    tenant: Id<Tenant>,
    id: Id<A>,
) -> Result<(A, Version), Error> {
    let History { state, version, .. } = History::load(store, StreamId::of(tenant, id)).await?;
    Ok((state, version))
}

/// What a stream tells.
struct History<A> {
    state: A,
    version: Version,
    position: Position,
}

impl<A: Aggregate> History<A> {
    async fn load(store: &dyn EventStore, stream: StreamId) -> Result<Self, Error> {
        let mut history = Self { state: A::default(), version: 0, position: 0 };
        for row in store.load(stream, 0).await? {
            history.state.evolve(&decode(&row)?);
            history.version = row.version;
            history.position = row.position;
        }
        Ok(history)
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

async fn once<A: Aggregate>(
    store: &dyn EventStore,
    stream: StreamId,
    history: History<A>,
    command: &A::Command,
    request: &Request<'_, A>,
) -> Result<Executed<A>, ExecuteError<A::Refusal>> {
    let events = decide(&history, command, request)?;
    let History { mut state, version, position } = history;
    for event in &events {
        state.evolve(event);
    }
    let changed = !events.is_empty();
    if !changed && request.reply.is_none() {
        return Ok(Executed { state, version, position, changed });
    }
    let reply = request.reply.as_ref().map(|keyed| (keyed.key.clone(), (keyed.reply)(&state)));
    let append = Append {
        meta: request.meta.clone(),
        streams: vec![StreamAppend {
            stream,
            expected: Expected::At(version),
            events: drafts(&events, stream, version, request.meta.causation),
        }],
        reply,
    };
    let appended = store.append(append).await?;
    let version = appended.versions.first().copied().unwrap_or(version);
    Ok(Executed { state, version, position: appended.position, changed })
}

fn decide<A: Aggregate>(
    history: &History<A>,
    command: &A::Command,
    request: &Request<'_, A>,
) -> Result<Vec<A::Event>, ExecuteError<A::Refusal>> {
    let decided = history.state.decide(command, request.meta.at);
    let absent = decided.as_ref().is_err_and(|refusal| refusal.kind() == Kind::NotFound);
    if !absent && request.if_match.is_some_and(|version| version != history.version) {
        return Err(ExecuteError::Stale { actual: history.version });
    }
    decided.map_err(ExecuteError::Refused)
}
