//! A deterministic simulation of the engine above its ports: the log, the outside, the clock.
//!
//! Three workers and an API share a log in memory. Each call of a port is a moment at which the
//! scheduler decides, by a seed and nothing else, what happens next: whose turn it is, what arrives
//! and what does not, who dies, who is given a slice that somebody else still believes to have, who is
//! woken for what, how much time passes. No threads, no runtime, no real time. In the end nothing goes
//! wrong any more, and everything must have ended as in a run in which nothing ever did.
//!
//! It simulates our code above the ports, never the database.
//!
//! `EVERSTEP_SEED=n` runs one seed and prints what happened.

mod chance;
mod chaos;
mod check;
mod documents;
mod found;
mod healing;
mod house;
mod outside;
mod planted;
mod record;
mod run;
mod store;
mod worker;
mod world;

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use domain::execution::Phase;

use self::chance::Chance;
use self::check::Ends;
use self::documents::Document;
use self::house::House;
use self::planted::Bug;
use self::run::Run;

/// How many seeds there are.
const SEEDS: u64 = 10_000;

struct Options {
    seed: u64,
    bug: Option<Bug>,
    /// Whether what happens is written down.
    is_told: bool,
}

/// What was seen of a run.
struct Seen {
    wrongs: Vec<String>,
    trace: Vec<String>,
}

/// Runs a seed.
fn run(house: &House, options: &Options) -> Seen {
    let mut chance = Chance::of(options.seed);
    let what = run::choose(&mut chance);
    let steps = 150 + chance.below(900);
    let expected = what.iter().map(|(document, n, _)| (*n, undisturbed(house, document, *n)));
    let expected: Ends = expected.collect();
    let mut run = Run::new(house, chance, options.bug, &what);
    run.world.state().trace = options.is_told.then(Vec::new);
    run.toss(steps);
    run.heal();
    run.check(&expected);
    let mut state = run.world.state();
    Seen {
        wrongs: std::mem::take(&mut state.record.wrongs),
        trace: state.trace.take().unwrap_or_default(),
    }
}

thread_local! {
    /// How executions end that nothing happens to: the same for every seed.
    static ENDS: RefCell<HashMap<(&'static str, u64), Phase>> = RefCell::default();
}

/// How an execution ends in a run without crashes.
fn undisturbed(house: &House, document: &'static Document, n: u64) -> Phase {
    let key = (document.name, n);
    if let Some(known) = ENDS.with_borrow(|ends| ends.get(&key).cloned()) {
        return known;
    }
    let mut run = Run::new(house, Chance::of(0), None, &[(document, n, false)]);
    run.heal();
    let ends = run.ends();
    run.check(&ends);
    let wrongs = &run.world.state().record.wrongs;
    assert!(wrongs.is_empty(), "{} with {n}: {wrongs:?}", document.name);
    let end = ends[&n].clone();
    ENDS.with_borrow_mut(|ends| ends.insert(key, end.clone()));
    end
}

/// Runs a seed; if something is wrong, runs it again and tells what happened.
fn try_seed(house: &House, seed: u64, is_told: bool) {
    let options = Options { seed, bug: None, is_told };
    let first = catch_unwind(AssertUnwindSafe(|| run(house, &options)));
    let wrongs =
        first.as_ref().map_or_else(|_| vec!["it panicked".to_owned()], |run| run.wrongs.clone());
    if wrongs.is_empty() && !is_told {
        return;
    }
    let told = first.ok().filter(|_| is_told).or_else(|| {
        let again = || run(house, &Options { seed, bug: None, is_told: true });
        catch_unwind(AssertUnwindSafe(again)).ok()
    });
    let trace = told.map(|told| told.trace).unwrap_or_default();
    println!("seed {seed}:\n{}", trace.join("\n"));
    assert!(
        wrongs.is_empty(),
        "seed {seed}: {}\n{REPLAY}={seed} cargo nextest run --workspace --no-capture \
         -E 'package(workers) and test(simulation::first)'",
        wrongs.join("\n"),
    );
}

const REPLAY: &str = "EVERSTEP_SEED";

/// A part of all seeds, or the one that somebody asks for.
fn an_eighth_of_ten_thousand_seeds(eighth: u64) {
    let house = House::build();
    match std::env::var(REPLAY) {
        Ok(seed) => try_seed(&house, seed.parse().expect("a number"), true),
        Err(_) => (0..SEEDS).filter(|seed| seed % 8 == eighth).for_each(|seed| {
            try_seed(&house, seed, false);
        }),
    }
}

#[test]
fn a_seed_tells_the_same_story_again() {
    let told = || {
        let house = House::build();
        let story = |seed| run(&house, &Options { seed, bug: None, is_told: true }).trace;
        (0..30).map(story).collect::<Vec<_>>()
    };
    assert_eq!(told(), told());
}

#[test]
fn first_eighth_of_ten_thousand_seeds_ends_like_a_run_without_crashes() {
    an_eighth_of_ten_thousand_seeds(0);
}

#[test]
fn second_eighth_of_ten_thousand_seeds_ends_like_a_run_without_crashes() {
    an_eighth_of_ten_thousand_seeds(1);
}

#[test]
fn third_eighth_of_ten_thousand_seeds_ends_like_a_run_without_crashes() {
    an_eighth_of_ten_thousand_seeds(2);
}

#[test]
fn fourth_eighth_of_ten_thousand_seeds_ends_like_a_run_without_crashes() {
    an_eighth_of_ten_thousand_seeds(3);
}

#[test]
fn fifth_eighth_of_ten_thousand_seeds_ends_like_a_run_without_crashes() {
    an_eighth_of_ten_thousand_seeds(4);
}

#[test]
fn sixth_eighth_of_ten_thousand_seeds_ends_like_a_run_without_crashes() {
    an_eighth_of_ten_thousand_seeds(5);
}

#[test]
fn seventh_eighth_of_ten_thousand_seeds_ends_like_a_run_without_crashes() {
    an_eighth_of_ten_thousand_seeds(6);
}

#[test]
fn last_eighth_of_ten_thousand_seeds_ends_like_a_run_without_crashes() {
    an_eighth_of_ten_thousand_seeds(7);
}
