//! Functions that evaluate their arguments themselves: generators, orders, conditions, paths.

use std::cmp::Ordering;

use serde_json::Value as Json;

use super::access;
use super::budget::{ITEM, MEMBER, OBJECT, Outcome, Stop};
use super::collection::{self, Sum};
use super::item::{Held, Item, Key, whole};
use super::machine::{Machine, Sink};
use super::order;
use super::program::{Node, Special};
use super::value::Value;
use super::walk::broken;

impl<'a> Machine<'a> {
    /// Evaluates a function of expressions.
    pub(super) fn special(
        &mut self,
        special: Special,
        nodes: &'a [Node],
        item: Item<'a>,
        sink: &mut Sink<'_, 'a>,
    ) -> Outcome<()> {
        match special {
            Special::Empty => Ok(()),
            Special::Error => self.raise(nodes, item),
            Special::Path => self.eval(&nodes[0], item.as_root(), &mut |machine, found| {
                let keys = found.trail.keys(machine.budget())?;
                let keys = keys.iter().map(|key| key.to_value(machine.budget()));
                let path = Value::paid_array(keys.collect::<Outcome<_>>()?, machine.budget())?;
                sink(machine, path.into())
            }),
            Special::GetPath => self.get_path(&nodes[0], &item, sink),
            Special::SetPath => self.set_path(nodes, item, sink),
            Special::DeletePaths => self.delete_paths(&nodes[0], &item, sink),
            Special::Range => self.range(nodes, item, sink),
            Special::First => match self.first(&nodes[0], item)? {
                Some(found) => sink(self, found),
                None => Ok(()),
            },
            Special::Last => {
                let mut last = None;
                self.eval(&nodes[0], item, &mut |_, item| {
                    last = Some(item);
                    Ok(())
                })?;
                last.map_or(Ok(()), |last| sink(self, last))
            }
            Special::Limit => self.limit(nodes, &item, sink),
            Special::Skip => self.skip(nodes, &item, sink),
            Special::Keep(keeps) if keeps(&item.held) => sink(self, item),
            Special::Keep(_) => Ok(()),
            Special::Match | Special::Capture | Special::Scan | Special::Splits => {
                self.matches(special, nodes, item, sink)
            }
            Special::Substitute { all } => self.substitute(all, nodes, (item, sink)),
            Special::Has => self.has(nodes, &item, sink),
            Special::Walk => {
                let value = self.own(item.held)?;
                match self.rebuild(&nodes[0], value)? {
                    Some(value) => sink(self, value.into()),
                    None => Ok(()),
                }
            }
            Special::Pick
            | Special::IsEmpty
            | Special::Any
            | Special::All
            | Special::Add
            | Special::SortBy
            | Special::GroupBy
            | Special::UniqueBy
            | Special::MinBy
            | Special::MaxBy
            | Special::Length
            | Special::Type => {
                let value = self.special_value(special, nodes, item)?;
                sink(self, value.into())
            }
        }
    }

