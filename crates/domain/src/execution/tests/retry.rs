//! Trying again: how often, after which pauses, for how long.

use serde_json::json;

use super::run::nothing;
use super::{Run, failure, start};
use crate::execution::{Purpose, Standard};

fn tried(retry: &str) -> Run {
    start(
        &format!(
            "
            do:
              - guarded:
                  try: [{{ask: {{call: agent, with: {{agent: a}}}}}}]
                  catch:
                    retry: {{{retry}}}
                    do: [{{give: {{set: {{up: '${{ $error.status }}'}}}}}}]
            "
        ),
        json!({"n": 1, "pause": {"seconds": 3}}),
    )
}

/// The pauses after so many failures, in milliseconds; none when it gives up.
fn pauses(retry: &str, most: usize) -> Vec<i64> {
    let mut run = tried(retry);
    let mut pauses = vec![];
    while !run.state.is_over() && pauses.len() < most {
        run.answer("ask", failure(503));
        if !run.state.is_over() {
            pauses.push(run.pause());
            run.pass(run.pause());
        }
    }
    pauses
}

#[test]
fn pauses_stay_grow_by_steps_or_double() {
    let limit = "delay: {seconds: 2}, limit: {attempt: {count: 5}}";
    assert_eq!(pauses(&format!("{limit}, backoff: {{constant: {{}}}}"), 9), [2_000; 4]);
    assert_eq!(
        pauses(&format!("{limit}, backoff: {{linear: {{}}}}"), 9),
        [2_000, 4_000, 6_000, 8_000]
    );
    assert_eq!(
        pauses(&format!("{limit}, backoff: {{exponential: {{}}}}"), 9),
        [2_000, 4_000, 8_000, 16_000]
    );
    assert_eq!(pauses("delay: '${ .pause }', limit: {attempt: {count: 2}}", 9), [3_000]);
}

#[test]
fn pauses_that_double_for_ever_end_at_a_year() {
    let pauses = pauses("delay: {days: 1}, backoff: {exponential: {}}", 80);
    assert_eq!(pauses.len(), 80);
    let year = 366 * 86_400_000;
    assert!(pauses.iter().all(|pause| *pause <= year) && pauses[79] == year);
}

#[test]
fn the_first_attempt_counts_and_the_last_failure_is_handled() {
    let mut run = tried("limit: {attempt: {count: 3}}");
    run.answer("ask", failure(500)).pass(0);
    run.answer("ask", failure(501)).pass(0);
    run.answer("ask", failure(502));
    run.gives(&json!({"up": 502}));
    assert_eq!(run.fate("guarded"), "started retrying retrying completed");
    assert_eq!(run.fate("ask"), "started faulted started faulted started faulted");
}

#[test]
fn an_attempt_that_succeeds_ends_it() {
    let mut run = tried("delay: {seconds: 1}, limit: {attempt: {count: 3}}");
    run.answer("ask", failure(500));
    assert!(run.calling().is_empty());
    run.pass(999);
    assert!(run.calling().is_empty(), "not early");
    run.pass(1).succeed("ask", json!("well"));
    run.gives(&json!("well"));
}

#[test]
fn all_attempts_together_end_in_time() {
    let retry = "delay: {seconds: 10}, limit: {duration: {seconds: 25}}";
    assert_eq!(pauses(retry, 9), [10_000, 10_000], "a third pause would end after 30 s");
}

#[test]
fn an_attempt_that_takes_too_long_is_stopped_and_tried_again() {
    let mut run =
        tried("delay: {seconds: 1}, limit: {attempt: {count: 2, duration: {seconds: 30}}}");
    let first = run.call("ask").id;
    run.pass(30_000);
    assert!(run.calling().is_empty());
    assert_eq!(run.fate("ask"), "started cancelled");
    assert_eq!(run.answer_wait(first, failure(500)), 0, "too late");
    run.pass(1_000);
    assert_eq!(run.timers(Purpose::TaskTimeout).len(), 1, "each attempt has its own limit");
    run.pass(30_000);
    run.gives(&json!({"up": 408}));
    assert_eq!(run.fate("guarded"), "started retrying completed");
}

