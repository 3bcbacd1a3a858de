//! Functions of arrays and objects.

use std::rc::Rc;
use std::sync::Arc;

use super::arithmetic;
use super::budget::{Budget, ITEM, MEMBER, OBJECT, Outcome, Stop};
use super::item::{Key, whole};
use super::order;
use super::tools::Tools;
use super::value::{Members, Value};

/// `length`.
pub(super) fn length(value: &Value, budget: &Budget) -> Outcome<Value> {
    match value {
        Value::Null => Ok(Value::Int(0)),
        Value::Bool(_) => Err(Stop::error("boolean has no length")),
        Value::Int(integer) => Ok(Value::integer(integer.abs())),
        Value::Float(float) => Ok(Value::Float(float.abs())),
        Value::Text(text) => {
            budget.read(text.len())?;
            Ok(Value::count(text.chars().count()))
        }
        Value::Array(array) => Ok(Value::count(array.items.len())),
        Value::Object(object) => Ok(Value::count(object.members.len())),
    }
}

/// `has($key)`.
pub(super) fn has(value: &Value, key: &Value) -> Outcome<Value> {
    match (value, key) {
        (Value::Object(object), Value::Text(name)) => {
            Ok(Value::Bool(object.members.contains_key(name.as_str())))
        }
        (Value::Array(array), Value::Int(_) | Value::Float(_)) => {
            let at = whole(key, f64::floor).and_then(|at| usize::try_from(at).ok());
            Ok(Value::Bool(at.is_some_and(|at| at < array.items.len())))
        }
        (value, key) => {
            Err(Stop::error(format!("{} cannot have a key that is {}", value.kind(), key.kind())))
        }
    }
}

/// `in($object)`: `has` the other way round.
pub(super) fn is_in(_: &Tools<'_>, input: &Value, arguments: &[Value]) -> Outcome<Value> {
    has(&arguments[0], input)
}

/// `contains($part)`.
pub(super) fn contains(tools: &Tools<'_>, input: &Value, arguments: &[Value]) -> Outcome<Value> {
    same_kind(input, &arguments[0])?;
    order::contains(input, &arguments[0], &tools.budget).map(Value::Bool)
}

/// `inside($whole)`.
pub(super) fn inside(tools: &Tools<'_>, input: &Value, arguments: &[Value]) -> Outcome<Value> {
    same_kind(&arguments[0], input)?;
    order::contains(&arguments[0], input, &tools.budget).map(Value::Bool)
}

fn same_kind(whole: &Value, part: &Value) -> Outcome<()> {
    if whole.kind() == part.kind() {
        return Ok(());
    }
    Err(Stop::error(format!("{} cannot contain {}", whole.kind(), part.kind())))
}

