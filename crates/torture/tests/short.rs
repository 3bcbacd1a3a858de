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
fn every_planted_bug_is_found() {
    let done = torture(&["bugs", "--seconds", "25", "--seed", "7"]);
    let (told, wrong) =
        (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{told}{wrong}");
}
