//! What the simulation found, or what was looked for in it, as stories that are told step by step:
//! seeds mean something else whenever the scheduler changes.

use chrono::TimeDelta;
use domain::Id;
use domain::execution::Execution;
use eventstore::StreamId;
use uuid::Uuid;

use super::chance::Chance;
use super::documents::TOP;
use super::house::{House, tenant};
use super::outside::VARIANTS;
use super::planted::Bug;
use super::run::Run;
use super::undisturbed;
use super::world::{Errand, What};

/// A document of that name is started, and worker 0 is given everything; nothing goes wrong by
/// itself.
fn begin<'a>(house: &'a House, name: &str, n: u64) -> Run<'a> {
    begin_with(house, name, n, None)
}

fn begin_with<'a>(house: &'a House, name: &str, n: u64, bug: Option<Bug>) -> Run<'a> {
    let document = TOP.iter().find(|document| document.name == name).expect("a document");
    let mut run = Run::new(house, Chance::of(0), bug, &[(document, n, false)]);
    run.world.state().is_calm = true;
    run.world.state().trace = Some(vec![]);
    run.ask_for(0);
    run.settle();
    run.own();
    run
}

impl Run<'_> {
    /// Worker 0 is given whatever nobody has.
    fn own(&mut self) {
        while let Some((owner, divided, slice)) = self.ownerless() {
            self.grant(owner, divided, slice);
            self.settle();
        }
    }

    fn parent(&self) -> Uuid {
        let state = self.world.state();
        let found = state.record.executions.iter().find(|(_, story)| story.is_top());
        *found.expect("it was started").0
    }

    fn child(&self) -> Option<Uuid> {
        let state = self.world.state();
        let found = state.record.executions.iter().find(|(_, story)| !story.is_top());
        found.map(|(id, _)| *id)
    }

    /// Gives everybody a turn. The first errand that is to be held back is taken out and given back.
    fn turns(&mut self, holds: impl Fn(&Errand) -> bool) -> Option<Errand> {
        for _ in 0..100 {
            for job in (0..self.workers[0].jobs.len()).rev() {
                self.turn(0, job);
            }
            let mut state = self.world.state();
            if let Some(place) = state.errands.iter().position(&holds) {
                return Some(state.errands.remove(place));
            }
            let errands = std::mem::take(&mut state.errands);
            drop(state);
            for errand in errands {
                self.arrive(errand.what, usize::MAX);
            }
        }
        None
    }

    fn pass_a_second(&self) {
        let later = self.world.state().now + TimeDelta::seconds(1);
        self.set_time(later, true);
    }

    /// Time passes, and worker 0 does whatever is due of one execution and what policies ask for.
    fn go_on_with(&mut self, execution: Uuid, until: impl Fn(&Self) -> bool) {
        for _ in 0..100 {
            if until(self) {
                return;
            }
            self.own();
            let due = self.due().into_iter().find(|((id, _), _)| *id == execution);
            match due {
                Some((_, item)) => drop(self.workers[0].carry(item)),
                None => self.pass_a_second(),
            }
            self.settle();
            self.follow_all();
        }
        panic!("it never comes to this:\n{}", self.told());
    }

    /// Worker 0 does whatever policies ask for.
    fn follow_all(&mut self) {
        self.own();
        let slices: Vec<i16> = self.world.state().because.keys().copied().collect();
        for slice in slices {
            while self.follow_slice(0, slice) {
                self.settle();
            }
        }
    }

    fn told(&self) -> String {
        self.world.state().trace.clone().unwrap_or_default().join("\n")
    }

    fn ends_well(&mut self, house: &House) {
        self.heal();
        let started = &self.started[0];
        let end = undisturbed(house, started.document, started.n);
        self.check(&[(started.n, end)].into());
        let wrongs = self.world.state().record.wrongs.clone();
        assert!(wrongs.is_empty(), "{wrongs:?}\n{}", self.told());
    }
}

/// Whether it is the start of an execution.
fn starts(errand: &Errand) -> bool {
    let name = |append: &eventstore::Append| append.streams[0].events[0].name.clone();
    matches!(&errand.what, What::Append(append, _) if name(append) == "execution.started")
}

/// Whether it is a turn of an execution.
fn turns(id: Uuid) -> impl Fn(&Errand) -> bool {
    let stream = StreamId::of(tenant(), Id::<Execution>::from_uuid(id));
    move |errand| {
        matches!(&errand.what, What::Append(append, _)
            if append.streams.iter().any(|part| part.stream == stream && !part.events.is_empty()))
    }
}