    /// The functions that give one value.
    fn special_value(
        &mut self,
        special: Special,
        nodes: &'a [Node],
        item: Item<'a>,
    ) -> Outcome<Value> {
        match special {
            Special::Pick => self.pick(&nodes[0], item),
            Special::IsEmpty => Ok(Value::Bool(self.first(&nodes[0], item)?.is_none())),
            Special::Any => self.some(nodes, true, item).map(Value::Bool),
            Special::All => Ok(Value::Bool(!self.some(nodes, false, item)?)),
            Special::Add => self.sum(&nodes[0], item),
            Special::SortBy => {
                let sorted = self.sorted(&nodes[0], item, "sort")?;
                Value::paid_array(sorted.into_iter().map(|(_, item)| item).collect(), self.budget())
            }
            Special::GroupBy | Special::UniqueBy => {
                let sorted = self.sorted(&nodes[0], item, "group_by and unique_by")?;
                let groups = collection::groups(sorted, self.budget())?.into_iter();
                let items: Vec<Value> = if matches!(special, Special::UniqueBy) {
                    groups.filter_map(|group| group.into_iter().next()).collect()
                } else {
                    groups.map(Value::array).collect::<Outcome<_>>()?
                };
                Value::paid_array(items, self.budget())
            }
            Special::MinBy => self.extreme(&nodes[0], item, Ordering::Less),
            Special::MaxBy => self.extreme(&nodes[0], item, Ordering::Greater),
            Special::Type => Value::text(item.held.kind(), self.budget()),
            Special::Length
            | Special::Empty
            | Special::Error
            | Special::Path
            | Special::Walk
            | Special::GetPath
            | Special::SetPath
            | Special::DeletePaths
            | Special::Range
            | Special::First
            | Special::Last
            | Special::Limit
            | Special::Skip
            | Special::Keep(_)
            | Special::Has
            | Special::Match
            | Special::Capture
            | Special::Scan
            | Special::Splits
            | Special::Substitute { .. } => match item.held {
                // The length of what is lent is known without a copy of it.
                Held::Lent(Json::Array(items)) => Ok(Value::count(items.len())),
                Held::Lent(Json::Object(members)) => Ok(Value::count(members.len())),
                held @ (Held::Lent(_) | Held::Own(_)) => {
                    collection::length(&self.own(held)?, self.budget())
                }
            },
        }
    }

    fn raise(&mut self, nodes: &'a [Node], item: Item<'a>) -> Outcome<()> {
        match nodes.first() {
            Some(message) => self.eval(message, item.plain(), &mut |machine, message| {
                Err(Stop::Error(machine.own(message.held)?))
            }),
            None => Err(Stop::Error(self.own(item.held)?)),
        }
    }

    fn get_path(
        &mut self,
        path: &'a Node,
        item: &Item<'a>,
        sink: &mut Sink<'_, 'a>,
    ) -> Outcome<()> {
        self.eval(path, item.plain(), &mut |machine, path| {
            let path = machine.own(path.held)?;
            let path = collection::path(&path)?;
            let value = machine.own(item.held.clone())?;
            let found = access::get_at(&value, &path, machine.budget())?;
            let mut trail = item.trail.clone();
            for key in path {
                trail = trail.then(|| key, machine.budget())?;
            }
            sink(machine, Item { held: Held::Own(found), trail })
        })
    }

    fn set_path(
        &mut self,
        nodes: &'a [Node],
        item: Item<'a>,
        sink: &mut Sink<'_, 'a>,
    ) -> Outcome<()> {
        let [path, new] = nodes else { return Ok(()) };
        if path.single && new.single {
            let path = self.one(path, item.clone())?;
            let path = collection::path(&self.own(path.held)?)?;
            let new = self.one(new, item.clone())?;
            let new = self.own(new.held)?;
            // By now nobody shares the input, so that it can be changed in place.
            let value = self.own(item.held)?;
            let value = access::set_at(value, &path, new, self.budget())?;
            return sink(self, value.into());
        }
        self.combine(nodes, item.clone(), &mut Vec::new(), &mut |machine, values| {
            let [path, new] = values.as_slice() else { return Ok(()) };
            let value = machine.own(item.held.clone())?;
            let path = collection::path(path)?;
            let value = access::set_at(value, &path, new.clone(), machine.budget())?;
            sink(machine, value.into())
        })
    }

    fn delete_paths(
        &mut self,
        paths: &'a Node,
        item: &Item<'a>,
        sink: &mut Sink<'_, 'a>,
    ) -> Outcome<()> {
        self.eval(paths, item.plain(), &mut |machine, paths| {
            let paths = machine.own(paths.held)?;
            let paths = paths.as_array("delpaths")?.items.iter().map(collection::path);
            let paths = paths.collect::<Outcome<Vec<_>>>()?;
            let value = machine.own(item.held.clone())?;
            let value = access::delete_all(value, &paths, machine.budget())?;
            sink(machine, value.into())
        })
    }

