//! Where a task leads: `then`, `switch` and `catch`, and tasks that nothing leads to.

use super::{compiled, document, faults_of, finds, hint_of, task_compiles, task_finds};
use crate::workflow::{Kind, Next, Plan};

fn leads(plan: &Plan, pointer: &str) -> Next {
    plan.tasks[plan.by_pointer[pointer]].then.clone()
}

#[test]
fn then_leads_to_tasks_of_the_same_list_in_any_order() {
    let plan = compiled(&document(
        "  - a: {set: {x: 1}, then: c}\n  - b: {set: {x: 1}, then: end}\n  - c: {set: {x: 1}, then: b}\n",
    ));
    assert_eq!(leads(&plan, "/do/0/a"), Next::Task(plan.by_pointer["/do/2/c"]));
    assert_eq!(leads(&plan, "/do/1/b"), Next::End);
    finds(
        &document("  - a: {do: [{b: {set: {x: 1}, then: c}}]}\n  - c: {set: {x: 1}}\n"),
        &[("/do/0/a/do/0/b/then", 3, "unknown_target")],
    );
    assert!(hint_of("set: {a: 1}\nthen: ed").contains("`end`"));
}

#[test]
fn a_branch_leads_to_no_other() {
    task_finds(
        "fork:\n  branches:\n    - a: {set: {x: 1}, then: b}\n    - b: {set: {x: 1}}",
        "/fork/branches/0/a/then",
        6,
        "unknown_target",
    );
    task_compiles(
        "fork: {branches: [{a: {set: {x: 1}, then: exit}}, {b: {set: {x: 1}, then: end}}]}",
    );
}

#[test]
fn tasks_that_nothing_leads_to_are_named() {
    for (first, second) in [
        ("{set: {x: 1}, then: end}", ""),
        ("{set: {x: 1}, then: exit}", ""),
        ("{set: {x: 1}, then: c}", ""),
        ("{raise: {error: {type: 'a:b', status: 500}}}", ""),
        ("{switch: [{x: {when: .x, then: c}}, {y: {then: end}}]}", ""),
        ("{try: [{x: {wait: PT1S}}], catch: {then: c}, then: end}", ""),
    ] {
        let text = document(&format!(
            "  - a: {first}\n  - b: {{set: {{x: 1}}{second}}}\n  - c: {{set: {{x: 1}}}}\n"
        ));
        let faults = faults_of(&text);
        assert_eq!(
            (faults[0].pointer.as_str(), faults[0].line, faults[0].code.as_str()),
            ("/do/1/b", Some(4), "unreachable_task"),
            "{text}"
        );
    }
}

#[test]
fn tasks_that_something_may_lead_to_are_not() {
    for first in [
        "{set: {x: 1}, then: end, if: .x}",
        "{raise: {error: {type: 'a:b', status: 500}}, if: .x}",
        "{switch: [{x: {when: .x, then: end}}]}",
        "{switch: [{x: {when: .x, then: c}}, {y: {when: .y, then: b}}], then: end}",
        "{try: [{x: {wait: PT1S}}], catch: {then: b}, then: c}",
        "{try: [{x: {wait: PT1S}}], catch: {then: end}}",
        "{do: [{x: {set: {x: 1}, then: exit}}]}",
    ] {
        compiled(&document(&format!(
            "  - a: {first}\n  - b: {{set: {{x: 1}}}}\n  - c: {{set: {{x: 1}}}}\n"
        )));
    }
}

#[test]
fn a_switch_has_at_most_one_default_which_comes_last() {
    task_finds(
        "switch:\n  - a: {then: end}\n  - b: {when: .x, then: end}\n  - c: {then: exit}",
        "/switch/2/c",
        7,
        "several_defaults",
    );
    let plan = task_compiles("switch: [{a: {then: end}}, {b: {when: .x, then: exit}}]");
    let Kind::Switch(cases) = &plan.tasks[0].kind else { panic!("{:?}", plan.tasks[0].kind) };
    assert_eq!(cases[0].then, Next::Exit);
    assert!(cases[1].when.is_none());
}

#[test]
fn a_catch_may_lead_elsewhere() {
    let plan = compiled(&document(
        "  - a:\n      try: [{x: {wait: PT1S}}]\n      catch: {then: c}\n  - b: {set: {x: 1}}\n  - c: {set: {x: 1}}\n",
    ));
    let Kind::Try(attempt) = &plan.tasks[plan.by_pointer["/do/0/a"]].kind else { panic!() };
    assert_eq!(attempt.then, Some(Next::Task(plan.by_pointer["/do/2/c"])));
}
