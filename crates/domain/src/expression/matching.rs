//! The functions that look for regular expressions.

use std::sync::Arc;

use super::budget::{Budget, ITEM, MEMBER, OBJECT, Outcome, Stop};
use super::item::Item;
use super::machine::{Machine, Sink};
use super::pattern::{Pattern, Places};
use super::program::{Node, Special};
use super::tools::Tools;
use super::value::{Members, Value};

/// A text as characters, which the places of matches count.
struct Subject(Vec<char>);

impl Subject {
    fn of(input: &Value, wanted_by: &str, budget: &Budget) -> Outcome<Self> {
        let text = input.as_text(wanted_by)?;
        budget.allocate_many(text.len(), 4)?;
        Ok(Self(text.chars().collect()))
    }

    fn part(&self, start: usize, end: usize, budget: &Budget) -> Outcome<Value> {
        let part: String = self.0.get(start..end).unwrap_or_default().iter().collect();
        Value::text(part, budget)
    }

    /// What a group matched; `null` if it took no part.
    fn group(&self, place: Option<(usize, usize)>, budget: &Budget) -> Outcome<Value> {
        place.map_or(Ok(Value::Null), |(start, end)| self.part(start, end, budget))
    }

    /// A match as jq describes it.
    fn description(&self, pattern: &Pattern, places: &Places, budget: &Budget) -> Outcome<Value> {
        let captures = places.iter().zip(&pattern.groups).skip(1).map(|(place, name)| {
            let name = match name {
                Some(name) => Value::text(name.as_str(), budget)?,
                None => Value::Null,
            };
            self.described(*place, [("name", name)], budget)
        });
        let captures = Value::paid_array(captures.collect::<Outcome<_>>()?, budget)?;
        self.described(places[0], [("captures", captures)], budget)
    }

    fn described(
        &self,
        place: Option<(usize, usize)>,
        [other]: [(&str, Value); 1],
        budget: &Budget,
    ) -> Outcome<Value> {
        let (offset, length) =
            place.map_or((Value::Int(-1), 0), |(start, end)| (Value::count(start), end - start));
        let string = self.group(place, budget)?;
        let length = ("length", Value::count(length));
        Value::record([("offset", offset), length, ("string", string), other], budget)
    }

    /// What the named groups matched, by name.
    fn named(&self, pattern: &Pattern, places: &Places, budget: &Budget) -> Outcome<Value> {
        let mut members = Members::new();
        budget.allocate(OBJECT)?;
        for (place, name) in places.iter().zip(&pattern.groups) {
            if let Some(name) = name {
                budget.allocate(MEMBER + name.len())?;
                members.insert(Arc::from(name.as_str()), self.group(*place, budget)?);
            }
        }
        Value::object(members)
    }

    /// What `scan` gives of a match: the whole, or the groups if there are any.
    fn scanned(&self, places: &Places, budget: &Budget) -> Outcome<Value> {
        if places.len() == 1 {
            return self.group(places[0], budget);
        }
        let groups = places[1..].iter().map(|place| self.group(*place, budget));
        Value::paid_array(groups.collect::<Outcome<_>>()?, budget)
    }
}

/// The pattern and flags of the arguments: `f(pattern)`, `f(pattern; flags)`, `f([pattern, flags])`.
fn pattern(tools: &Tools<'_>, arguments: &[Value], more: &str) -> Outcome<Arc<Pattern>> {
    let (text, flags) = match arguments {
        [Value::Array(both)] => {
            (both.items.first().cloned(), both.items.get(1).cloned().unwrap_or_default())
        }
        [text, flags, ..] => (Some(text.clone()), flags.clone()),
        [text] => (Some(text.clone()), Value::Null),
        [] => (None, Value::Null),
    };
    let mut all_flags = String::new();
    if flags.truthy() {
        all_flags.push_str(flags.as_text("the flags of a regular expression")?);
    }
    all_flags.push_str(more);
    tools.pattern(&text.unwrap_or_default(), all_flags)
}

