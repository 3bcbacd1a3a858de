//! Functions of dates and times; none of them reads a clock or a time zone.

use std::fmt::Write as _;

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, SecondsFormat, Timelike, Utc};

use super::budget::{Outcome, Stop};
use super::item::whole;
use super::tools::Tools;
use super::value::Value;

fn out_of_range() -> Stop {
    Stop::error("the time is out of range")
}

/// The time of seconds since 1970, or of the parts that `gmtime` gives.
fn moment(value: &Value) -> Outcome<DateTime<Utc>> {
    match value {
        Value::Int(seconds) => i64::try_from(*seconds)
            .ok()
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
            .ok_or_else(out_of_range),
        #[expect(clippy::cast_possible_truncation, reason = "saturates")]
        Value::Float(seconds) => {
            DateTime::from_timestamp_micros((seconds * 1e6).round() as i64).ok_or_else(out_of_range)
        }
        Value::Null | Value::Bool(_) | Value::Text(_) | Value::Array(_) | Value::Object(_) => {
            of_parts(&value.as_array("a time")?.items)
        }
    }
}

/// `[year, month from 0, day, hour, minute, second, ...]`.
fn of_parts(parts: &[Value]) -> Outcome<DateTime<Utc>> {
    let part = |at: usize| {
        parts
            .get(at)
            .and_then(|part| whole(part, f64::floor))
            .ok_or_else(|| Stop::error("a time has at least 6 numbers"))
    };
    let small = |at: usize| u32::try_from(part(at)?).map_err(|_| out_of_range());
    let year = i32::try_from(part(0)?).map_err(|_| out_of_range())?;
    NaiveDate::from_ymd_opt(year, small(1)?.saturating_add(1), small(2)?)
        .and_then(|date| date.and_hms_opt(small(3).ok()?, small(4).ok()?, small(5).ok()?))
        .map(|time| time.and_utc())
        .ok_or_else(out_of_range)
}

/// Seconds since 1970: whole ones as an integer.
fn seconds(time: DateTime<Utc>) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of four thousand years fit")]
    match time.timestamp_subsec_nanos() {
        0 => Value::Int(time.timestamp().into()),
        _ => Value::Float(time.timestamp_micros() as f64 / 1e6),
    }
}

/// `todate`: seconds as RFC 3339.
pub(super) fn to_date(tools: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    if input.number().is_none() {
        return Err(Stop::error(format!("todate wants a number, not {}", input.kind())));
    }
    Value::text(moment(input)?.to_rfc3339_opts(SecondsFormat::AutoSi, true), &tools.budget)
}

/// `fromdate`: RFC 3339 as seconds.
pub(super) fn from_date(_: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    let text = input.as_text("fromdate")?;
    DateTime::parse_from_rfc3339(text)
        .map(|time| seconds(time.to_utc()))
        .map_err(|_| Stop::error("the text is no date and time such as 2026-01-31T09:30:00Z"))
}

/// `gmtime`: seconds as `[year, month from 0, day, hour, minute, second, weekday, day of year]`.
pub(super) fn parts(tools: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    if input.number().is_none() {
        return Err(Stop::error(format!("gmtime wants a number, not {}", input.kind())));
    }
    broken_down(moment(input)?, tools)
}

fn broken_down(time: DateTime<Utc>, tools: &Tools<'_>) -> Outcome<Value> {
    let second = match time.nanosecond() {
        0 => Value::Int(time.second().into()),
        nanos => Value::Float(f64::from(time.second()) + f64::from(nanos) / 1e9),
    };
    let parts = vec![
        Value::Int(time.year().into()),
        Value::Int(time.month0().into()),
        Value::Int(time.day().into()),
        Value::Int(time.hour().into()),
        Value::Int(time.minute().into()),
        second,
        Value::Int(time.weekday().num_days_from_sunday().into()),
        Value::Int(time.ordinal0().into()),
    ];
    Value::paid_array(parts, &tools.budget)
}

/// `mktime`: the seconds of what `gmtime` gives.
pub(super) fn make(_: &Tools<'_>, input: &Value, _: &[Value]) -> Outcome<Value> {
    Ok(Value::Int(of_parts(&input.as_array("mktime")?.items)?.timestamp().into()))
}

/// `strftime($format)`, in UTC.
pub(super) fn format(tools: &Tools<'_>, input: &Value, arguments: &[Value]) -> Outcome<Value> {
    let format = arguments[0].as_text("strftime")?;
    // The longest that one letter of a format can become.
    tools.budget.allocate_many(format.len(), 40)?;
    let items: Vec<Item<'_>> = StrftimeItems::new(format).collect();
    let mut text = String::new();
    if items.contains(&Item::Error)
        || write!(text, "{}", moment(input)?.format_with_items(items.iter())).is_err()
    {
        return Err(Stop::error("strftime does not know that format"));
    }
    Value::text(text, &tools.budget)
}

/// `strptime($format)`: the parts of a time, as `gmtime` gives them.
pub(super) fn parse(tools: &Tools<'_>, input: &Value, arguments: &[Value]) -> Outcome<Value> {
    let text = input.as_text("strptime")?;
    let format = arguments[0].as_text("strptime")?;
    tools.budget.allocate_many(format.len() + text.len(), 40)?;
    let time = DateTime::parse_from_str(text, format)
        .map(|time| time.to_utc())
        .or_else(|_| NaiveDateTime::parse_from_str(text, format).map(|time| time.and_utc()))
        .or_else(|_| {
            NaiveDate::parse_from_str(text, format)
                .map(|date| date.and_time(chrono::NaiveTime::MIN).and_utc())
        })
        .map_err(|_| Stop::error("the text does not have the format that strptime was given"))?;
    broken_down(time, tools)
}
