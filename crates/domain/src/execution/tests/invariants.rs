//! What holds for every history, whatever the workflow.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::Aggregate as _;
use crate::execution::{
    Doing, Ending, Event, Execution, Frame, INLINE_LIMIT, Phase, Progress, Request, Turn, WaitId,
    What,
};
use crate::personal::inline_size;

pub(super) fn turns(history: &[Event]) -> impl Iterator<Item = &Turn> {
    history.iter().filter_map(|event| match event {
        Event::TurnTaken(turn) => Some(&**turn),
        Event::Started { .. }
        | Event::Completed { .. }
        | Event::Faulted { .. }
        | Event::Cancelled { .. } => None,
    })
}

/// The waits that a task holds.
fn held_by(frame: &Frame) -> Vec<WaitId> {
    let own = match frame.doing {
        Doing::Waiting(wait) => Some(wait),
        Doing::Pausing { until, .. } => Some(until),
        Doing::Trying { limit, .. } => limit,
        Doing::Listing | Doing::Looping { .. } | Doing::Handling | Doing::Forked { .. } => None,
    };
    own.into_iter().chain(frame.timeout).collect()
}

/// The branches that a task forked and that still run.
fn forked(frame: &Frame) -> &[u32] {
    match &frame.doing {
        Doing::Forked { open, .. } => open,
        Doing::Listing
        | Doing::Looping { .. }
        | Doing::Trying { .. }
        | Doing::Pausing { .. }
        | Doing::Handling
        | Doing::Waiting(_) => &[],
    }
}

/// Events as they are read back from the log.
fn stored(history: &[Event]) -> Vec<Event> {
    let read = |event: &Event| serde_json::from_slice(&serde_json::to_vec(event)?);
    history.iter().map(read).collect::<Result<_, _>>().expect("what is written can be read")
}

/// Checks an execution after a command.
#[track_caller]
pub(super) fn check(state: &Execution, history: &[Event]) {
    assert_eq!(
        &Execution::replay(&stored(history)),
        state,
        "folding what is stored gives the state"
    );
    assert_eq!(state.snapshot().is_none(), state.is_over());
    if let Some(snapshot) = state.snapshot() {
        assert_eq!(Execution::restore(&snapshot).as_ref(), Some(state), "so does a snapshot");
    }
    for event in history {
        let json = serde_json::to_string(event).expect("events are plain data");
        assert!(inline_size(&json) <= INLINE_LIMIT, "the log takes every event");
    }
    check_order(state, history);
    check_frames(state);
    check_waits(state, history);
    check_keys(history);
    check_runs(state, history);
}

/// One start first, one end last, and nothing stuck between.
#[track_caller]
fn check_order(state: &Execution, history: &[Event]) {
    let word = |event: &Event| match event {
        Event::Started { .. } => 's',
        Event::TurnTaken(_) => 't',
        Event::Completed { .. } | Event::Faulted { .. } | Event::Cancelled { .. } => 'e',
    };
    let order: String = history.iter().map(word).collect();
    let turns = order.strip_prefix('s').unwrap_or_else(|| panic!("{order}"));
    let turns = turns.strip_suffix('e').unwrap_or(turns);
    assert!(!turns.is_empty() && turns.chars().all(|word| word == 't'), "{order}");
    let over = match state.phase() {
        Phase::Unborn => panic!("it was started"),
        Phase::Running => false,
        Phase::Completed(_) | Phase::Faulted(_) | Phase::Cancelled => true,
    };
    assert_eq!(order.ends_with('e'), over);
    assert_eq!(state.waits().count() == 0, over, "it is over, or it waits for something");
    assert_eq!(state.threads.is_empty(), over);
}

/// Branches hang together: every branch is open in the task that forked it, and the other way.
#[track_caller]
fn check_frames(state: &Execution) {
    let mut open = BTreeSet::new();
    for (number, thread) in &state.threads {
        assert!(!thread.frames.is_empty(), "branch {number} is inside of a task");
        for (depth, frame) in thread.frames.iter().enumerate() {
            let innermost = depth + 1 == thread.frames.len();
            let ends = match &frame.doing {
                Doing::Listing | Doing::Looping { .. } | Doing::Trying { .. } | Doing::Handling => {
                    false
                }
                Doing::Pausing { .. } | Doing::Forked { .. } | Doing::Waiting(_) => true,
            };
            assert_eq!(innermost, ends, "{} of branch {number}", frame.task);
            open.extend(forked(frame).iter().map(|child| (*child, *number)));
        }
    }
    let parents: BTreeSet<(u32, u32)> = state
        .threads
        .iter()
        .filter_map(|(number, thread)| Some((*number, thread.parent?.0)))
        .collect();
    assert_eq!(open, parents);
}

