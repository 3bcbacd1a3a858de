//! Paths: where they lead, and what assignments change at their ends.

use std::rc::Rc;
use std::sync::Arc;

use serde_json::Value as Json;

use super::access;
use super::arithmetic;
use super::budget::{Budget, ERROR, ITEM, Outcome, Stop};
use super::item::{Held, Item, Key};
use super::machine::{Machine, Sink};
use super::program::{Assignment, Node, Part, Step};
use super::value::Value;

impl<'a> Machine<'a> {
    /// `base` followed by `steps`.
    pub(super) fn path(
        &mut self,
        base: &'a Node,
        steps: &'a [Step],
        item: Item<'a>,
        sink: &mut Sink<'_, 'a>,
    ) -> Outcome<()> {
        let origin = item.plain();
        if base.single {
            let at = self.one(base, item)?;
            return self.follow(steps, &origin, at, sink);
        }
        self.eval(base, item, &mut |machine, at| machine.follow(steps, &origin, at, &mut *sink))
    }

    /// Follows the steps from `at`; the keys are evaluated for `origin`.
    fn follow(
        &mut self,
        steps: &'a [Step],
        origin: &Item<'a>,
        mut at: Item<'a>,
        sink: &mut Sink<'_, 'a>,
    ) -> Outcome<()> {
        for (number, step) in steps.iter().enumerate() {
            self.budget().spend(1)?;
            let rest = &steps[number + 1..];
            match &step.part {
                Part::Index(key) if key.single => {
                    let key = self.one(key, origin.clone())?;
                    let key = self.own(key.held)?;
                    match forgive(self.at_key(at, &key), step.optional, self.budget())? {
                        Some(next) => at = next,
                        None => return Ok(()),
                    }
                }
                Part::Index(key) => {
                    return self.eval(key, origin.clone(), &mut |machine, key| {
                        let key = machine.own(key.held)?;
                        match forgive(
                            machine.at_key(at.clone(), &key),
                            step.optional,
                            machine.budget(),
                        )? {
                            Some(next) => machine.follow(rest, origin, next, &mut *sink),
                            None => Ok(()),
                        }
                    });
                }
                Part::Slice(bounds) => {
                    return self.combine(
                        &**bounds,
                        origin.clone(),
                        &mut Vec::new(),
                        &mut |m, bounds| {
                            let [start, end] = bounds.as_slice() else { return Ok(()) };
                            let bounds = [("start", start.clone()), ("end", end.clone())];
                            let key = Value::record(bounds, m.budget())?;
                            match forgive(m.at_key(at.clone(), &key), step.optional, m.budget())? {
                                Some(next) => m.follow(rest, origin, next, &mut *sink),
                                None => Ok(()),
                            }
                        },
                    );
                }
                Part::Each => {
                    if step.optional && !matches!(at.held.kind(), "array" | "object") {
                        return Ok(());
                    }
                    return self.deeper(|machine| {
                        machine.each(at, &mut |machine, next| {
                            machine.follow(rest, origin, next, &mut *sink)
                        })
                    });
                }
            }
        }
        sink(self, at)
    }