/// Found by seed 1316: the policy gave the child's end as the answer to a task that does not wait for
/// it.
#[test]
fn a_child_that_is_not_waited_for_and_ends_at_once_answers_nobody() {
    let house = House::build();
    for n in 0..VARIANTS {
        let mut run = begin(&house, "detached", n);
        let parent = run.parent();
        let (_, item) = run.due().remove(0);
        run.workers[0].carry(item);
        run.turns(turns(parent)).expect("the answer that the child has begun");
        run.workers[0].crash(&house, &run.world);
        let child = run.child().expect("it has begun");
        run.go_on_with(child, |run| run.world.state().record.executions[&child].is_over());
        run.ends_well(&house);
    }
}

/// The parent stops waiting while the start of the child is on its way, and whoever started it dies
/// before they could look.
#[test]
fn a_child_that_begins_after_its_parent_stopped_waiting_does_not_go_on() {
    let house = House::build();
    let mut run = begin(&house, "impatient", 0);
    let parent = run.parent();
    let (_, item) = run.due().remove(0);
    run.workers[0].carry(item);
    let start = run.turns(starts).expect("the start of the child");
    let timer = |run: &Run<'_>| {
        let state = run.world.state();
        state.record.executions[&parent].waits.values().any(|waited| !waited.is_open())
    };
    // Only what is new is worked on: the call is still under way.
    while run.due().len() < 2 {
        run.pass_a_second();
    }
    let due = run.due();
    let (_, fire) =
        due.into_iter().find(|(_, item)| item.due_at > domain::scenario::NOON).expect("a timer");
    run.workers[0].carry(fire);
    run.turns(|_| false);
    assert!(timer(&run), "{}", run.told());
    run.follow_policies_only();
    run.arrive(start.what, usize::MAX);
    run.workers[0].crash(&house, &run.world);
    run.ends_well(&house);
}

impl Run<'_> {
    /// Another worker does what policies ask for, while what worker 0 does stands still.
    fn follow_policies_only(&mut self) {
        let slices: Vec<i16> = self.world.state().because.keys().copied().collect();
        for slice in slices {
            self.grant(1, crate::react::POLICIES, slice);
            while !self.workers[1].jobs.is_empty() || self.follow_slice(1, slice) {
                for job in (0..self.workers[1].jobs.len()).rev() {
                    self.turn(1, job);
                }
                let errands = std::mem::take(&mut self.world.state().errands);
                for errand in errands {
                    self.arrive(errand.what, usize::MAX);
                }
            }
        }
    }
}

/// Found by a starved fleet: when the log did not take an answer the call was made again.
#[test]
fn an_answer_that_the_log_does_not_take_is_not_asked_for_again() {
    let house = House::build();
    for n in 0..VARIANTS {
        let mut run = begin(&house, "row", n);
        let parent = run.parent();
        let (_, item) = run.due().remove(0);
        run.workers[0].carry(item.clone());
        for refusal in [0, 1] {
            let turn = run.turns(turns(parent)).expect("the answer");
            run.arrive(turn.what, refusal);
            run.turns(|_| false);
            assert_eq!(run.due().len(), 1, "{}", run.told());
            run.workers[0].carry(item.clone());
        }
        run.settle();
        let made = run.world.state().outside.ledger.len();
        assert!(made <= 1, "{}", run.told());
        run.ends_well(&house);
    }
}

/// A worker is given what another one has done meanwhile, and is told late that there was something to
/// do. What it remembers is from before; only what it would remember from after its lease is all of it.
#[test]
fn what_is_remembered_from_before_a_lease_is_not_trusted() {
    let house = House::build();
    let made_again = |bug| {
        let mut run = begin_with(&house, "row", 0, bug);
        let (_, item) = run.due().remove(0);
        run.remembers_all(1);
        run.workers[0].carry(item.clone());
        run.turns(|_| false);
        let before = run.world.state().outside.ledger.len();
        run.grant(1, crate::desk::WORK, item.partition);
        run.settle();
        assert!(run.workers[1].carry(item), "it has the slice");
        run.settle();
        let after = run.world.state().outside.ledger.len();
        (before, after, run.world.state().record.wrongs.clone())
    };
    assert_eq!(made_again(None), (1, 1, vec![]));
    let (_, after, wrongs) = made_again(Some(Bug::OldMemories));
    assert_eq!(after, 2);
    assert!(wrongs.concat().contains("is made again after its answer"), "{wrongs:?}");
}
