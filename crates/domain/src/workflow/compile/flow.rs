//! Where tasks lead: `then`, `switch`, and what can be reached at all.

use std::collections::{HashMap, HashSet};

use super::place::{Fields, Place, nearest, quoted};
use super::task::Listed;
use super::{Compiler, Scope};
use crate::workflow::plan::{Case, Kind, Next, Task, TaskRef};

/// The words that mean something in `then`.
pub(super) const DIRECTIVES: [&str; 3] = ["continue", "exit", "end"];

/// Where `then` may lead.
pub(super) struct Targets<'n> {
    /// The tasks of the list.
    pub(super) names: HashMap<&'n str, TaskRef>,
    /// Whether they run beside each other, so that none leads to another.
    pub(super) parallel: bool,
}

impl Compiler {
    /// `then`: a directive, or a task of the same list.
    pub(super) fn next(&mut self, at: &Place<'_>, targets: &Targets<'_>) -> Option<Next> {
        let text = self.text(at)?;
        match (text, targets.names.get(text)) {
            ("continue", _) => Some(Next::Continue),
            ("exit", _) => Some(Next::Exit),
            ("end", _) => Some(Next::End),
            (_, Some(task)) if !targets.parallel => Some(Next::Task(*task)),
            (_, Some(_)) => {
                let detail = "branches run beside each other: none leads to another";
                let hint = "to run tasks one after the other, put them into one branch with `do`";
                self.hinted(at, "unknown_target", detail, hint);
                None
            }
            (_, None) => {
                self.unknown_target(at, text, targets);
                None
            }
        }
    }

    fn unknown_target(&mut self, at: &Place<'_>, text: &str, targets: &Targets<'_>) {
        let mut known: Vec<&str> = targets.names.keys().copied().collect();
        known.sort_unstable();
        let hint = match nearest(text, known.iter().chain(&DIRECTIVES).copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if targets.parallel => DIRECTIVES.join(", "),
            None => {
                known.truncate(10);
                format!(
                    "{}, or a task of the same list: {}",
                    DIRECTIVES.join(", "),
                    known.join(", ")
                )
            }
        };
        let detail = format!("no task of this list is called {}", quoted(text));
        self.hinted(at, "unknown_target", detail, &hint);
    }

    pub(super) fn switch(
        &mut self,
        at: &Place<'_>,
        targets: &Targets<'_>,
        scope: &Scope,
    ) -> Option<Kind> {
        let Some(items) = at.items() else {
            self.fault(at, "wrong_type", "a list of cases is wanted here");
            return None;
        };
        if items.is_empty() {
            self.fault(at, "empty_list", "at least one case is wanted here");
        }
        let mut cases = vec![];
        let mut default: Option<u32> = None;
        for item in &items {
            let Some((name, place)) = item.single() else {
                let detail = "a case is an object with one member: its name";
                self.hinted(item, "wrong_type", detail, "- urgent: {when: .urgent, then: page}");
                continue;
            };
            let Some(mut fields) = Fields::of(self, &place) else { continue };
            let (when, then) = (fields.take("when"), fields.required(self, "then"));
            fields.finish(self);
            let then = then.and_then(|at| self.next(&at, targets));
            if when.is_none()
                && let Some(line) = default.replace(place.node.line)
            {
                let name = quoted(name);
                let detail = format!("{name} has no `when`, as the case on line {line} has none");
                self.hinted(&place, "several_defaults", detail, "at most one case has no `when`");
            }
            let condition = when.as_ref().map(|at| self.expression(at, scope));
            if let (Some(then), None | Some(Some(_))) = (then, &condition) {
                cases.push(Case { when: condition.flatten(), then });
            }
        }
        // A default in the middle must not hide the cases after it.
        cases.sort_by_key(|case| case.when.is_none());
        (cases.len() == items.len()).then_some(Kind::Switch(cases))
    }

    /// Notes tasks that nothing leads to, where that is certain.
    pub(super) fn check_reachable(&mut self, listed: &[Listed<'_>]) {
        let order: Vec<TaskRef> = listed.iter().map(|task| task.number).collect();
        if order.iter().any(|task| self.tasks[*task].is_none()) {
            return; // what a broken task leads to is not known
        }
        let place: HashMap<TaskRef, usize> =
            order.iter().enumerate().map(|(at, task)| (*task, at)).collect();
        let mut reached = HashSet::new();
        let mut open: Vec<TaskRef> = order.first().copied().into_iter().collect();
        while let Some(number) = open.pop() {
            if let Some(task) = &self.tasks[number]
                && reached.insert(number)
            {
                let following = order.get(place[&number] + 1).copied();
                open.extend(leads_to(task, following));
            }
        }
        for task in listed.iter().filter(|task| !reached.contains(&task.number)) {
            let detail = format!("nothing leads to {}", quoted(task.name));
            let hint = "the task before it always goes elsewhere";
            self.hinted(&task.place, "unreachable_task", detail, hint);
        }
    }
}

/// The tasks of its list to which a task may lead; `following` comes after it.
fn leads_to(task: &Task, following: Option<TaskRef>) -> Vec<TaskRef> {
    let go = |next: &Next| match next {
        Next::Continue => following,
        Next::Task(task) => Some(*task),
        Next::Exit | Next::End => None,
    };
    let mut targets: Vec<TaskRef> = ways_on(task).into_iter().filter_map(go).collect();
    if task.condition.is_some() {
        targets.extend(following); // a task that is skipped passes on to the next one
    }
    targets
}

/// Every way on from a task.
fn ways_on(task: &Task) -> Vec<&Next> {
    match &task.kind {
        Kind::Raise(_) => vec![],
        Kind::Switch(cases) => {
            let unmatched = cases.iter().all(|case| case.when.is_some()).then_some(&task.then);
            cases.iter().map(|case| &case.then).chain(unmatched).collect()
        }
        Kind::Try(attempt) => [&task.then].into_iter().chain(&attempt.then).collect(),
        Kind::Set(_)
        | Kind::Do(_)
        | Kind::For(_)
        | Kind::Fork { .. }
        | Kind::Wait(_)
        | Kind::Emit(_)
        | Kind::Call(_) => vec![&task.then],
    }
}