/// Waits are held by tasks, and what tasks hold is waited for; each is closed at most once.
#[track_caller]
fn check_waits(state: &Execution, history: &[Event]) {
    let frames = || state.threads.values().flat_map(|thread| &thread.frames);
    let held = |frame: &Frame| {
        let (task, run) = (frame.task.clone(), frame.run);
        held_by(frame).into_iter().map(move |wait| (wait, (task.clone(), run)))
    };
    let held: BTreeMap<WaitId, (String, u32)> = frames().flat_map(held).collect();
    let waits: BTreeMap<WaitId, (String, u32)> =
        state.waits().map(|wait| (wait.id, (wait.task.clone(), wait.run))).collect();
    assert_eq!(held, waits);
    let (mut open, mut last, mut ever) = (BTreeSet::new(), 0, BTreeSet::new());
    for turn in turns(history) {
        for closed in &turn.closed {
            assert!(open.remove(&closed.wait), "only what is open is closed: {}", closed.wait);
        }
        for wait in &turn.opened {
            assert!(ever.insert(wait.id) && open.insert(wait.id), "{} is new", wait.id);
            assert!(wait.id > last && wait.id <= turn.serial, "{} is counted", wait.id);
        }
        last = turn.serial;
    }
    if !state.is_over() {
        assert_eq!(open, state.waits().map(|wait| wait.id).collect());
    }
    assert!(state.is_over() || last == state.serial);
    let ended = !history.is_empty() && state.is_over();
    assert!(!ended || open.is_empty(), "the end closes everything: {open:?}");
}

/// A key comes again only for the same request, and only while nobody knows what became of it.
#[track_caller]
fn check_keys(history: &[Event]) {
    let mut made: HashMap<&str, (&Request, WaitId)> = HashMap::new();
    let mut endings: HashMap<WaitId, &Ending> = HashMap::new();
    for turn in turns(history) {
        endings.extend(turn.closed.iter().map(|closed| (closed.wait, &closed.how)));
        for wait in &turn.opened {
            let What::Call { key, request } = &wait.what else { continue };
            let Some((before, earlier)) = made.insert(key, (request, wait.id)) else { continue };
            assert_eq!(before, request, "key {key} is used for one request");
            match endings.get(&earlier) {
                Some(Ending::Unknown(_) | Ending::Dropped) => {}
                Some(Ending::Succeeded | Ending::Failed(_) | Ending::Fired) | None => {
                    panic!("key {key} is used again though its outcome is known")
                }
            }
        }
    }
}

/// Runs are counted without gaps, and each ends once: those that have not are live.
#[track_caller]
fn check_runs(state: &Execution, history: &[Event]) {
    let (mut started, mut ended, mut runs) = (BTreeSet::new(), BTreeSet::new(), 0);
    for turn in turns(history) {
        runs = turn.runs;
        for step in &turn.steps {
            assert!((1..=runs).contains(&step.run), "run {} is counted", step.run);
            assert!(!ended.contains(&step.run), "{} goes on after its end", step.task);
            match step.what {
                Progress::Started { .. } => {
                    assert!(started.insert(step.run), "{} starts twice", step.task);
                }
                Progress::Retrying { .. } => assert!(started.contains(&step.run)),
                Progress::Completed { .. } => {
                    assert!(started.contains(&step.run) && ended.insert(step.run));
                }
                Progress::Faulted(_) | Progress::Skipped | Progress::Cancelled => {
                    assert!(ended.insert(step.run));
                }
            }
        }
    }
    let frames = state.threads.values().flat_map(|thread| &thread.frames);
    let live: BTreeSet<u32> = frames.map(|frame| frame.run).filter(|run| *run > 0).collect();
    let open: BTreeSet<u32> = (1..=runs).filter(|run| !ended.contains(run)).collect();
    assert_eq!(open, live, "what has not ended is live");
}
