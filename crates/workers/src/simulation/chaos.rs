//! What happens by chance while a run is not calm.

use chrono::TimeDelta;

use super::record::short;
use super::run::{API, Run, WORKERS, item};
use super::worker::Worker;
use crate::agenda::Item;

/// What can happen: how likely it is, by what factors that differs between runs, and what it is.
type Happening = (usize, [usize; 4], fn(&mut Run<'_>));

const OFTEN: [usize; 4] = [1, 4, 4, 8];
const SELDOM: [usize; 4] = [0, 4, 4, 12];

const HAPPENINGS: [Happening; 14] = [
    (120, OFTEN, |run| run.turn_of_somebody()),
    (40, OFTEN, |run| run.errand()),
    (8, OFTEN, |run| run.wake_somebody()),
    (6, OFTEN, |run| run.follow()),
    (6, OFTEN, |run| run.read_on()),
    (6, OFTEN, |run| run.look_at_agenda()),
    (4, OFTEN, |run| run.ask()),
    (5, OFTEN, |run| run.pass_time()),
    (10, OFTEN, |run| run.adopt()),
    (1, SELDOM, |run| run.hand_over()),
    (1, SELDOM, |run| run.tell_owners()),
    (1, SELDOM, |run| run.step_a_clock()),
    (1, SELDOM, |run| run.crash()),
    (1, SELDOM, |run| run.cancel()),
];

impl Run<'_> {
    /// Lets things happen by chance. How likely each is differs from run to run: in some nobody ever
    /// dies, in others hardly anything arrives.
    pub(super) fn toss(&mut self, steps: usize) {
        let weights = HAPPENINGS.map(|(weight, factors, _)| weight * factors[self.below(4)]);
        let all = weights.iter().sum();
        for _ in 0..steps {
            let mut luck = self.below(all);
            for (weight, (.., happen)) in weights.iter().zip(HAPPENINGS) {
                if luck < *weight {
                    happen(self);
                    break;
                }
                luck -= weight;
            }
            if !self.world.state().record.wrongs.is_empty() {
                return;
            }
        }
    }

    fn turn_of_somebody(&mut self) {
        let jobs: usize = self.workers.iter().map(|worker| worker.jobs.len()).sum();
        if jobs == 0 {
            return;
        }
        let mut job = self.below(jobs);
        for worker in 0..self.workers.len() {
            let here = self.workers[worker].jobs.len();
            if job < here {
                return self.turn(worker, job);
            }
            job -= here;
        }
    }

    /// One of the things that are on their way arrives, or not.
    fn errand(&self) {
        let (errand, luck) = {
            let mut state = self.world.state();
            if state.errands.is_empty() {
                return;
            }
            let (count, luck) = (state.errands.len(), state.chance.below(40));
            let place = state.chance.below(count);
            (state.errands.remove(place), luck)
        };
        self.arrive(errand.what, luck);
    }

    /// Somebody is told of a wait: of an open one mostly, when it is due mostly.
    fn wake_somebody(&mut self) {
        let (is_late, is_early) = (self.one_in(10), self.one_in(8));
        let worker = self.below(WORKERS);
        let item = {
            let mut state = self.world.state();
            let now = state.now;
            let waits: Vec<Item> = state
                .record
                .executions
                .iter()
                .flat_map(|(id, story)| story.waits.values().map(|waited| (*id, waited)))
                .filter(|(_, waited)| is_late || waited.is_open())
                .filter(|(_, waited)| is_early || waited.due_at() <= now)
                .map(|(id, waited)| item(id, waited))
                .collect();
            state.chance.pick(&waits).cloned()
        };
        let Some(item) = item else { return };
        let (stream, number) = (short(item.key.stream), item.key.item);
        if self.workers[worker].carry(item) {
            self.say(worker, || format!("is woken for wait {number} of {stream}"));
        }
    }

    /// Somebody goes on with the events that policies care about.
    fn follow(&mut self) {
        let slices: Vec<i16> = self.world.state().because.keys().copied().collect();
        let (worker, slice) = (self.below(WORKERS), self.below(slices.len()));
        if let Some(slice) = slices.get(slice) {
            self.follow_slice(worker, *slice);
        }
    }

    fn read_on(&mut self) {
        let worker = self.below(WORKERS);
        self.remembers_all(worker);
    }

    fn look_at_agenda(&mut self) {
        let worker = self.below(WORKERS);
        let now = self.workers[worker].deps.clock.now();
        if let Some(item) = self.workers[worker].agenda.next(now, |_| true)
            && !self.one_in(10)
        {
            let (stream, number) = (short(item.key.stream), item.key.item);
            if self.workers[worker].carry(item) {
                self.say(worker, || format!("remembers wait {number} of {stream}"));
            }
        }
    }

    /// A client asks for an execution, until told that there is one; now and then once more.
    pub(super) fn ask(&mut self) {
        let place = self.below(self.started.len());
        if !self.started[place].is_known || self.one_in(20) {
            self.ask_for(place);
        }
    }

    fn cancel(&mut self) {
        let place = self.below(self.started.len());
        if !self.started[place].is_unwanted {
            return;
        }
        let n = self.started[place].n;
        let id = {
            let state = self.world.state();
            let mut all = state.record.executions.iter();
            all.find(|(_, story)| story.number == n && story.is_top()).map(|(id, _)| *id)
        };
        if let Some(id) = id {
            self.say(API, || format!("is asked to cancel {}", short(id)));
            self.workers[API].cancel(place, id);
        }
    }

    fn pass_time(&self) {
        let by = match self.below(4) {
            0 => 10,
            1 => 300,
            2 => 1_000,
            _ => 4_000,
        };
        let by = TimeDelta::milliseconds(i64::try_from(self.below(by)).unwrap_or_default());
        let to = self.world.state().now + by;
        self.set_time(to, false);
    }

    /// The clock of a machine steps.
    fn step_a_clock(&mut self) {
        let (worker, by) = (self.below(self.workers.len()), self.below(7_200));
        self.workers[worker].wrong_by = i64::try_from(by).unwrap_or_default() - 3_600;
    }

    fn crash(&mut self) {
        let number = self.below(self.workers.len());
        self.say(number, || "dies".to_owned());
        let mut state = self.world.state();
        let mut errands = std::mem::take(&mut state.errands);
        errands.retain(|errand| errand.from.0 != number || state.chance.one_in(2));
        state.errands = errands;
        drop(state);
        self.workers[number].crash(self.house, &self.world);
        self.workers[number].deps.clock.set(self.world.state().now);
        for started in self.started.iter_mut().filter(|_| number == API) {
            started.is_asked = false;
        }
    }

    /// A slice that nobody works on is given to somebody.
    fn adopt(&mut self) {
        let worker = self.below(WORKERS);
        let is_being_told = |run: &Self| run.workers.iter().any(Worker::is_taking);
        if let Some((_, divided, slice)) = self.ownerless()
            && !is_being_told(self)
        {
            self.grant(worker, divided, slice);
        }
    }

    /// A slice is given to somebody; whoever had it does not know yet.
    fn hand_over(&mut self) {
        let slices = self.slices();
        let (worker, slice) = (self.below(WORKERS), self.below(slices.len()));
        if let Some((divided, slice)) = slices.get(slice) {
            self.grant(worker, *divided, *slice);
        }
    }
}
