//! What compiles, what does not, and what is said about it.

mod calls;
mod faults;
mod flow;
mod hostile;
mod plans;

use crate::Fault;
use crate::workflow::Plan;

const HEAD: &str = "document: {dsl: '1.0.3', namespace: test, name: sample, version: '1.0.0'}\n";

/// A document with these tasks; the first line of `tasks` is the third of the document.
fn document(tasks: &str) -> String {
    format!("{HEAD}do:\n{tasks}")
}

#[track_caller]
fn compiled(text: &str) -> Plan {
    Plan::compile(text).unwrap_or_else(|faults| panic!("{text}\n{faults:#?}"))
}

#[track_caller]
fn faults_of(text: &str) -> Vec<Fault> {
    Plan::compile(text).err().unwrap_or_else(|| panic!("it compiles:\n{text}"))
}

/// The lines of a task, as deep as they stand in a list of tasks.
fn indented(task: &str) -> String {
    task.lines().flat_map(|line| ["      ", line, "\n"]).collect()
}

/// So many lines, each made of its number.
fn repeated(times: usize, line: impl Fn(usize) -> String) -> String {
    (0..times).map(line).collect()
}

/// Pointer, line and code of every fault.
type Found<'a> = (&'a str, u32, &'a str);

#[track_caller]
fn finds(text: &str, expected: &[Found<'_>]) {
    let faults = faults_of(text);
    let found: Vec<Found<'_>> = faults
        .iter()
        .map(|fault| (fault.pointer.as_str(), fault.line.unwrap_or_default(), fault.code.as_str()))
        .collect();
    assert_eq!(found, expected, "{text}\n{faults:#?}");
}

/// One task, which is the only fault's place: `task` stands on line 4 under `/do/0/it`.
#[track_caller]
fn task_finds(task: &str, pointer: &str, line: u32, code: &str) {
    let pointer = format!("/do/0/it{pointer}");
    finds(&document(&format!("  - it:\n{}", indented(task))), &[(&pointer, line, code)]);
}

/// The hint of the first fault of one task.
#[track_caller]
fn hint_of(task: &str) -> String {
    let faults = faults_of(&document(&format!("  - it:\n{}", indented(task))));
    faults[0].hint.clone().unwrap_or_default()
}

#[track_caller]
fn task_compiles(task: &str) -> Plan {
    compiled(&document(&format!("  - it:\n{}", indented(task))))
}
