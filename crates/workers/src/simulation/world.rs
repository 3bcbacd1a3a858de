//! The world of one run: its log, its time, what is under way in it, and a record of what happened,
//! which is checked while it is made.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use connectors::egress::{EgressError, OutboundRequest, OutboundResponse};
use domain::execution::Ending;
use domain::scenario::NOON;
use domain::{Timestamp, policy};
use eventstore::{
    Append, Appended, Error, EventStore, Fence, MemoryEventStore, Position, Recorded, fact,
};
use futures::FutureExt;
use uuid::Uuid;

use super::chance::Chance;
use super::outside::Outside;
use super::planted::Bug;
use super::record::Record;
use crate::consumer::SLICES;
use crate::desk::WORK;

/// Where the answer to an errand is put.
pub(super) type Slot<T> = Arc<Mutex<Option<T>>>;

/// Something on its way from a worker to the log or to the outside. It may arrive long after whoever
/// sent it is dead.
pub(super) struct Errand {
    /// The worker, and which of its lives.
    pub(super) from: (usize, u32),
    pub(super) what: What,
}

pub(super) enum What {
    Append(Box<Append>, Slot<Result<Appended, Error>>),
    Fence(Vec<Fence>, Slot<Result<(), Error>>),
    Send(Box<Call>, Slot<Result<OutboundResponse, EgressError>>),
}

/// A request to the outside.
pub(super) struct Call {
    pub(super) request: OutboundRequest,
    /// The wait for which it is made, as the scheduler knows it.
    pub(super) wait: (Uuid, u32),
}

pub(super) struct World {
    pub(super) log: MemoryEventStore,
    pub(super) bug: Option<Bug>,
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) chance: Chance,
    /// What time it is by the database's clock.
    pub(super) now: Timestamp,
    /// Nothing goes wrong any more.
    pub(super) is_calm: bool,
    pub(super) errands: Vec<Errand>,
    /// Who is having a turn.
    pub(super) turn: (usize, u32),
    /// What for: the wait that is worked on, if one is.
    pub(super) wait: Option<(Uuid, u32)>,
    pub(super) record: Record,
    pub(super) outside: Outside,
    /// Events of each slice that a policy asks something because of, in order.
    pub(super) because: BTreeMap<i16, Vec<Recorded>>,
    /// The newest epochs that the log was told of.
    fences: HashMap<(&'static str, i16), i64>,
    /// Who told it of them, and knows that.
    holders: HashMap<(&'static str, i16), (usize, u32)>,
    head: Position,
    /// What each worker remembers of the log, in each of its lives.
    memories: HashMap<(usize, u32), Memory>,
    /// What happened, for people; nothing if nobody reads it.
    pub(super) trace: Option<Vec<String>>,
}

/// A stretch of the log that somebody remembers: what comes after one position, up to another. What they
/// know to be there may go further.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    pub(super) from: Position,
    pub(super) upto: Position,
    pub(super) known: Position,
}