/// `keys`, and `keys_unsorted`: objects here are sorted by name.
pub(super) fn keys(tools: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    match input {
        Value::Array(array) => {
            Value::paid_array((0..array.items.len()).map(Value::count).collect(), &tools.budget)
        }
        Value::Object(object) => {
            let names = object.members.keys().map(|name| Value::text(&**name, &tools.budget));
            Value::paid_array(names.collect::<Outcome<_>>()?, &tools.budget)
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {
            Err(Stop::error(format!("{} has no keys", input.kind())))
        }
    }
}

/// `to_entries`.
pub(super) fn to_entries(tools: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    let entry =
        |key, value: &Value| Value::record([("key", key), ("value", value.clone())], &tools.budget);
    let entries: Outcome<_> = if let Value::Array(array) = input {
        let items = array.items.iter().enumerate();
        items.map(|(at, item)| entry(Value::count(at), item)).collect()
    } else {
        let members = input.as_object("to_entries")?.members.iter();
        members.map(|(name, value)| entry(Value::text(&**name, &tools.budget)?, value)).collect()
    };
    Value::paid_array(entries?, &tools.budget)
}

/// `from_entries`: the name is `key`, `k`, `name` (or those capitalised), the value `value` or `v`.
pub(super) fn from_entries(tools: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    let mut members = Members::new();
    tools.budget.allocate(OBJECT)?;
    for entry in &input.as_array("from_entries")?.items {
        let entry = &entry.as_object("from_entries")?.members;
        let find = |names: &[&str]| names.iter().find_map(|name| entry.get(*name));
        let key = find(&["key", "k", "name", "Name", "Key", "K"]);
        let name: Arc<str> = match key {
            Some(Value::Text(name)) => Arc::from(name.as_str()),
            Some(key @ (Value::Bool(_) | Value::Int(_) | Value::Float(_))) => {
                Arc::from(super::json::write(key, &tools.budget)?)
            }
            None | Some(Value::Null) => Arc::from("null"),
            Some(key @ (Value::Array(_) | Value::Object(_))) => {
                return Err(Stop::error(format!("{} cannot be a member's name", key.kind())));
            }
        };
        let value = find(&["value", "v", "Value", "V"]).cloned().unwrap_or_default();
        tools.budget.allocate(MEMBER + name.len())?;
        members.insert(name, value);
    }
    Value::object(members)
}

/// `reverse`.
pub(super) fn reverse(tools: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    if let Value::Text(text) = input {
        tools.budget.allocate(text.len())?;
        return Value::text(text.chars().rev().collect::<String>(), &tools.budget);
    }
    if matches!(input, Value::Null) {
        return Value::array(Vec::new());
    }
    let items = &input.as_array("reverse")?.items;
    tools.budget.allocate_many(items.len(), ITEM)?;
    Value::array(items.iter().rev().cloned().collect())
}

/// `flatten`, `flatten($depth)`.
pub(super) fn flatten(tools: &Tools<'_>, input: &Value, arguments: &[Value]) -> Outcome<Value> {
    let depth = match arguments.first() {
        Some(depth) => whole(depth, f64::ceil)
            .filter(|depth| *depth >= 0)
            .ok_or_else(|| Stop::error("flatten wants a depth of 0 or more"))?,
        None => i64::MAX,
    };
    let mut flat = Vec::new();
    if let Value::Object(object) = input {
        let values: Vec<Value> = object.members.values().cloned().collect();
        flatten_into(&mut flat, &values, depth, &tools.budget)?;
    } else {
        flatten_into(&mut flat, &input.as_array("flatten")?.items, depth, &tools.budget)?;
    }
    Value::array(flat)
}

fn flatten_into(
    flat: &mut Vec<Value>,
    items: &[Value],
    depth: i64,
    budget: &Budget,
) -> Outcome<()> {
    for item in items {
        budget.spend(1)?;
        if let Value::Array(inner) = item
            && depth > 0
        {
            flatten_into(flat, &inner.items, depth - 1, budget)?;
        } else {
            budget.allocate(ITEM)?;
            flat.push(item.clone());
        }
    }
    Ok(())
}

/// `transpose`.
pub(super) fn transpose(tools: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    let rows = &input.as_array("transpose")?.items;
    let rows: Vec<&[Value]> = rows
        .iter()
        .map(|row| Ok(row.as_array("transpose")?.items.as_slice()))
        .collect::<Outcome<_>>()?;
    let width = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    tools.budget.allocate_many(width.saturating_mul(rows.len() + 1), ITEM)?;
    let column = |at| rows.iter().map(|row| row.get(at).cloned().unwrap_or_default()).collect();
    Value::array((0..width).map(|at| Value::array(column(at))).collect::<Outcome<_>>()?)
}

/// `toarray`.
pub(super) fn to_array(tools: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    if matches!(input, Value::Array(_)) {
        return Ok(input.clone());
    }
    Value::paid_array(vec![input.clone()], &tools.budget)
}

/// `not`.
#[expect(clippy::unnecessary_wraps, reason = "like the other functions in the vocabulary")]
pub(super) fn not(_: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    Ok(Value::Bool(!input.truthy()))
}

/// A path given as an array.
pub(super) fn path(value: &Value) -> Outcome<Vec<Key>> {
    let keys = &value.as_array("a path")?.items;
    if keys.len() > usize::from(super::value::NESTING) {
        return Err(Stop::Limit(super::budget::Limit::Nesting));
    }
    keys.iter().map(Key::of).collect()
}

/// The sum of values, one after the other.
pub(super) struct Sum(Value);

impl Sum {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self(Value::Null)
    }

    /// Adds a value.
    pub(super) fn add(&mut self, value: &Value, budget: &Budget) -> Outcome<()> {
        self.0 = arithmetic::add(std::mem::take(&mut self.0), value, budget)?;
        Ok(())
    }

    /// The sum; `null` of nothing.
    pub(super) fn total(self) -> Value {
        self.0
    }
}

/// Groups of elements whose keys are the same, in the order of the keys.
pub(super) fn groups(sorted: Vec<(Value, Value)>, budget: &Budget) -> Outcome<Vec<Vec<Value>>> {
    let mut groups: Vec<Vec<Value>> = Vec::new();
    let mut last: Option<Value> = None;
    for (key, item) in sorted {
        budget.allocate(ITEM)?;
        let same = match &last {
            Some(last) => order::equal(last, &key, budget)?,
            None => false,
        };
        match groups.last_mut().filter(|_| same) {
            Some(group) => group.push(item),
            None => groups.push(vec![item]),
        }
        last = Some(key);
    }
    Ok(groups)
}

/// The elements of an array, shared.
pub(super) fn elements(input: &Value, wanted_by: &str) -> Outcome<Rc<super::value::Array>> {
    input.as_array(wanted_by).map(Rc::clone)
}
