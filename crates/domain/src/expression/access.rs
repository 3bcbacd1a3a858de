//! Looking into values and changing them at a path.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::Value as Json;

use super::budget::{Budget, ITEM, OBJECT, Outcome, Stop};
use super::item::{Held, Key, shorten};
use super::order;
use super::value::{Array, Members, Object, Value};

/// What changes the value at the end of a path; none deletes it.
pub(super) type Change<'c> = dyn FnMut(Value) -> Outcome<Option<Value>> + 'c;

/// The place in something `length` long; none if it is outside.
pub(super) fn place(index: i64, length: usize) -> Option<usize> {
    let index = usize::try_from(index).ok().or_else(|| {
        length.checked_sub(usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX))
    })?;
    (index < length).then_some(index)
}

/// The places between two bounds in something `length` long.
pub(super) fn places(start: Option<i64>, end: Option<i64>, length: usize) -> Range<usize> {
    let clip = |bound: i64| match usize::try_from(bound) {
        Ok(bound) => bound.min(length),
        Err(_) => length.saturating_sub(usize::try_from(bound.unsigned_abs()).unwrap_or(length)),
    };
    let start = start.map_or(0, clip);
    start..end.map_or(length, clip).max(start)
}

/// `held[key]`.
pub(super) fn index<'a>(held: Held<'a>, key: &Value, budget: &Budget) -> Outcome<Held<'a>> {
    if let Value::Text(name) = key {
        budget.read(name.len())?;
    }
    match (&held, key) {
        (Held::Lent(Json::Object(members)), Value::Text(name)) => {
            Ok(members.get(name.as_str()).map_or(Held::Own(Value::Null), Held::Lent))
        }
        (Held::Lent(Json::Array(items)), Value::Int(_) | Value::Float(_)) => {
            let Key::Index(at) = Key::of(key)? else { return Ok(Held::Own(Value::Null)) };
            let item = place(at, items.len()).and_then(|at| items.get(at));
            Ok(item.map_or(Held::Own(Value::Null), Held::Lent))
        }
        (Held::Own(value), _) => index_own(value, key, budget).map(Held::Own),
        (Held::Lent(_), _) => {
            let value = held.own(budget)?;
            index_own(&value, key, budget).map(Held::Own)
        }
    }
}

fn index_own(value: &Value, key: &Value, budget: &Budget) -> Outcome<Value> {
    match (value, key) {
        (Value::Object(object), Value::Text(name)) => {
            Ok(object.members.get(name.as_str()).cloned().unwrap_or_default())
        }
        (Value::Array(array), Value::Array(part)) => indices(&array.items, &part.items, budget),
        (_, Value::Null | Value::Bool(_) | Value::Array(_)) => {
            Err(Stop::error(format!("cannot index {} with {}", value.kind(), key.kind())))
        }
        (_, Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::Object(_)) => {
            get(value, &Key::of(key)?, budget)
        }
    }
}

/// Where `part` begins in `items`.
pub(super) fn indices(items: &[Value], part: &[Value], budget: &Budget) -> Outcome<Value> {
    let mut found = Vec::new();
    if !part.is_empty() {
        for (at, window) in items.windows(part.len()).enumerate() {
            let mut same = true;
            for (item, wanted) in window.iter().zip(part) {
                same = same && order::equal(item, wanted, budget)?;
            }
            if same {
                found.push(Value::count(at));
            }
        }
    }
    Value::paid_array(found, budget)
}

/// The value one step into another; `null` where nothing is.
pub(super) fn get(value: &Value, key: &Key, budget: &Budget) -> Outcome<Value> {
    match (value, key) {
        (Value::Null, _) => Ok(Value::Null),
        (Value::Object(object), Key::Name(name)) => {
            Ok(object.members.get(name).cloned().unwrap_or_default())
        }
        (Value::Array(array), Key::Index(at)) => {
            Ok(place(*at, array.items.len()).map(|at| array.items[at].clone()).unwrap_or_default())
        }
        (value, Key::Slice(start, end)) => slice(value, *start, *end, budget),
        (value, key @ (Key::Name(_) | Key::Index(_))) => Err(cannot_index(value, key)),
    }
}