impl World {
    pub(super) fn new(log: MemoryEventStore, chance: Chance, bug: Option<Bug>) -> Arc<Self> {
        let head = log.head().now_or_never().expect("it never waits").expect("a head");
        let state = State {
            chance,
            now: NOON,
            is_calm: false,
            errands: vec![],
            turn: (0, 0),
            wait: None,
            record: Record::default(),
            outside: Outside::default(),
            because: BTreeMap::new(),
            fences: HashMap::new(),
            holders: HashMap::new(),
            head,
            memories: HashMap::new(),
            trace: None,
        };
        Arc::new(Self { log, bug, state: Mutex::new(state) })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what happens, if anybody reads it.
    pub(super) fn say(&self, what: impl FnOnce() -> String) {
        self.state().say(what);
    }

    /// Sends something on its way and waits for the answer.
    pub(super) async fn ask<T>(&self, what: impl FnOnce(Slot<T>) -> What + Send) -> T {
        let slot = Slot::default();
        {
            let mut state = self.state();
            let from = state.turn;
            state.errands.push(Errand { from, what: what(slot.clone()) });
        }
        poll_fn(|_| {
            let answer = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            answer.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Lets others have their turn; whether what follows is to fail.
    pub(super) async fn pause(&self) -> Result<(), Error> {
        let mut is_first = true;
        poll_fn(|_| if std::mem::take(&mut is_first) { Poll::Pending } else { Poll::Ready(()) })
            .await;
        let mut state = self.state();
        if !state.is_calm && state.chance.one_in(60) {
            state.say(|| "  the log cannot be read".to_owned());
            return Err(failed());
        }
        Ok(())
    }

    /// Stores an append, and takes down what that did.
    pub(super) fn commit(&self, append: Append) -> Result<Appended, Error> {
        let fence = append.fence;
        let spoilt = Bug::spoil(self.bug, append);
        let done = self.log.append(spoilt).now_or_never().expect("it never waits");
        let mut state = self.state();
        let new = self.log.read(state.head, 1_000).now_or_never().expect("it never waits");
        for row in new.expect("rows") {
            state.note(&row, fence);
        }
        done
    }

    /// Tells the log of epochs.
    pub(super) fn fence(&self, fences: &[Fence]) -> Result<(), Error> {
        let mut state = self.state();
        for fence in fences {
            let newest = state.fences.entry((fence.lease, fence.slice)).or_default();
            *newest = (*newest).max(fence.epoch);
            state.holders.remove(&(fence.lease, fence.slice));
        }
        drop(state);
        self.log.fence(fences).now_or_never().expect("it never waits")
    }
}

impl State {
    /// What whoever is having a turn remembers; nothing if they were just born.
    pub(super) fn memory(&mut self) -> &mut Memory {
        let born = Memory { from: self.head, upto: self.head, known: self.head };
        self.memories.entry(self.turn).or_insert(born)
    }

    /// They remember what they appended, if it follows what they remember, and nothing any more if they
    /// do not know what became of it.
    pub(super) fn remember(&mut self, count: usize, done: &Result<Appended, Error>) {
        let memory = self.memory();
        match done {
            Ok(done) => {
                let follows = memory.upto + Position::try_from(count).expect("few");
                if done.position <= follows {
                    memory.upto = memory.upto.max(done.position);
                }
                memory.known = memory.known.max(done.position);
            }
            Err(_) => memory.from = memory.upto,
        }
    }

    /// Somebody has read the log to its end, as whoever follows it does.
    pub(super) fn read_on(&mut self, who: (usize, u32)) {
        (self.turn, self.wait) = (who, None);
        self.memory().upto = self.head;
    }

    /// A worker begins with a slice under an epoch.
    pub(super) fn begin(&mut self, fence: Fence, who: (usize, u32)) {
        if self.fences.get(&(fence.lease, fence.slice)) == Some(&fence.epoch) {
            self.holders.insert((fence.lease, fence.slice), who);
        }
    }

    /// A call is about to be made. Whoever has the slice, and nobody else since, sees whether it was
    /// answered before.
    pub(super) fn call(&mut self, (execution, wait): (Uuid, u32)) {
        let slice = (WORK.name, projections::partition(execution));
        let story = self.record.executions.get(&execution);
        let is_answered = story.and_then(|story| story.waits.get(&wait)).is_some_and(|waited| {
            matches!(
                waited.ending,
                Some(Ending::Succeeded | Ending::Failed(_) | Ending::Unknown(_))
            )
        });
        if is_answered && self.holders.get(&slice) == Some(&self.turn) {
            self.record.wrong(format!("the call of wait {wait} is made again after its answer"));
        }
    }

    pub(super) fn say(&mut self, what: impl FnOnce() -> String) {
        let now = self.now - NOON;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>8.3} s  {}", now.as_seconds_f64(), what()));
        }
    }

    /// Takes down an event that was just stored.
    fn note(&mut self, row: &Recorded, fence: Option<Fence>) {
        self.head += 1;
        if row.position != self.head {
            self.record.wrong(format!("position {} follows {}", row.position, self.head - 1));
        }
        if let Some(Fence { lease, slice, epoch }) = fence
            && self.fences.get(&(lease, slice)).is_some_and(|newest| epoch < *newest)
        {
            let wrong = format!("event {} was stored under {lease}/{slice}@{epoch}", row.position);
            self.record.wrong(format!("{wrong}, which somebody else has by now"));
        }
        let fact = match fact(row) {
            Ok(fact) => fact,
            Err(error) => return self.record.wrong(format!("event {}: {error}", row.position)),
        };
        let told = self.record.note(row, &fact, self.now);
        self.say(|| format!("  stored {:>3}: {told}", row.position));
        let (tenant, stream) = (row.meta.tenant, row.stream);
        let seen = policy::Seen { tenant, stream, event_id: row.id, fact: &fact };
        if policy::POLICIES.iter().any(|(_, policy)| !policy(&seen).is_empty()) {
            let slice = projections::partition(row.stream) % SLICES;
            self.because.entry(slice).or_default().push(row.clone());
        }
    }
}

/// What a database says that went away.
pub(super) fn failed() -> Error {
    Error::from(sqlx::Error::WorkerCrashed)
}
