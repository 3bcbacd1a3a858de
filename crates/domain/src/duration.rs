//! Lengths of time as the workflow language writes them: an object or ISO 8601 text.

use std::time::Duration;

use serde_json::Value;

/// The units of a duration object, with their length in milliseconds.
const UNITS: [(&str, u64); 5] = [
    ("days", 86_400_000),
    ("hours", 3_600_000),
    ("minutes", 60_000),
    ("seconds", 1_000),
    ("milliseconds", 1),
];

/// The longest duration that is taken, 366 days: longer ones are mistakes that would wait for ever.
const LONGEST_MS: u64 = 366 * 86_400_000;

/// The duration that a value describes, or what is wrong with it.
pub(crate) fn of(value: &Value) -> Result<Duration, String> {
    let millis = match value {
        Value::Object(members) => {
            let mut total = 0_u64;
            for (name, amount) in members {
                total = total.saturating_add(part(name, amount)?);
            }
            total
        }
        Value::String(text) => iso8601(text)?,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            return Err("a duration is an object such as {seconds: 5}, or ISO 8601 text".to_owned());
        }
    };
    if millis > LONGEST_MS {
        return Err("a duration is at most 366 days".to_owned());
    }
    Ok(Duration::from_millis(millis))
}

fn part(name: &str, amount: &Value) -> Result<u64, String> {
    let Some((_, length)) = UNITS.iter().find(|(unit, _)| *unit == name) else {
        return Err(format!(
            "`{name}` is no unit of time: use days, hours, minutes, seconds or milliseconds"
        ));
    };
    let amount = amount
        .as_u64()
        .ok_or_else(|| format!("`{name}` must be a whole number that is not negative"))?;
    Ok(amount.saturating_mul(*length))
}

/// Days and smaller units: months and years have no fixed length.
fn iso8601(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not an ISO 8601 duration such as PT1H30M");
    let rest = text.strip_prefix('P').ok_or_else(wrong)?;
    let (date, time) = rest.split_once('T').map_or((rest, None), |(date, time)| (date, Some(time)));
    if date.contains(['Y', 'M']) {
        return Err("years and months have no fixed length: use days".to_owned());
    }
    if rest.is_empty() || time == Some("") {
        return Err(wrong());
    }
    let date = amounts(date, &[('W', 7 * 86_400_000), ('D', 86_400_000)]).ok_or_else(wrong)?;
    let units = [('H', 3_600_000), ('M', 60_000), ('S', 1_000)];
    let time = amounts(time.unwrap_or_default(), &units).ok_or_else(wrong)?;
    Ok(date.saturating_add(time))
}

/// The sum of `<number><unit>` parts, each unit at most once and in the order given.
fn amounts(mut text: &str, units: &[(char, u64)]) -> Option<u64> {
    let (mut total, mut units) = (0_u64, units.iter());
    while !text.is_empty() {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, rest) = text.split_at(end);
        let unit = rest.chars().next()?;
        let (_, length) = units.find(|(name, _)| *name == unit)?;
        total = total.saturating_add(scaled(number, *length)?);
        text = &rest[unit.len_utf8()..];
    }
    Some(total)
}

/// A decimal number times a length, in whole milliseconds.
fn scaled(number: &str, length: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.parse::<u64>().ok()?.saturating_mul(length);
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    let thousandths = digits.parse::<u64>().ok()?;
    Some(whole.saturating_add(thousandths.saturating_mul(length) / 1_000))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_and_iso_text_say_the_same() {
        let both = [
            (json!({"hours": 1, "minutes": 30}), json!("PT1H30M")),
            (json!({"days": 2, "milliseconds": 500}), json!("P2DT0.5S")),
            (json!({"days": 14}), json!("P2W")),
            (json!({}), json!("PT0S")),
        ];
        for (object, text) in both {
            assert_eq!(of(&object), of(&text), "{object} and {text}");
            assert!(of(&object).is_ok(), "{object}");
        }
    }

    #[test]
    fn what_has_no_fixed_length_or_no_end_is_refused() {
        for bad in [
            json!("P1Y"),
            json!("P1M"),
            json!("PT"),
            json!("P"),
            json!("5s"),
            json!("PT1M1H"),
            json!("P367D"),
            json!({"seconds": -1}),
            json!({"seconds": 1.5}),
            json!({"weeks": 1}),
            json!({"days": 1_000_000_000_000_u64}),
            json!(5),
            json!("PT1e9S"),
        ] {
            assert!(of(&bad).is_err(), "{bad}");
        }
    }
}
