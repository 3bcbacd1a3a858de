//! One run: what is started, and a scheduler that decides what happens next, by chance alone, until
//! it has had enough and lets everything come to its end.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use domain::Aggregate as _;
use domain::execution::Execution;
use domain::scenario::NOON;
use eventstore::{Error, Fence, MemoryEventStore};
use uuid::Uuid;

use super::chance::Chance;
use super::documents::{Document, TOP};
use super::house::{House, tenant};
use super::outside::VARIANTS;
use super::planted::Bug;
use super::record::{Waited, short};
use super::worker::{Outcome, Worker};
use super::world::{What, World, failed};
use crate::agenda::{Item, Key};
use crate::carry::{Carried, Failed};
use crate::desk::WORK;
use crate::leases::Divided;
use crate::react::POLICIES;

/// How many workers there are, and one process that answers clients.
pub(super) const WORKERS: usize = 3;
pub(super) const API: usize = WORKERS;

/// Something that is started.
pub(super) struct Started {
    pub(super) document: &'static Document,
    pub(super) n: u64,
    /// Whether a client was told that it is.
    pub(super) is_known: bool,
    pub(super) is_asked: bool,
    /// Whether a client wants to cancel it.
    pub(super) is_unwanted: bool,
}

pub(super) struct Run<'a> {
    pub(super) house: &'a House,
    pub(super) world: Arc<World>,
    pub(super) workers: Vec<Worker>,
    pub(super) started: Vec<Started>,
    /// Who was given each slice last, under which epoch.
    pub(super) grants: BTreeMap<(&'static str, i16), (usize, i64)>,
    /// How many of the events of each slice that policies care about are done.
    pub(super) done: BTreeMap<i16, usize>,
}

