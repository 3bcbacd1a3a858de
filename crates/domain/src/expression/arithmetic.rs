//! `+ - * / %` of values.

use std::rc::Rc;
use std::sync::Arc;

use jaq_core::ops::Math;

use super::budget::{Budget, ITEM, Outcome, Stop};
use super::order;
use super::text;
use super::value::{Array, Object, Value};

/// Calculates; takes `left` so that what nobody shares grows in place.
pub(super) fn calculate(
    operator: Math,
    left: Value,
    right: &Value,
    budget: &Budget,
) -> Outcome<Value> {
    match operator {
        Math::Add => add(left, right, budget),
        Math::Sub => subtract(left, right, budget),
        Math::Mul => multiply(left, right, budget),
        Math::Div => divide(&left, right, budget),
        Math::Rem => remainder(&left, right),
    }
}

fn refuse(left: &Value, operator: &str, right: &Value) -> Stop {
    Stop::error(format!("cannot calculate {} {operator} {}", left.kind(), right.kind()))
}

/// The floats of two numbers.
fn floats(left: &Value, right: &Value) -> Option<(f64, f64)> {
    Some((left.number()?, right.number()?))
}

/// `left + right`.
pub(super) fn add(left: Value, right: &Value, budget: &Budget) -> Outcome<Value> {
    Ok(match (left, right) {
        (Value::Null, right) => right.clone(),
        (left, Value::Null) => left,
        (Value::Int(left), Value::Int(right)) => Value::integer(left + right),
        (Value::Text(left), Value::Text(right)) => Value::Text(append(left, right, budget)?),
        (Value::Array(mut left), Value::Array(right)) => {
            let whole = Array::unshared(&mut left, budget)?;
            for item in &right.items {
                whole.push(item.clone(), budget)?;
            }
            Value::Array(left)
        }
        (Value::Object(mut left), Value::Object(right)) => {
            let whole = Object::unshared(&mut left, budget)?;
            for (name, value) in &right.members {
                whole.put(Arc::clone(name), value.clone(), budget)?;
            }
            Value::Object(left)
        }
        (left, right) => match floats(&left, right) {
            Some((left, right)) => Value::Float(left + right),
            None => return Err(refuse(&left, "+", right)),
        },
    })
}

fn append(mut left: Arc<String>, right: &str, budget: &Budget) -> Outcome<Arc<String>> {
    if let Some(own) = Arc::get_mut(&mut left) {
        budget.allocate(2 * right.len())?;
        own.push_str(right);
        return Ok(left);
    }
    budget.allocate(left.len() + right.len() + ITEM)?;
    Ok(Arc::new([left.as_str(), right].concat()))
}

fn subtract(left: Value, right: &Value, budget: &Budget) -> Outcome<Value> {
    Ok(match (left, right) {
        (Value::Int(left), Value::Int(right)) => Value::integer(left - right),
        (Value::Array(left), Value::Array(right)) => {
            let mut kept = Vec::new();
            for item in &left.items {
                if !has(&right.items, item, budget)? {
                    kept.push(item.clone());
                }
            }
            Value::paid_array(kept, budget)?
        }
        (left, right) => match floats(&left, right) {
            Some((left, right)) => Value::Float(left - right),
            None => return Err(refuse(&left, "-", right)),
        },
    })
}

fn has(items: &[Value], wanted: &Value, budget: &Budget) -> Outcome<bool> {
    for item in items {
        if order::equal(item, wanted, budget)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn multiply(left: Value, right: &Value, budget: &Budget) -> Outcome<Value> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => Ok(left.checked_mul(*right).map_or_else(
            || Value::Float(super::value::widen(left) * super::value::widen(*right)),
            Value::integer,
        )),
        (Value::Text(text), count @ (Value::Int(_) | Value::Float(_))) => {
            repeat(&text, count, budget)
        }
        (count @ (Value::Int(_) | Value::Float(_)), Value::Text(text)) => {
            repeat(text, &count, budget)
        }
        (Value::Object(left), Value::Object(right)) => {
            merge(left, right, budget).map(Value::Object)
        }
        (left, right) => match floats(&left, right) {
            Some((left, right)) => Ok(Value::Float(left * right)),
            None => Err(refuse(&left, "*", right)),
        },
    }
}

/// Text `count` times; `null` for none at all, as in jq.
fn repeat(text: &str, count: &Value, budget: &Budget) -> Outcome<Value> {
    let count = count.number().unwrap_or(0.0).ceil();
    if count.is_nan() || count <= 0.0 {
        return Ok(Value::Null);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let count = count as usize;
    budget.allocate(text.len().saturating_mul(count).saturating_add(ITEM))?;
    Ok(Value::Text(Arc::new(if text.is_empty() { String::new() } else { text.repeat(count) })))
}

/// Objects merged member by member, all the way down.
fn merge(mut left: Rc<Object>, right: &Object, budget: &Budget) -> Outcome<Rc<Object>> {
    let whole = Object::unshared(&mut left, budget)?;
    for (name, value) in &right.members {
        let old = whole.members.get_mut(name).map(std::mem::take);
        let merged = match (old, value) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                Value::Object(merge(old, new, budget)?)
            }
            (_, new) => new.clone(),
        };
        whole.put(Arc::clone(name), merged, budget)?;
    }
    Ok(left)
}

fn divide(left: &Value, right: &Value, budget: &Budget) -> Outcome<Value> {
    if let (Value::Text(whole), Value::Text(separator)) = (left, right) {
        return text::split(whole, separator, budget);
    }
    match (left, right, floats(left, right)) {
        (_, _, Some((_, 0.0))) => Err(Stop::error("cannot divide by zero")),
        (Value::Int(left), Value::Int(right), _) if left % right == 0 => {
            Ok(Value::integer(left / right))
        }
        (_, _, Some((left, right))) => Ok(Value::Float(left / right)),
        (_, _, None) => Err(refuse(left, "/", right)),
    }
}

/// The remainder of the whole parts, with the sign of `left`, as in jq.
fn remainder(left: &Value, right: &Value) -> Outcome<Value> {
    let (left, right) = match (left, right, floats(left, right)) {
        (Value::Int(left), Value::Int(right), _) => (*left, *right),
        (_, _, Some((l, r))) if l.is_nan() || r.is_nan() => return Ok(Value::Float(f64::NAN)),
        #[expect(clippy::cast_possible_truncation, reason = "saturates, as in jq")]
        (_, _, Some((left, right))) => (i128::from(left as i64), i128::from(right as i64)),
        (_, _, None) => return Err(refuse(left, "%", right)),
    };
    if right == 0 {
        return Err(Stop::error("cannot divide by zero"));
    }
    Ok(Value::integer(left % right))
}

/// `-value`.
pub(super) fn negate(value: &Value) -> Outcome<Value> {
    match value {
        Value::Int(integer) => Ok(Value::integer(-integer)),
        Value::Float(float) => Ok(Value::Float(-float)),
        Value::Null | Value::Bool(_) | Value::Text(_) | Value::Array(_) | Value::Object(_) => {
            Err(Stop::error(format!("cannot negate {}", value.kind())))
        }
    }
}
