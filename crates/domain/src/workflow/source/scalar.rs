//! Scalars: what plain ones mean, and what JSON writes otherwise than YAML.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::de::IgnoredAny;
use serde_json::{Number, Value};

use crate::storable::clipped;

/// A plain scalar by the core schema of YAML 1.2 (10.3.2).
pub(super) fn plain(text: &str) -> Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        ".nan" | ".NaN" | ".NAN" => return Err(not_json(text)),
        _ => {}
    }
    for (prefix, base) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix)
            && !digits.is_empty()
            && digits.chars().all(|digit| digit.is_digit(base))
        {
            let whole = u64::from_str_radix(digits, base).map_err(|_| too_large(text))?;
            return Ok(Value::Number(whole.into()));
        }
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if [".inf", ".Inf", ".INF"].contains(&unsigned) {
        return Err(not_json(text));
    }
    if !is_number(unsigned) {
        return Ok(Value::String(text.to_owned()));
    }
    // Rust reads a leading sign, too.
    if let Ok(whole) = text.parse::<i64>() {
        return Ok(Value::Number(whole.into()));
    }
    if let Ok(whole) = text.parse::<u64>() {
        return Ok(Value::Number(whole.into()));
    }
    let number = text.parse::<f64>().ok().and_then(Number::from_f64);
    number.map(Value::Number).ok_or_else(|| too_large(text))
}

/// Whether a text is `digits[.digits][e[sign]digits]`, where digits may lack on one side of the
/// point.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) =
        text.split_once(['e', 'E']).map_or((text, None), |(mantissa, rest)| (mantissa, Some(rest)));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.map(|rest| rest.strip_prefix(['+', '-']).unwrap_or(rest));
    (digits(whole) && digits(fraction) && whole.len() + fraction.len() > 0)
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}

fn not_json(text: &str) -> String {
    format!("`{text}` is no number that JSON knows")
}

fn too_large(text: &str) -> String {
    format!("`{}` is too large a number", clipped(text, 40))
}

/// A JSON text with pairs of `\uD83D\uDE00` as `\U0001F600`, any other as it is: JSON writes
/// characters beyond U+FFFF as two halves, which YAML does not read.
pub(super) fn without_surrogates(text: &str) -> Cow<'_, str> {
    let halves = text.contains("\\uD") || text.contains("\\ud");
    if !halves || serde_json::from_str::<IgnoredAny>(text).is_err() {
        return Cow::Borrowed(text);
    }
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from)) = rest.find('\\').map(|at| rest.split_at(at)) {
        whole.push_str(before);
        let pair = half(from).zip(from.get(6..).and_then(half));
        let next = if let Some((high @ 0xD800..=0xDBFF, low @ 0xDC00..=0xDFFF)) = pair {
            let scalar = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
            write!(whole, "\\U{scalar:08X}").expect("writing to a string cannot fail");
            12
        } else {
            // A backslash and what it escapes, which may be another backslash.
            let next = from.chars().take(2).map(char::len_utf8).sum();
            whole.push_str(&from[..next]);
            next
        };
        rest = &from[next..];
    }
    whole.push_str(rest);
    Cow::Owned(whole)
}

/// The number of an escape `\uXXXX` that a text begins with.
fn half(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(())?;
    u32::from_str_radix(digits, 16).ok()
}