fn cannot_index(value: &Value, key: &Key) -> Stop {
    Stop::error(format!("cannot index {} with {}", value.kind(), key.shown()))
}

/// `value[start:end]`.
pub(super) fn slice(
    value: &Value,
    start: Option<i64>,
    end: Option<i64>,
    budget: &Budget,
) -> Outcome<Value> {
    match value {
        Value::Null => Ok(Value::Null),
        Value::Array(array) => {
            let range = places(start, end, array.items.len());
            Value::paid_array(array.items[range].to_vec(), budget)
        }
        Value::Text(text) => {
            budget.read(4 * text.len())?;
            let range = places(start, end, text.chars().count());
            let part: String = text.chars().skip(range.start).take(range.len()).collect();
            Value::text(part, budget)
        }
        Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Object(_) => {
            Err(Stop::error(format!("cannot slice {}", value.kind())))
        }
    }
}

/// The value at a path.
pub(super) fn get_at(value: &Value, path: &[Key], budget: &Budget) -> Outcome<Value> {
    let mut at = value.clone();
    for key in path {
        budget.spend(1)?;
        budget.read(key.length())?;
        at = get(&at, key, budget)?;
    }
    Ok(at)
}

/// Changes the value at a path, making what is missing on the way.
///
/// The caller keeps paths as short as values may be deep, so that this recursion is bounded.
pub(super) fn change_at(
    value: Value,
    path: &[Key],
    change: &mut Change<'_>,
    budget: &Budget,
) -> Outcome<Option<Value>> {
    budget.spend(1)?;
    let Some((key, rest)) = path.split_first() else { return change(value) };
    budget.read(key.length())?;
    match (value, key) {
        (Value::Null, Key::Name(name)) => {
            budget.allocate(OBJECT)?;
            let value = Value::object(Members::new())?;
            change_member(value.as_object("")?.clone(), name, rest, change, budget).map(Some)
        }
        (Value::Object(object), Key::Name(name)) => {
            change_member(object, name, rest, change, budget).map(Some)
        }
        (Value::Null, Key::Index(at)) => {
            let value = Value::array(Vec::new())?;
            change_item(value.as_array("")?.clone(), *at, rest, change, budget).map(Some)
        }
        (Value::Array(array), Key::Index(at)) => {
            change_item(array, *at, rest, change, budget).map(Some)
        }
        (value @ (Value::Null | Value::Array(_)), Key::Slice(start, end)) => {
            change_slice(&value, (*start, *end), rest, change, budget).map(Some)
        }
        (value, key) => Err(cannot_index(&value, key)),
    }
}

fn change_member(
    mut object: Rc<Object>,
    name: &Arc<str>,
    rest: &[Key],
    change: &mut Change<'_>,
    budget: &Budget,
) -> Outcome<Value> {
    let whole = Object::unshared(&mut object, budget)?;
    let old = whole.members.get_mut(name).map(std::mem::take).unwrap_or_default();
    match change_at(old, rest, change, budget)? {
        Some(new) => whole.put(Arc::clone(name), new, budget)?,
        None => drop(whole.members.remove(name)),
    }
    Ok(Value::Object(object))
}

fn change_item(
    mut array: Rc<Array>,
    at: i64,
    rest: &[Key],
    change: &mut Change<'_>,
    budget: &Budget,
) -> Outcome<Value> {
    let whole = Array::unshared(&mut array, budget)?;
    let at = place(at, whole.items.len()).or_else(|| usize::try_from(at).ok());
    let at = at.ok_or_else(|| Stop::error("an index lies before the array's start"))?;
    let old = whole.items.get_mut(at).map(std::mem::take).unwrap_or_default();
    match change_at(old, rest, change, budget)? {
        Some(new) => {
            if at >= whole.items.len() {
                budget.allocate_many((at - whole.items.len()).saturating_add(1), ITEM)?;
                whole.items.resize(at + 1, Value::Null);
            }
            whole.put(at, new)?;
        }
        None if at < whole.items.len() => {
            budget.spend((whole.items.len() - at) / 16)?;
            drop(whole.items.remove(at));
        }
        None => {}
    }
    Ok(Value::Array(array))
}