/// `test`.
pub(super) fn test(tools: &Tools<'_>, input: &Value, arguments: &[Value]) -> Outcome<Value> {
    let subject = Subject::of(input, "test", &tools.budget)?;
    let pattern = pattern(tools, arguments, "")?;
    Ok(Value::Bool(!pattern.find(&subject.0, &tools.budget)?.is_empty()))
}

/// `split($pattern; $flags)`.
pub(super) fn split(tools: &Tools<'_>, input: &Value, arguments: &[Value]) -> Outcome<Value> {
    let subject = Subject::of(input, "split", &tools.budget)?;
    let pattern = pattern(tools, arguments, "g")?;
    let mut pieces = Vec::new();
    let mut from = 0;
    for places in pattern.find(&subject.0, &tools.budget)? {
        let Some((start, end)) = places[0] else { continue };
        pieces.push(subject.part(from, start, &tools.budget)?);
        from = end;
    }
    pieces.push(subject.part(from, subject.0.len(), &tools.budget)?);
    Value::paid_array(pieces, &tools.budget)
}

impl<'a> Machine<'a> {
    /// `match`, `capture`, `scan`, `splits`.
    pub(super) fn matches(
        &mut self,
        special: Special,
        nodes: &'a [Node],
        item: Item<'a>,
        sink: &mut Sink<'_, 'a>,
    ) -> Outcome<()> {
        let input = self.own(item.held.clone())?;
        self.combine(nodes, item, &mut Vec::new(), &mut |machine, arguments| {
            if matches!(special, Special::Splits) {
                let pieces = split(&machine.tools, &input, arguments)?;
                return machine.each(pieces.into(), &mut *sink);
            }
            let subject = Subject::of(&input, "a regular expression", machine.budget())?;
            let more = if matches!(special, Special::Scan) { "g" } else { "" };
            let pattern = pattern(&machine.tools, arguments, more)?;
            for places in pattern.find(&subject.0, machine.budget())? {
                let budget = machine.budget();
                let value = if matches!(special, Special::Capture) {
                    subject.named(&pattern, &places, budget)?
                } else if matches!(special, Special::Scan) {
                    subject.scanned(&places, budget)?
                } else {
                    subject.description(&pattern, &places, budget)?
                };
                sink(machine, value.into())?;
            }
            Ok(())
        })
    }

    /// `sub` and `gsub`: pattern, replacement, and perhaps flags.
    pub(super) fn substitute(
        &mut self,
        all: bool,
        nodes: &'a [Node],
        (item, sink): (Item<'a>, &mut Sink<'_, 'a>),
    ) -> Outcome<()> {
        let input = self.own(item.held.clone())?;
        let (replacement, others) = nodes.split_last().ok_or_else(|| Stop::error("no pattern"))?;
        self.combine(others, item, &mut Vec::new(), &mut |machine, arguments| {
            let subject = Subject::of(&input, "sub", machine.budget())?;
            let pattern = pattern(&machine.tools, arguments, if all { "g" } else { "" })?;
            let mut text = String::new();
            let mut from = 0;
            for places in pattern.find(&subject.0, machine.budget())? {
                let Some((start, end)) = places[0] else { continue };
                let named = subject.named(&pattern, &places, machine.budget())?;
                let before = subject.part(from, start, machine.budget())?;
                let new = machine.replacement(replacement, named)?;
                for piece in [&before, &new] {
                    let piece = piece.as_text("the replacement of sub")?;
                    machine.budget().allocate(piece.len() + ITEM)?;
                    text.push_str(piece);
                }
                from = end;
            }
            let rest = subject.part(from, subject.0.len(), machine.budget())?;
            text.push_str(rest.as_text("sub")?);
            let text = Value::text(text, machine.budget())?;
            sink(machine, text.into())
        })
    }

    fn replacement(&mut self, node: &'a Node, named: Value) -> Outcome<Value> {
        let mut outputs = self.collect(node, named.into())?;
        match (outputs.pop(), outputs.is_empty()) {
            (Some(only), true) => Ok(only),
            (Some(_), false) => Err(Stop::error("the replacement of sub has several values")),
            (None, _) => Err(Stop::error("the replacement of sub has no value")),
        }
    }
}
