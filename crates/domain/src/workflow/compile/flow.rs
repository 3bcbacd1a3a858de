//! Where tasks lead: `then`, `switch`, and what can be reached at all.

use std::collections::HashSet;

use super::place::{Fields, Place};
use super::task::{Listed, Targets};
use super::{Compiler, Scope};
use crate::workflow::plan::{Case, Kind, Next, Task, TaskRef};

impl Compiler {
    /// `then`: a directive, or a task of the same list.
    pub(super) fn next(&mut self, at: &Place<'_>, targets: &Targets<'_>) -> Option<Next> {
        let text = self.text(at)?;
        match text.as_str() {
            "continue" => Some(Next::Continue),
            "exit" => Some(Next::Exit),
            "end" => Some(Next::End),
            name => {
                if let Some(task) = targets.get(name) {
                    Some(Next::Task(*task))
                } else {
                    let mut known: Vec<&str> = targets.keys().copied().collect();
                    known.sort_unstable();
                    let detail = format!("no task of this list is called `{name}`");
                    let hint = format!("continue, exit, end or one of: {}", known.join(", "));
                    self.hinted(at, "unknown_task_name", detail, &hint);
                    None
                }
            }
        }
    }

    pub(super) fn cases(
        &mut self,
        at: &Place<'_>,
        targets: &Targets<'_>,
        scope: &Scope,
    ) -> Vec<Case> {
        let Some(items) = at.items() else {
            self.fault(at, "wrong_type", "a list of cases is wanted here");
            return vec![];
        };
        if items.is_empty() {
            self.fault(at, "empty_list", "at least one case is wanted here");
        }
        let mut cases = vec![];
        let mut default: Option<u32> = None;
        for item in &items {
            let members = item.members().unwrap_or_default();
            let [(name, place)] = members.as_slice() else {
                let detail = "a case is an object with one member: its name";
                self.fault(item, "wrong_type", detail);
                continue;
            };
            let Some(mut fields) = Fields::of(self, place) else { continue };
            let when = fields.take("when");
            let then = fields.required(self, "then").and_then(|at| self.next(&at, targets));
            fields.finish(self);
            if when.is_none() {
                if let Some(line) = default {
                    let detail =
                        format!("`{name}` has no `when`, and neither has the case on line {line}");
                    self.fault(place, "several_defaults", detail);
                }
                default = Some(place.node.line);
            }
            let condition = when.as_ref().map(|at| self.expression(at, scope));
            if let (Some(then), None | Some(Some(_))) = (then, &condition) {
                cases.push(Case { when: condition.flatten(), then });
            }
        }
        // A default in the middle must not hide the cases after it.
        cases.sort_by_key(|case| case.when.is_none());
        cases
    }

    /// Notes tasks that nothing leads to.
    pub(super) fn check_reachable(&mut self, listed: &[Listed<'_>]) {
        let order: Vec<TaskRef> = listed.iter().map(|task| task.number).collect();
        if order.iter().any(|task| self.tasks[*task].is_none()) {
            return; // what a broken task leads to is not known
        }
        let mut reached = HashSet::new();
        let mut open: Vec<TaskRef> = order.first().copied().into_iter().collect();
        while let Some(task) = open.pop() {
            if reached.insert(task) {
                open.extend(self.leads_to(task, &order));
            }
        }
        for task in listed {
            if !reached.contains(&task.number) {
                let detail = format!("nothing leads to `{}`", task.name);
                let hint = "a task before it goes elsewhere with `then`";
                self.hinted(&task.place, "unreachable_task", detail, hint);
            }
        }
    }

    fn leads_to(&self, number: TaskRef, order: &[TaskRef]) -> Vec<TaskRef> {
        let Some(task) = &self.tasks[number] else { return vec![] };
        let following = order.iter().position(|known| *known == number);
        let following = following.and_then(|at| order.get(at + 1)).copied();
        let go = |next: &Next| match next {
            Next::Continue => following,
            Next::Task(task) => Some(*task),
            Next::Exit | Next::End => None,
        };
        let mut targets: Vec<TaskRef> = nexts(task).filter_map(go).collect();
        if task.condition.is_some() {
            targets.extend(following); // a task that is skipped passes on to the next one
        }
        targets
    }
}

/// Every way on from a task.
fn nexts(task: &Task) -> impl Iterator<Item = &Next> {
    let (cases, own, caught): (&[Case], bool, Option<&Next>) = match &task.kind {
        Kind::Switch(cases) => (cases, cases.iter().all(|case| case.when.is_some()), None),
        Kind::Try(attempt) => (&[], true, attempt.then.as_ref()),
        Kind::Set(_)
        | Kind::Do(_)
        | Kind::For(_)
        | Kind::Fork { .. }
        | Kind::Raise(_)
        | Kind::Wait(_)
        | Kind::Emit(_)
        | Kind::Call(_) => (&[], true, None),
    };
    cases.iter().map(|case| &case.then).chain(own.then_some(&task.then)).chain(caught)
}