    fn range(&mut self, nodes: &'a [Node], item: Item<'a>, sink: &mut Sink<'_, 'a>) -> Outcome<()> {
        self.combine(nodes, item, &mut Vec::new(), &mut |machine, bounds| {
            let zero = Value::Int(0);
            let (from, to, by) = match bounds.as_slice() {
                [to] => (&zero, to, None),
                [from, to] => (from, to, None),
                [from, to, by, ..] => (from, to, Some(by)),
                [] => return Ok(()),
            };
            let by = by.cloned().unwrap_or(Value::Int(1));
            let (Some(_), Some(end), Some(step)) = (from.number(), to.number(), by.number()) else {
                return Err(Stop::error("range wants numbers"));
            };
            let mut at = from.clone();
            let going = |at: f64| if step > 0.0 { at < end } else { step < 0.0 && at > end };
            while at.number().is_some_and(going) {
                machine.budget().spend(1)?;
                let next = super::arithmetic::add(at.clone(), &by, machine.budget())?;
                sink(machine, std::mem::replace(&mut at, next).into())?;
            }
            Ok(())
        })
    }

    /// The first argument's outputs as counts.
    fn counts(
        &mut self,
        count: &'a Node,
        item: &Item<'a>,
        sink: &mut dyn FnMut(&mut Self, i64) -> Outcome<()>,
    ) -> Outcome<()> {
        self.eval(count, item.plain(), &mut |machine, count| {
            let count = machine.own(count.held)?;
            let count = whole(&count, f64::ceil)
                .ok_or_else(|| Stop::error(format!("a count is a number, not {}", count.kind())))?;
            sink(machine, count)
        })
    }

    fn limit(
        &mut self,
        nodes: &'a [Node],
        item: &Item<'a>,
        sink: &mut Sink<'_, 'a>,
    ) -> Outcome<()> {
        self.counts(&nodes[0], item, &mut |machine, count| {
            if count <= 0 {
                return Ok(());
            }
            let label = machine.label();
            let (mut left, mut last) = (count, None);
            let outcome = machine.eval(&nodes[1], item.clone(), &mut |machine, output| {
                left -= 1;
                if left == 0 {
                    last = Some(output);
                    return Err(Stop::Break(label));
                }
                sink(machine, output)
            });
            broken(label, outcome)?;
            last.map_or(Ok(()), |last| sink(machine, last))
        })
    }

    fn skip(&mut self, nodes: &'a [Node], item: &Item<'a>, sink: &mut Sink<'_, 'a>) -> Outcome<()> {
        self.counts(&nodes[0], item, &mut |machine, count| {
            let mut left = count;
            machine.eval(&nodes[1], item.clone(), &mut |machine, output| {
                if left > 0 {
                    left -= 1;
                    return Ok(());
                }
                sink(machine, output)
            })
        })
    }

    fn has(&mut self, nodes: &'a [Node], item: &Item<'a>, sink: &mut Sink<'_, 'a>) -> Outcome<()> {
        self.eval(&nodes[0], item.plain(), &mut |machine, key| {
            let key = machine.own(key.held)?;
            if let Value::Text(name) = &key {
                machine.budget().read(name.len())?;
            }
            let answer = match (&item.held, &key) {
                // No copy of what is lent, only to look for a name.
                (Held::Lent(Json::Object(members)), Value::Text(name)) => {
                    Value::Bool(members.contains_key(name.as_str()))
                }
                (held, key) => collection::has(&machine.own(held.clone())?, key)?,
            };
            sink(machine, answer.into())
        })
    }

    fn pick(&mut self, node: &'a Node, item: Item<'a>) -> Outcome<Value> {
        let paths = self.paths(node, &item)?;
        let value = self.own(item.held)?;
        let mut picked = Value::Null;
        for path in paths {
            if path.iter().any(|key| matches!(key, Key::Index(index) if *index < 0)) {
                return Err(Stop::error("pick cannot pick from the end of an array"));
            }
            let found = access::get_at(&value, &path, self.budget())?;
            picked = access::set_at(picked, &path, found, self.budget())?;
        }
        Ok(picked)
    }

