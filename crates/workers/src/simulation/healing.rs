//! The end of a run: nothing goes wrong any more, and everything must come to its end.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use domain::execution::{Request, Trigger};
use uuid::Uuid;

use super::record::{Record, short};
use super::run::{Run, item};
use super::world::What;
use crate::agenda::Item;
use crate::leases::Divided;

/// Far more than any run needs.
const ROUNDS: usize = 3_000;
const TURNS: usize = 20_000;

/// An errand that nothing goes wrong with.
const LUCKY: usize = usize::MAX;

impl Run<'_> {
    /// Lets everything come to its end.
    pub(super) fn heal(&mut self) {
        self.world.say(|| "from now on nothing goes wrong".to_owned());
        self.world.state().is_calm = true;
        for worker in &mut self.workers {
            worker.wrong_by = 0;
        }
        let now = self.world.state().now;
        self.set_time(now, true);
        self.settle();
        self.tell_owners();
        // What was tried at this moment, with a log of this length.
        let mut tried = BTreeSet::<(Uuid, u32)>::new();
        let mut length = 0;
        for _ in 0..ROUNDS {
            if !self.world.state().record.wrongs.is_empty() {
                return;
            }
            let grown = self.world.state().record.length();
            if grown != length {
                tried.clear();
                length = grown;
            }
            if self.go_on(&mut tried) {
                self.settle();
                continue;
            }
            self.nobody_runs_in_vain();
            let Some(next) = self.next_time() else { return self.all_is_over() };
            self.set_time(next, true);
            tried.clear();
        }
        self.world.state().record.wrong("it goes on for ever".to_owned());
    }

    /// Begins whatever can be done now; whether there was anything.
    fn go_on(&mut self, tried: &mut BTreeSet<(Uuid, u32)>) -> bool {
        if let Some(place) = self.to_ask_for() {
            self.ask_for(place);
            return true;
        }
        if let Some((owner, divided, slice)) = self.ownerless() {
            self.grant(owner, divided, slice);
            return true;
        }
        let slices: Vec<i16> = self.world.state().because.keys().copied().collect();
        for slice in slices {
            let owner = self.grants.get(&(crate::react::POLICIES.name, slice));
            if let Some((owner, _)) = owner.copied()
                && self.follow_slice(owner, slice)
            {
                return true;
            }
        }
        self.due().into_iter().find(|(wait, _)| !tried.contains(wait)).is_some_and(
            |(wait, item)| {
                tried.insert(wait);
                let owner = self.grants.get(&(crate::desk::WORK.name, item.partition));
                let owner = owner.map_or(0, |(owner, _)| *owner);
                self.workers[owner].carry(item)
            },
        )
    }

    /// A slice that nobody can work on: whoever was given it last does not know, or the log does not.
    pub(super) fn ownerless(&self) -> Option<(usize, Divided, i16)> {
        let of = |(divided, slice): (Divided, i16)| {
            let (owner, epoch) = *self.grants.get(&(divided.name, slice)).unwrap_or(&(0, 0));
            let lease = self.workers[owner].lease(divided, slice);
            (lease.map(|lease| lease.fence.epoch) != Some(epoch)).then_some((owner, divided, slice))
        };
        self.slices().into_iter().find_map(of)
    }

    /// Open waits whose time has come.
    pub(super) fn due(&self) -> Vec<((Uuid, u32), Item)> {
        let state = self.world.state();
        let due = state.record.open().filter(|(_, waited)| waited.due_at() <= state.now);
        due.map(|(id, waited)| ((id, waited.wait.id), item(id, waited))).collect()
    }

    /// Lets everything that is under way come to its end.
    pub(super) fn settle(&mut self) {
        for _ in 0..TURNS {
            let errand = {
                let mut state = self.world.state();
                (!state.errands.is_empty()).then(|| state.errands.remove(0))
            };
            if let Some(errand) = errand {
                if let What::Append(..) = errand.what {
                    self.world.say(|| "an append arrives".to_owned());
                }
                self.arrive(errand.what, LUCKY);
            }
            let mut busy = false;
            for worker in 0..self.workers.len() {
                for job in (0..self.workers[worker].jobs.len()).rev() {
                    busy = true;
                    self.turn(worker, job);
                }
            }
            if !busy && self.world.state().errands.is_empty() {
                return;
            }
        }
        self.world.state().record.wrong("what is under way does not come to its end".to_owned());
    }

    /// When something is due next.
    fn next_time(&self) -> Option<domain::Timestamp> {
        let state = self.world.state();
        let due = state.record.open().map(|(_, waited)| waited.due_at());
        due.filter(|due| *due > state.now).min().map(|due| due + TimeDelta::milliseconds(1))
    }

    /// When all is quiet, no execution runs whose end was waited for and is not any more.
    fn nobody_runs_in_vain(&self) {
        let mut state = self.world.state();
        let orphan = orphan(&state.record);
        if let Some(id) = orphan {
            state.record.wrong(format!("nobody waits for {} any more, and it runs", short(id)));
        }
    }

    fn all_is_over(&self) {
        let mut state = self.world.state();
        let running = state.record.executions.iter().find(|(_, story)| !story.is_over());
        if let Some((id, story)) = running {
            let open = story.waits.values().filter(|waited| waited.is_open());
            let open: Vec<_> = open.map(|waited| &waited.wait).collect();
            let stuck = format!("{} is stuck with {open:?}", short(*id));
            state.record.wrong(stuck);
        }
    }
}

fn orphan(record: &Record) -> Option<Uuid> {
    let running = record.executions.iter().filter(|(_, story)| !story.is_over());
    let mut children = running.filter_map(|(id, story)| match &story.trigger {
        Some(Trigger::Workflow(caller)) => Some((id, caller)),
        _ => None,
    });
    let in_vain = children.find(|(_, caller)| {
        let parent = record.executions.get(&caller.execution.as_uuid());
        let waited = parent.and_then(|parent| parent.waits.get(&caller.wait));
        waited.is_some_and(|waited| {
            let is_awaited =
                matches!(waited.call(), Some((_, Request::Workflow { r#await: true, .. })));
            is_awaited && !waited.is_open()
        })
    });
    in_vain.map(|(id, _)| *id)
}
