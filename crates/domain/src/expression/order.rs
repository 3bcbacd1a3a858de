//! The order of values, and sorting by it, counted.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::budget::{Budget, Outcome};
use super::value::Value;

/// The order jq gives to types.
fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(false) => 1,
        Value::Bool(true) => 2,
        Value::Int(_) | Value::Float(_) => 3,
        Value::Text(_) => 4,
        Value::Array(_) => 5,
        Value::Object(_) => 6,
    }
}

/// Compares two values; costs what it looks at.
pub(super) fn compare(left: &Value, right: &Value, budget: &Budget) -> Outcome<Ordering> {
    budget.spend(1)?;
    Ok(match (left, right) {
        (Value::Int(left), Value::Int(right)) => left.cmp(right),
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
            numbers(left.number().unwrap_or(f64::NAN), right.number().unwrap_or(f64::NAN))
        }
        (Value::Text(left), Value::Text(right)) => {
            budget.read(left.len().min(right.len()))?;
            left.cmp(right)
        }
        (Value::Array(left), Value::Array(right)) => {
            all(left.items.iter().zip(&right.items), budget)?
                .then(left.items.len().cmp(&right.items.len()))
        }
        (Value::Object(left), Value::Object(right)) => {
            for (left, right) in left.members.keys().zip(right.members.keys()) {
                budget.spend(1 + left.len().min(right.len()) / 64)?;
            }
            let names = left.members.keys().cmp(right.members.keys());
            match names {
                Ordering::Equal => all(left.members.values().zip(right.members.values()), budget)?,
                Ordering::Less | Ordering::Greater => names,
            }
        }
        (left, right) => rank(left).cmp(&rank(right)),
    })
}

/// Not a number is less than every number, itself included, as in jq.
fn numbers(left: f64, right: f64) -> Ordering {
    left.partial_cmp(&right).unwrap_or(if left.is_nan() {
        Ordering::Less
    } else {
        Ordering::Greater
    })
}

fn all<'v>(
    pairs: impl Iterator<Item = (&'v Value, &'v Value)>,
    budget: &Budget,
) -> Outcome<Ordering> {
    for (left, right) in pairs {
        let order = compare(left, right, budget)?;
        if order != Ordering::Equal {
            return Ok(order);
        }
    }
    Ok(Ordering::Equal)
}

/// Whether two values are the same.
pub(super) fn equal(left: &Value, right: &Value, budget: &Budget) -> Outcome<bool> {
    Ok(compare(left, right, budget)? == Ordering::Equal)
}

/// Sorts pairs by their first part; equal ones keep their places.
///
/// A merge sort of our own, because the comparison can fail and a sort of the standard library
/// may panic when a failed comparison makes its order inconsistent.
pub(super) fn sort<T>(pairs: Vec<(Value, T)>, budget: &Budget) -> Outcome<Vec<(Value, T)>> {
    budget.allocate_many(pairs.len(), 2 * size_of::<(Value, T)>())?;
    let mut runs: Vec<Vec<_>> = pairs.into_iter().map(|pair| vec![pair]).collect();
    while runs.len() > 1 {
        let mut merged = Vec::with_capacity(runs.len().div_ceil(2));
        let mut rest = runs.into_iter();
        while let Some(left) = rest.next() {
            merged.push(match rest.next() {
                Some(right) => merge(left, right, budget)?,
                None => left,
            });
        }
        runs = merged;
    }
    Ok(runs.pop().unwrap_or_default())
}

fn merge<T>(
    left: Vec<(Value, T)>,
    right: Vec<(Value, T)>,
    budget: &Budget,
) -> Outcome<Vec<(Value, T)>> {
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some((l, _)), Some((r, _))) = (left.peek(), right.peek()) {
        let from_right = compare(l, r, budget)? == Ordering::Greater;
        merged.extend(if from_right { right.next() } else { left.next() });
    }
    merged.extend(left);
    merged.extend(right);
    Ok(merged)
}

/// Whether `whole` contains `part`: text within text, every element and member within some.
pub(super) fn contains(whole: &Value, part: &Value, budget: &Budget) -> Outcome<bool> {
    budget.spend(1)?;
    match (whole, part) {
        (Value::Text(whole), Value::Text(part)) => {
            budget.read(4 * whole.len())?;
            Ok(whole.contains(part.as_str()))
        }
        (Value::Array(whole), Value::Array(part)) => {
            for wanted in &part.items {
                if !any_contains(&whole.items, wanted, budget)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Value::Object(whole), Value::Object(part)) => {
            members_contain(&whole.members, &part.members, budget)
        }
        (whole, part) => equal(whole, part, budget),
    }
}

fn any_contains(items: &[Value], wanted: &Value, budget: &Budget) -> Outcome<bool> {
    for item in items {
        if contains(item, wanted, budget)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn members_contain(
    whole: &BTreeMap<std::sync::Arc<str>, Value>,
    part: &BTreeMap<std::sync::Arc<str>, Value>,
    budget: &Budget,
) -> Outcome<bool> {
    for (name, wanted) in part {
        budget.read(name.len())?;
        match whole.get(name) {
            Some(value) if contains(value, wanted, budget)? => {}
            Some(_) | None => return Ok(false),
        }
    }
    Ok(true)
}
