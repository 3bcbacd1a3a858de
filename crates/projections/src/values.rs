//! Between event fields and columns: the same value always gives the same bytes.

use chrono::{SubsecRound, TimeDelta};
use domain::Timestamp;
use domain::execution::Error;
use serde::Serialize;
use serde_json::Value;

/// The most bytes of a text in a key: Postgres refuses index rows of more than about 2,700.
const KEY_TEXT_LIMIT: usize = 250;

/// What stands for U+0000, which Postgres cannot keep in a text.
const NO_NUL: &str = "\u{fffd}";

/// A value as JSON text. Personal values are marked when they are serialised by themselves, so this
/// takes nothing but bare ones.
pub(crate) fn json(value: &Value) -> String {
    value.to_string()
}

/// A definition, in which nothing is personal, as JSON text.
pub(crate) fn definition(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("events are plain data")
}

/// An error as JSON text, without its detail if that was erased.
pub(crate) fn problem(error: &Error) -> String {
    json(&error.to_value())
}

/// Takes the detail, which is personal, out of an error.
pub(crate) fn without_detail(problem: &mut Option<String>) {
    let Some(text) = problem else { return };
    if let Ok(Value::Object(members)) = serde_json::from_str(text) {
        let members = members.into_iter().filter(|(name, _)| name != "detail");
        *text = json(&Value::Object(members.collect()));
    }
}

/// A time as precisely as Postgres keeps it, so that a row is the same before and after it was
/// stored.
pub(crate) fn micros(time: Timestamp) -> Timestamp {
    time.trunc_subsecs(6)
}

/// The beginning of the hour of a time.
pub(crate) fn hour(time: Timestamp) -> Timestamp {
    let into_hour = TimeDelta::seconds(time.timestamp().rem_euclid(3600));
    time.trunc_subsecs(0) - into_hour
}

/// Milliseconds from one time to another; 0 if the clock was set back meanwhile.
pub(crate) fn millis_between(from: Timestamp, to: Timestamp) -> i64 {
    (to - from).num_milliseconds().max(0)
}

/// A count as a `bigint`.
pub(crate) fn bigint(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A number as an `integer`.
pub(crate) fn integer(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// A text that may be part of a key.
pub(crate) fn key_text(text: &str) -> String {
    let clipped = &text[..text.floor_char_boundary(KEY_TEXT_LIMIT)];
    clipped.replace('\0', NO_NUL)
}

/// Makes all texts in a row such that Postgres can keep them.
pub(crate) fn without_nul(value: &mut Value) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::String(text) => {
            if text.contains('\0') {
                *text = text.replace('\0', NO_NUL);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(without_nul),
        Value::Object(members) => {
            let names: Vec<String> =
                members.keys().filter(|name| name.contains('\0')).cloned().collect();
            for name in names {
                if let Some(member) = members.remove(&name) {
                    members.insert(name.replace('\0', NO_NUL), member);
                }
            }
            members.values_mut().for_each(without_nul);
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::scenario::NOON;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_time_belongs_to_the_hour_before_it_also_before_1970() {
        let later = NOON + TimeDelta::milliseconds(3_599_999);
        assert_eq!(hour(later), NOON);
        let early = Timestamp::from_timestamp_millis(-1).expect("a time");
        assert_eq!(hour(early), Timestamp::from_timestamp(-3600, 0).expect("a time"));
    }

    #[test]
    fn nul_is_replaced_wherever_it_hides() {
        let mut value = json!({"a\0": ["\0", {"b": "x\0y"}], "n": 1});
        without_nul(&mut value);
        assert_eq!(value, json!({"a\u{fffd}": ["\u{fffd}", {"b": "x\u{fffd}y"}], "n": 1}));
    }

    #[test]
    fn a_text_in_a_key_is_short_and_ends_between_characters() {
        assert_eq!(key_text("gpt\0"), "gpt\u{fffd}");
        assert_eq!(key_text(&"ä".repeat(300)).len(), KEY_TEXT_LIMIT);
    }
}