#[test]
fn a_limit_of_an_attempt_does_not_bind_the_handler() {
    let mut run = start(
        r"
        do:
          - guarded:
              try: [{ask: {call: agent, with: {agent: a}}}]
              catch:
                retry: {limit: {attempt: {count: 1, duration: {seconds: 5}}}}
                do: [{help: {call: agent, with: {agent: b}}}]
        ",
        nothing(),
    );
    run.answer("ask", failure(500)).pass(60_000).succeed("help", json!(1));
    run.gives(&json!(1));
}

#[test]
fn chance_keeps_within_its_bounds_and_is_the_same_when_decided_anew() {
    let retry = "jitter: {from: {milliseconds: 100}, to: {seconds: 2}}, delay: {seconds: 1}, limit: {attempt: {count: 30}}";
    let drawn = pauses(retry, 40);
    assert_eq!(drawn.len(), 29);
    assert!(drawn.iter().all(|pause| (1_100..=3_000).contains(pause)), "{drawn:?}");
    let mut different = drawn.clone();
    different.sort_unstable();
    different.dedup();
    assert!(different.len() > 20, "{drawn:?}");
    assert_eq!(pauses(retry, 40), drawn);
    let same = "jitter: {from: {seconds: 1}, to: {seconds: 1}}, limit: {attempt: {count: 2}}";
    assert_eq!(pauses(same, 9), [1_000]);
}

#[test]
fn conditions_say_which_failures_are_tried_again() {
    for (conditions, again) in [
        ("when: '$error.status >= 500'", true),
        ("when: '$error.status < 500'", false),
        ("exceptWhen: '$error.status == 503'", false),
        ("when: '.n == 1', exceptWhen: '$error.status == 404'", true),
    ] {
        let mut run = tried(&format!("{conditions}, limit: {{attempt: {{count: 2}}}}"));
        run.answer("ask", failure(503));
        assert_eq!(!run.state.is_over(), again, "{conditions}");
    }
}

#[test]
fn a_broken_policy_faults_with_its_place() {
    let mut run = tried("delay: '${ .n }', limit: {attempt: {count: 2}}");
    run.answer("ask", failure(503));
    run.faults(Standard::Validation, "/do/0/guarded/try/0/ask");
}

#[test]
fn what_is_not_caught_is_not_tried_again() {
    let mut run = start(
        r"
        do:
          - guarded:
              try: [{ask: {call: agent, with: {agent: a}}}]
              catch: {errors: {with: {status: 503}}, retry: {limit: {attempt: {count: 9}}}}
        ",
        nothing(),
    );
    run.answer("ask", failure(503)).pass(0).answer("ask", failure(404));
    assert_eq!(run.error().status, 404);
}

#[test]
fn the_next_attempt_sees_what_the_first_one_saw() {
    let mut run = start(
        r"
        do:
          - outer:
              try: [{bad: {raise: {error: {type: 'https://example.com/outer', status: 418}}}}]
              catch:
                do:
                  - inner:
                      try:
                        - look: {set: {seen: '${ [.n, $error.status] }'}}
                        - ask: {call: agent, with: {agent: a, input: '${ .seen }'}}
                      catch: {retry: {limit: {attempt: {count: 2}}}}
        ",
        json!({"n": 1}),
    );
    let first = run.request("ask").clone();
    run.answer("ask", failure(500)).pass(0);
    assert_eq!(run.request("ask"), &first);
    run.succeed("ask", json!("done"));
    run.gives(&json!("done"));
}

#[test]
fn a_policy_may_be_defined_once_and_used_by_name() {
    let mut run = start(
        r"
        use:
          retries: {few: {delay: {seconds: 7}, limit: {attempt: {count: 2}}}}
        do:
          - guarded:
              try: [{ask: {call: agent, with: {agent: a}}}]
              catch: {retry: few}
        ",
        nothing(),
    );
    run.answer("ask", failure(500));
    assert_eq!(run.pause(), 7_000);
    run.pass(7_000).answer("ask", failure(500));
    run.gives(&nothing());
}