impl<'a> Run<'a> {
    /// A run of certain executions, the one under `n` of `document` each.
    pub(super) fn new(
        house: &'a House,
        chance: Chance,
        bug: Option<Bug>,
        what: &[(&'static Document, u64, bool)],
    ) -> Self {
        let log = MemoryEventStore::default();
        house.furnish(&log);
        let world = World::new(log, chance, bug);
        let workers = (0..=WORKERS).map(|number| Worker::new(number, house, &world)).collect();
        let started = what.iter().map(|&(document, n, is_unwanted)| Started {
            document,
            n,
            is_known: false,
            is_asked: false,
            is_unwanted,
        });
        let (grants, done) = (BTreeMap::new(), BTreeMap::new());
        Self { house, world, workers, started: started.collect(), grants, done }
    }

    pub(super) fn below(&self, most: usize) -> usize {
        self.world.state().chance.below(most)
    }

    pub(super) fn one_in(&self, times: usize) -> bool {
        self.world.state().chance.one_in(times)
    }

    /// Gives a job its turn and draws the consequences.
    pub(super) fn turn(&mut self, worker: usize, job: usize) {
        let Some(outcome) = self.workers[worker].turn(job, &self.world) else { return };
        match outcome {
            Outcome::Carried(item, Ok(carried)) => {
                let next = match carried {
                    Carried::Done(opened) => opened,
                    Carried::Later => vec![],
                };
                let (stream, number) = (short(item.key.stream), item.key.item);
                self.say(worker, || format!("is done with wait {number} of {stream}"));
                for item in next {
                    self.workers[worker].agenda.put(item);
                }
            }
            Outcome::Carried(item, Err(Failed { error, done })) => {
                let (stream, number) = (short(item.key.stream), item.key.item);
                self.say(worker, || format!("failed at wait {number} of {stream}: {error}"));
                if let Some(done) = done.filter(|_| !error.is_fenced()) {
                    self.workers[worker].unnoted.insert(item.key, done);
                }
            }
            Outcome::Reacted(fence, Ok(())) => {
                // The checkpoint is a row of the lease's own, so that it knows the newest epoch.
                let granted = self.grants.get(&(fence.lease, fence.slice));
                if granted.is_some_and(|(_, epoch)| *epoch == fence.epoch) {
                    *self.done.entry(fence.slice).or_default() += 1;
                }
                self.say(worker, || format!("has followed an event of slice {}", fence.slice));
            }
            Outcome::Reacted(fence, Err(error)) => {
                self.say(worker, || {
                    format!("failed at an event of slice {}: {error}", fence.slice)
                });
            }
            Outcome::Fenced(fence, Ok(since)) => {
                self.say(worker, || format!("begins with {fence:?}"));
                let life = self.workers[worker].life;
                self.world.state().begin(fence, (worker, life));
                let is_careless = self.world.bug == Some(Bug::OldMemories);
                self.workers[worker].believe(fence, if is_careless { 0 } else { since });
            }
            Outcome::Fenced(fence, Err(error)) => {
                self.say(worker, || format!("does not get {fence:?}: {error}"));
            }
            Outcome::Asked(place, answer) => {
                self.say(worker, || format!("answers client {place}: {answer:?}"));
                let started = &mut self.started[place];
                started.is_asked = false;
                started.is_known |= answer.is_ok();
            }
        }
    }

    /// A worker remembers the log to its end.
    pub(super) fn remembers_all(&self, worker: usize) {
        let life = self.workers[worker].life;
        self.world.state().read_on((worker, life));
    }

    pub(super) fn say(&self, worker: usize, what: impl FnOnce() -> String) {
        let life = self.workers[worker].life;
        let name = if worker == API { "the API".to_owned() } else { format!("worker {worker}") };
        self.world.say(|| format!("{name} ({life}) {}", what()));
    }

    /// Something arrives; by luck it goes wrong.
    pub(super) fn arrive(&self, what: What, luck: usize) {
        match what {
            What::Append(append, slot) => {
                let answer = match luck {
                    0 => Err(failed()),
                    1 => Err(Error::Busy { retry_after: std::time::Duration::from_secs(1) }),
                    // It is stored, and whoever sent it does not hear of it.
                    2 | 3 => self.world.commit(*append).and(Err(failed())),
                    // It is sent once more, by the pool or the network.
                    4 => {
                        let first = self.world.commit((*append).clone());
                        self.world.commit(*append).and(first)
                    }
                    _ => self.world.commit(*append),
                };
                if let Err(error) = &answer {
                    self.world.say(|| format!("  an append is answered: {error}"));
                }
                put(&slot, answer);
            }
            What::Fence(fences, slot) => {
                let answer = match luck {
                    0..3 => Err(failed()),
                    3..6 => self.world.fence(&fences).and(Err(failed())),
                    _ => self.world.fence(&fences),
                };
                put(&slot, answer);
            }
            What::Send(call, slot) => put(&slot, self.world.arrive(&call)),
        }
    }

    /// Whether there was something to follow, and it is begun.
    pub(super) fn follow_slice(&mut self, worker: usize, slice: i16) -> bool {
        let Some(lease) = self.workers[worker].lease(POLICIES, slice) else { return false };
        if self.workers[worker].jobs.iter().any(|job| job.slice == Some(slice)) {
            return false;
        }
        let done = self.done.get(&slice).copied().unwrap_or_default();
        let event = {
            let state = self.world.state();
            state.because.get(&slice).and_then(|events| events.get(done)).cloned()
        };
        let Some(event) = event else { return false };
        self.say(worker, || format!("follows event {}", event.position));
        self.workers[worker].react(event, lease.fence);
        true
    }

    pub(super) fn ask_for(&mut self, place: usize) {
        let id = {
            let chance = &mut self.world.state().chance;
            Uuid::from_u64_pair(chance.next(), chance.next())
        };
        let started = &mut self.started[place];
        started.is_asked = true;
        let what = (started.document, started.n);
        self.say(API, || format!("is asked for {} with {}", what.0.name, what.1));
        self.workers[API].start(place, id, what);
    }

    /// Time passes for the database; workers hear of it sooner or later.
    pub(super) fn set_time(&self, to: domain::Timestamp, at_once: bool) {
        self.world.state().now = to;
        for worker in &self.workers {
            let own = TimeDelta::seconds(worker.wrong_by);
            let is_own = self.world.bug == Some(Bug::OwnClocks);
            if at_once || !self.one_in(4) {
                worker.deps.clock.set(if is_own { to + own } else { to });
            }
        }
        self.world.say(|| format!("it is {}", to - NOON));
    }

    pub(super) fn grant(&mut self, worker: usize, divided: Divided, slice: i16) {
        let epoch = self.grants.get(&(divided.name, slice)).map_or(1, |(_, epoch)| epoch + 1);
        self.grants.insert((divided.name, slice), (worker, epoch));
        let fence = Fence { lease: divided.name, slice, epoch };
        self.say(worker, || format!("is given {fence:?}"));
        self.workers[worker].fence(fence);
    }

    /// All slices that there is anything in.
    pub(super) fn slices(&self) -> Vec<(Divided, i16)> {
        let state = self.world.state();
        let partitions = state.record.executions.keys().map(|id| projections::partition(*id));
        let work = partitions.map(|slice| (WORK, slice));
        work.chain(state.because.keys().map(|slice| (POLICIES, *slice))).collect()
    }

    /// Whoever lost a slice hears of it.
    pub(super) fn tell_owners(&self) {
        for ((name, slice), (owner, _)) in &self.grants {
            let divided = if *name == WORK.name { WORK } else { POLICIES };
            for worker in self.workers.iter().filter(|worker| worker.number != *owner) {
                worker.lose(divided, *slice);
            }
        }
    }

    /// The last client was told that everything is started.
    pub(super) fn to_ask_for(&self) -> Option<usize> {
        self.started.iter().position(|started| !started.is_known && !started.is_asked)
    }
}

pub(super) fn item(id: Uuid, waited: &Waited) -> Item {
    let number = i32::try_from(waited.wait.id).unwrap_or(i32::MAX);
    let category = Execution::NAME.to_owned();
    let key = Key { tenant: tenant(), category, stream: id, item: number };
    Item { key, partition: projections::partition(id), due_at: waited.due_at(), is_suspect: false }
}

fn put<T>(slot: &super::world::Slot<T>, answer: T) {
    *slot.lock().expect("nobody panics with it") = Some(answer);
}

/// The documents of a run, by chance.
pub(super) fn choose(chance: &mut Chance) -> Vec<(&'static Document, u64, bool)> {
    let count = 1 + usize::from(chance.one_in(4));
    (0..count)
        .map(|place| {
            let document = &TOP[chance.below(TOP.len())];
            let variant = chance.next() % VARIANTS;
            let n = u64::try_from(place).expect("few") * VARIANTS + variant;
            (document, n, chance.one_in(5))
        })
        .collect()
}
