//! The short form of `make torture`: every fault at least once, and every planted bug.

use std::process::{Command, Output};

fn torture(args: &[&str]) -> Output {
    let torture = Command::new(env!("CARGO_BIN_EXE_torture")).args(args).output();
    torture.expect("torture runs")
}

#[test]
fn the_log_keeps_its_promises_whatever_fails_around_it() {
    let done = torture(&["run", "--minutes", "0.5", "--round", "30", "--seed", "7"]);
    let (told, wrong) =
        (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{told}{wrong}");
    assert!(told.contains("| I16 | 0 | 1 |"), "{told}");
}

#[test]
fn the_platform_keeps_its_promises_whatever_fails_around_it() {
    let done = torture(&["platform", "--minutes", "0.3", "--round", "20", "--seed", "7"]);
    let (told, wrong) =
        (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{told}{wrong}");
    assert!(told.contains("| I20 | 0 | 1 |"), "{told}");
}

#[test]
fn engines_keep_their_promises_while_they_are_killed_and_frozen() {
    let done =
        torture(&["fleet", "--minutes", "0.1", "--round", "14", "--rate", "8", "--seed", "7"]);
    let (told, wrong) =
        (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{told}{wrong}");
    assert!(told.contains("| I17 | 0 | 1 |"), "{told}");
    assert!(told.contains("| F18 FreezeEngine | 1 |"), "{told}");
}

#[test]
fn a_process_may_die_before_and_after_whatever_it_writes() {
    let done = torture(&["crashes", "--places", "16", "--seed", "7"]);
    let (told, wrong) =
        (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{told}{wrong}");
    assert!(told.contains("| I8 | 0 | 1 |"), "{told}");
}

/// A test for each bug.
macro_rules! planted {
    ($($test:ident: $name:literal,)*) => {$(
        #[test]
        fn $test() {
            let done = torture(&["bugs", "--seconds", "60", "--seed", "7", "--only", $name]);
            let (told, wrong) =
                (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
            assert!(done.status.success(), "{told}{wrong}");
            assert!(told.contains($name), "there is no such bug: {told}");
        }
    )*};
}

planted! {
    an_answer_before_the_commit_is_found: "ack before commit",
    a_reader_that_goes_by_a_sequence_is_found: "sequence-ordered reader",
    a_reader_that_goes_by_position_and_xmin_is_found: "position + xmin reader",
    versions_that_no_index_keeps_apart_are_found: "no unique (stream, version)",
    commits_that_do_not_wait_for_the_disk_are_found: "synchronous_commit off",
    writes_that_never_reach_the_disk_are_found: "fsync off",
    a_projection_that_asks_for_the_time_is_found: "`now()` in a projection",
    a_checkpoint_before_its_rows_is_found: "checkpoint before rows",
    a_query_without_tenant_filter_is_found: "query without tenant filter",
    a_lease_without_epoch_check_is_found: "lease without epoch check",
    a_new_key_for_each_attempt_is_found: "new key while the outcome is unknown",
    a_timer_on_a_workers_own_clock_is_found: "timer on the worker's clock",
}

#[test]
fn every_planted_bug_has_its_test() {
    let done = torture(&["bugs", "--list"]);
    let told = String::from_utf8_lossy(&done.stdout);
    let here = include_str!("short.rs");
    assert_eq!(told.lines().count(), 12, "{told}");
    for name in told.lines() {
        assert!(here.contains(&format!(": {name:?},")), "no test looks for {name}");
    }
}