    /// The item at a key of another.
    fn at_key(&self, at: Item<'a>, key: &Value) -> Outcome<Item<'a>> {
        let trail = if at.trail.is_on() {
            let step = Key::of(key)?;
            at.trail.then(|| step, self.budget())?
        } else {
            at.trail
        };
        Ok(Item { held: access::index(at.held, key, self.budget())?, trail })
    }

    /// Every element or member.
    pub(super) fn each(&mut self, at: Item<'a>, sink: &mut Sink<'_, 'a>) -> Outcome<()> {
        let trail = at.trail;
        let place = |at: usize| move || Key::Index(i64::try_from(at).unwrap_or(i64::MAX));
        match at.held {
            Held::Lent(Json::Array(items)) => {
                for (at, item) in items.iter().enumerate() {
                    let trail = trail.then(place(at), self.counted()?)?;
                    sink(self, Item { held: Held::Lent(item), trail })?;
                }
            }
            Held::Lent(Json::Object(members)) => {
                for (name, value) in members {
                    let trail =
                        trail.then(|| Key::Name(Arc::from(name.as_str())), self.counted()?)?;
                    sink(self, Item { held: Held::Lent(value), trail })?;
                }
            }
            Held::Own(Value::Array(array)) => {
                let array = Rc::clone(&array);
                for (at, item) in array.items.iter().enumerate() {
                    let trail = trail.then(place(at), self.counted()?)?;
                    sink(self, Item { held: Held::Own(item.clone()), trail })?;
                }
            }
            Held::Own(Value::Object(object)) => {
                for (name, value) in &object.members {
                    let trail = trail.then(|| Key::Name(Arc::clone(name)), self.counted()?)?;
                    sink(self, Item { held: Held::Own(value.clone()), trail })?;
                }
            }
            held @ (Held::Lent(_) | Held::Own(_)) => {
                return Err(Stop::error(format!("cannot iterate over {}", held.kind())));
            }
        }
        Ok(())
    }

    /// The budget, after a step is paid.
    fn counted(&self) -> Outcome<&Budget> {
        self.budget().spend(1)?;
        Ok(self.budget())
    }

    /// The item and everything in it, from the outside in.
    pub(super) fn recurse(&mut self, item: Item<'a>, sink: &mut Sink<'_, 'a>) -> Outcome<()> {
        sink(self, item.clone())?;
        if !matches!(item.held.kind(), "array" | "object") {
            return Ok(());
        }
        self.deeper(|machine| {
            machine.each(item, &mut |machine, child| machine.recurse(child, &mut *sink))
        })
    }

    /// The paths to the outputs of `node`.
    pub(super) fn paths(&mut self, node: &'a Node, item: &Item<'a>) -> Outcome<Vec<Vec<Key>>> {
        let mut paths = Vec::new();
        self.eval(node, item.as_root(), &mut |machine, found| {
            machine.budget().allocate(ITEM)?;
            paths.push(found.trail.keys(machine.budget())?);
            Ok(())
        })?;
        Ok(paths)
    }

    /// `left = right`, `left |= right` and the like.
    pub(super) fn assign(
        &mut self,
        (left, assignment, right): (&'a Node, Assignment, &'a Node),
        item: Item<'a>,
        sink: &mut Sink<'_, 'a>,
    ) -> Outcome<()> {
        if assignment == Assignment::Update {
            let value = self.update(left, right, item)?;
            return sink(self, value.into());
        }
        if right.single {
            let new = self.one(right, item.clone())?;
            let new = self.own(new.held)?;
            let value = self.assign_value(left, assignment, &new, item)?;
            return sink(self, value.into());
        }
        self.eval(right, item.clone(), &mut |machine, new| {
            let new = machine.own(new.held)?;
            let value = machine.assign_value(left, assignment, &new, item.clone())?;
            sink(machine, value.into())
        })
    }

    /// `left |= change`: the first output replaces, none deletes.
    fn update(&mut self, left: &'a Node, change: &'a Node, item: Item<'a>) -> Outcome<Value> {
        let paths = self.paths(left, &item)?;
        let mut value = self.own(item.held)?;
        let mut deleted = Vec::new();
        for path in paths {
            // Taken out while it changes, so that nobody shares it.
            let (rest, old) = access::take_at(value, &path, self.budget())?;
            value = rest;
            match self.first(change, old.into())? {
                Some(new) => {
                    let new = self.own(new.held)?;
                    value = access::set_at(value, &path, new, self.budget())?;
                }
                None => deleted.push(path),
            }
        }
        access::delete_all(value, &deleted, self.budget())
    }

    /// The assignments that use a value of the right side.
    fn assign_value(
        &mut self,
        left: &'a Node,
        assignment: Assignment,
        new: &Value,
        item: Item<'a>,
    ) -> Outcome<Value> {
        let paths = self.paths(left, &item)?;
        let mut value = self.own(item.held)?;
        let budget = self.budget();
        for path in paths {
            let changed = access::change_at(
                value,
                &path,
                &mut |old| {
                    Ok(Some(match assignment {
                        Assignment::Set | Assignment::Update => new.clone(),
                        Assignment::Alternative if old.truthy() => old,
                        Assignment::Alternative => new.clone(),
                        Assignment::Math(operator) => {
                            arithmetic::calculate(operator, old, new, budget)?
                        }
                    }))
                },
                budget,
            )?;
            value = changed.unwrap_or_default();
        }
        Ok(value)
    }

    /// The first output of a node.
    pub(super) fn first(&mut self, node: &'a Node, item: Item<'a>) -> Outcome<Option<Item<'a>>> {
        if node.single {
            return self.one(node, item).map(Some);
        }
        let label = self.label();
        let mut found = None;
        let outcome = self.eval(node, item, &mut |_, item| {
            found = Some(item);
            Err(Stop::Break(label))
        });
        broken(label, outcome).map(|()| found)
    }
}

/// The outcome, with the break of this label taken for the end.
pub(super) fn broken(label: u32, outcome: Outcome<()>) -> Outcome<()> {
    match outcome {
        Err(Stop::Break(broken)) if broken == label => Ok(()),
        outcome @ (Ok(()) | Err(_)) => outcome,
    }
}

/// No value instead of an error, if the step is marked `?`.
fn forgive<T>(outcome: Outcome<T>, optional: bool, budget: &Budget) -> Outcome<Option<T>> {
    match outcome {
        Err(Stop::Error(_)) if optional => budget.spend(ERROR).map(|()| None),
        outcome @ (Ok(_) | Err(_)) => outcome.map(Some),
    }
}
