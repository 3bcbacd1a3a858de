//! Functions of numbers.

use super::budget::{Outcome, Stop};
use super::tools::Tools;
use super::value::Value;

fn float(value: &Value, wanted_by: &str) -> Outcome<f64> {
    value
        .number()
        .ok_or_else(|| Stop::error(format!("{wanted_by} wants a number, not {}", value.kind())))
}

fn round_by(value: &Value, name: &str, round: fn(f64) -> f64) -> Outcome<Value> {
    if matches!(value, Value::Int(_)) {
        return Ok(value.clone());
    }
    Ok(Value::rounded(round(float(value, name)?)))
}

/// `floor`.
pub(super) fn floor(_: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    round_by(input, "floor", f64::floor)
}

/// `ceil`.
pub(super) fn ceil(_: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    round_by(input, "ceil", f64::ceil)
}

/// `round`.
pub(super) fn round(_: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    round_by(input, "round", f64::round)
}

/// `trunc`.
pub(super) fn trunc(_: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    round_by(input, "trunc", f64::trunc)
}

/// `sqrt`.
pub(super) fn sqrt(_: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    float(input, "sqrt").map(f64::sqrt).map(Value::Float)
}

/// `exp`.
pub(super) fn exp(_: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    float(input, "exp").map(f64::exp).map(Value::Float)
}

/// `exp2`.
pub(super) fn exp2(_: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    float(input, "exp2").map(f64::exp2).map(Value::Float)
}

/// `exp10`.
pub(super) fn exp10(_: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    float(input, "exp10").map(|power| Value::Float(10_f64.powf(power)))
}

/// `log`: to the base e.
pub(super) fn log(_: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    float(input, "log").map(f64::ln).map(Value::Float)
}

/// `log2`.
pub(super) fn log2(_: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    float(input, "log2").map(f64::log2).map(Value::Float)
}

/// `log10`.
pub(super) fn log10(_: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    float(input, "log10").map(f64::log10).map(Value::Float)
}

/// `pow($base; $power)`.
pub(super) fn pow(_: &Tools<'_>, _: &Value, arguments: &[Value]) -> Outcome<Value> {
    Ok(Value::Float(float(&arguments[0], "pow")?.powf(float(&arguments[1], "pow")?)))
}

/// `abs`.
pub(super) fn abs(_: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    if let Value::Int(integer) = input {
        return Ok(Value::integer(integer.abs()));
    }
    float(input, "abs").map(f64::abs).map(Value::Float)
}

/// `isnan`.
pub(super) fn is_nan(_: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    float(input, "isnan").map(f64::is_nan).map(Value::Bool)
}

/// `isinfinite`.
pub(super) fn is_infinite(_: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    float(input, "isinfinite").map(f64::is_infinite).map(Value::Bool)
}

/// `isnormal`.
pub(super) fn is_normal(_: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    float(input, "isnormal").map(f64::is_normal).map(Value::Bool)
}

/// `infinite`.
#[expect(clippy::unnecessary_wraps, reason = "like the other functions in the vocabulary")]
pub(super) fn infinite(_: &Tools<'_>, _: &Value, _: &[Value]) -> Outcome<Value> {
    Ok(Value::Float(f64::INFINITY))
}

/// `nan`.
#[expect(clippy::unnecessary_wraps, reason = "like the other functions in the vocabulary")]
pub(super) fn nan(_: &Tools<'_>, _: &Value, _: &[Value]) -> Outcome<Value> {
    Ok(Value::Float(f64::NAN))
}