    /// `walk`: the value with everything inside rebuilt by `node` first; none deletes it.
    fn rebuild(&mut self, node: &'a Node, value: Value) -> Outcome<Option<Value>> {
        let inside = self.deeper(|machine| {
            Ok(match value {
                Value::Array(array) => {
                    machine.budget().allocate_many(array.items.len(), ITEM)?;
                    let mut items = Vec::new();
                    for item in &array.items {
                        items.extend(machine.rebuild(node, item.clone())?);
                    }
                    Value::array(items)?
                }
                Value::Object(object) => {
                    machine.budget().allocate(OBJECT)?;
                    machine.budget().allocate_many(object.members.len(), MEMBER)?;
                    let mut members = super::value::Members::new();
                    for (name, value) in &object.members {
                        if let Some(value) = machine.rebuild(node, value.clone())? {
                            members.insert(name.clone(), value);
                        }
                    }
                    Value::object(members)?
                }
                Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {
                    value
                }
            })
        })?;
        match self.first(node, inside.into())? {
            Some(rebuilt) => self.own(rebuilt.held).map(Some),
            None => Ok(None),
        }
    }

    /// Whether a condition has this outcome for one of a generator's outputs.
    fn some(&mut self, nodes: &'a [Node], wanted: bool, item: Item<'a>) -> Outcome<bool> {
        let label = self.label();
        let mut found = false;
        let outcome = self.eval(&nodes[0], item, &mut |machine, output| {
            machine.eval(&nodes[1], output, &mut |_, answer| {
                if answer.held.truthy() == wanted {
                    found = true;
                    return Err(Stop::Break(label));
                }
                Ok(())
            })
        });
        broken(label, outcome)?;
        Ok(found)
    }

    fn sum(&mut self, node: &'a Node, item: Item<'a>) -> Outcome<Value> {
        let mut sum = Sum::new();
        self.eval(node, item, &mut |machine, output| {
            let value = machine.own(output.held)?;
            sum.add(&value, machine.budget())
        })?;
        Ok(sum.total())
    }

    /// The elements with what `node` says of them.
    fn keyed(
        &mut self,
        node: &'a Node,
        item: Item<'a>,
        wanted_by: &str,
    ) -> Outcome<Vec<(Value, Value)>> {
        let input = self.own(item.held)?;
        let elements = collection::elements(&input, wanted_by)?;
        self.budget().allocate_many(elements.items.len(), ITEM)?;
        let mut keyed = Vec::with_capacity(elements.items.len());
        for element in &elements.items {
            let key = if node.single {
                let key = self.one(node, element.clone().into())?;
                self.own(key.held)?
            } else {
                Value::array(self.collect(node, element.clone().into())?)?
            };
            keyed.push((key, element.clone()));
        }
        Ok(keyed)
    }

    fn sorted(
        &mut self,
        node: &'a Node,
        item: Item<'a>,
        wanted_by: &str,
    ) -> Outcome<Vec<(Value, Value)>> {
        let keyed = self.keyed(node, item, wanted_by)?;
        order::sort(keyed, self.budget())
    }

    /// The least or greatest element: the first of the least, the last of the greatest.
    fn extreme(&mut self, node: &'a Node, item: Item<'a>, wanted: Ordering) -> Outcome<Value> {
        let mut best: Option<(Value, Value)> = None;
        for (key, element) in self.keyed(node, item, "min and max")? {
            let better = match &best {
                None => true,
                Some((best, _)) => match order::compare(&key, best, self.budget())? {
                    Ordering::Equal => wanted == Ordering::Greater,
                    order @ (Ordering::Less | Ordering::Greater) => order == wanted,
                },
            };
            if better {
                best = Some((key, element));
            }
        }
        Ok(best.map(|(_, element)| element).unwrap_or_default())
    }
}