fn change_slice(
    value: &Value,
    (start, end): (Option<i64>, Option<i64>),
    rest: &[Key],
    change: &mut Change<'_>,
    budget: &Budget,
) -> Outcome<Value> {
    let items = if let Value::Array(array) = value { array.items.as_slice() } else { &[] };
    let range = places(start, end, items.len());
    let old = slice(value, start, end, budget)?;
    let new = change_at(old, rest, change, budget)?;
    let new = match &new {
        Some(Value::Array(new)) => new.items.as_slice(),
        None => &[],
        Some(other) => {
            return Err(Stop::error(format!("a slice becomes an array, not {}", other.kind())));
        }
    };
    let parts = [&items[..range.start], new, &items[range.end..]];
    Value::paid_array(parts.concat(), budget)
}

/// Sets the value at a path.
pub(super) fn set_at(value: Value, path: &[Key], new: Value, budget: &Budget) -> Outcome<Value> {
    let mut new = Some(new);
    Ok(change_at(value, path, &mut |_| Ok(new.take()), budget)?.unwrap_or_default())
}

/// A value without the one at a path, and that one; both with it where it cannot be taken out.
pub(super) fn take_at(value: Value, path: &[Key], budget: &Budget) -> Outcome<(Value, Value)> {
    let slices = path.iter().any(|key| matches!(key, Key::Slice(..)));
    let there = match exists(&value, path, budget) {
        Err(Stop::Error(_)) => false,
        exists @ (Ok(_) | Err(_)) => exists?,
    };
    if slices || !there {
        let found = get_at(&value, path, budget)?;
        return Ok((value, found));
    }
    let mut found = Value::Null;
    let mut take = |old| {
        found = old;
        Ok(Some(Value::Null))
    };
    let rest = change_at(value, path, &mut take, budget)?.unwrap_or_default();
    Ok((rest, found))
}

/// Deletes the values at some paths.
pub(super) fn delete_all(value: Value, paths: &[Vec<Key>], budget: &Budget) -> Outcome<Value> {
    let mut sortable = Vec::with_capacity(paths.len());
    for path in paths {
        let keys = path.iter().map(|key| key.to_value(budget)).collect::<Outcome<_>>()?;
        sortable.push((Value::paid_array(keys, budget)?, path));
    }
    // From the last to the first, so that a deletion does not move what is still to delete.
    let mut value = value;
    for (_, path) in order::sort(sortable, budget)?.into_iter().rev() {
        value = delete_at(value, path, budget)?;
    }
    Ok(value)
}

fn delete_at(value: Value, path: &[Key], budget: &Budget) -> Outcome<Value> {
    if !exists(&value, path, budget)? {
        return Ok(value);
    }
    Ok(change_at(value, path, &mut |_| Ok(None), budget)?.unwrap_or_default())
}

/// Whether there is something at a path that can be deleted.
fn exists(value: &Value, path: &[Key], budget: &Budget) -> Outcome<bool> {
    let mut at = value.clone();
    for key in path {
        budget.spend(1)?;
        budget.read(key.length())?;
        let there = match (&at, key) {
            (Value::Object(object), Key::Name(name)) => object.members.contains_key(name),
            (Value::Array(array), Key::Index(index)) => place(*index, array.items.len()).is_some(),
            (Value::Array(_), Key::Slice(..)) => true,
            (Value::Null, _) => false,
            (other, key) => {
                let key = shorten(&key.shown(), 40);
                return Err(Stop::error(format!("cannot delete {key} of {}", other.kind())));
            }
        };
        if !there {
            return Ok(false);
        }
        at = get(&at, key, budget)?;
    }
    Ok(true)
}
