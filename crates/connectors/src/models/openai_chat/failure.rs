//! What a failure means: one status stands for many things, so code and type decide first.

use std::time::Duration;

use chrono::DateTime;
use domain::invocation::FailureClass;
use serde_json::Value;

use crate::egress::{EgressError, OutboundResponse};
use crate::models::port::ChatError;

/// Nobody is served by a longer wait; a provider that asks for it has made a mistake.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// There was no answer at all.
pub(super) fn not_answered(error: &EgressError) -> ChatError {
    let class = match error {
        EgressError::Invalid(_) => FailureClass::InvalidRequest,
        EgressError::Denied => FailureClass::Unavailable,
        EgressError::Unknown { timed_out: true, .. } => FailureClass::Timeout,
        EgressError::NotSent(_)
        | EgressError::Unknown { timed_out: false, .. }
        | EgressError::TooLarge { .. } => FailureClass::Transient,
    };
    ChatError::new(class, format!("the provider gave no answer: {error}"))
}

/// The provider answered with an error; `error` is that member of the body, null if there is none.
///
/// Its message stays out of the detail: it may repeat the input or a part of the key.
pub(super) fn refused(answer: &OutboundResponse, error: &Value) -> ChatError {
    let words: Vec<_> = ["type", "code", "param"]
        .into_iter()
        .filter_map(|field| error[field].as_str().filter(|word| is_name(word)))
        .collect();
    let mut detail = format!("the provider answered {}", answer.status);
    if !words.is_empty() {
        detail = format!("{detail} ({})", words.join(", "));
    }
    let class = class(answer.status, &words);
    let retry_after = match class {
        FailureClass::RateLimited | FailureClass::Transient => retry_after(answer, error),
        FailureClass::OutputInvalid
        | FailureClass::InvalidRequest
        | FailureClass::Auth
        | FailureClass::QuotaExhausted
        | FailureClass::ContentPolicy
        | FailureClass::Unavailable
        | FailureClass::Timeout => None,
    };
    ChatError { class, detail, retry_after }
}

fn class(status: u16, words: &[&str]) -> FailureClass {
    let by_word = words.iter().find_map(|word| match *word {
        "insufficient_quota" | "billing_hard_limit_reached" => Some(FailureClass::QuotaExhausted),
        "content_filter" | "content_policy_violation" => Some(FailureClass::ContentPolicy),
        "model_not_found" => Some(FailureClass::Unavailable),
        "invalid_api_key" => Some(FailureClass::Auth),
        "context_length_exceeded" => Some(FailureClass::InvalidRequest),
        _ => None,
    });
    by_word.unwrap_or(match status {
        401 | 403 => FailureClass::Auth,
        402 => FailureClass::QuotaExhausted,
        // A redirect of a POST is never followed: the base URL is wrong, as with 404.
        300..=399 | 404 | 405 | 410 => FailureClass::Unavailable,
        429 => FailureClass::RateLimited,
        408 | 409 | 425 => FailureClass::Transient,
        400..=499 => FailureClass::InvalidRequest,
        _ => FailureClass::Transient,
    })
}

/// A machine's word, not a person's sentence: safe to repeat.
fn is_name(word: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte);
    (1..=64).contains(&word.len()) && word.bytes().all(plain)
}

/// How long to wait, by the first hint that can be read.
fn retry_after(answer: &OutboundResponse, error: &Value) -> Option<Duration> {
    let millis = || seconds(answer.header("retry-after-ms")?, 1e-3);
    let plain = || {
        let text = answer.header("retry-after")?;
        seconds(text, 1.0).or_else(|| until(text, answer.header("date")?))
    };
    let spoken = || span(error["message"].as_str()?.split_once("try again in ")?.1);
    let reset = |what: &str| {
        let left = answer.header(&format!("x-ratelimit-remaining-{what}"))?;
        (left == "0").then(|| span(answer.header(&format!("x-ratelimit-reset-{what}"))?)).flatten()
    };
    let resets = || reset("requests").max(reset("tokens"));
    let wait = millis().or_else(plain).or_else(spoken).or_else(resets)?;
    Some(wait.min(LONGEST_WAIT))
}

fn seconds(text: &str, unit: f64) -> Option<Duration> {
    let number: f64 = text.trim().parse().ok()?;
    Duration::try_from_secs_f64(number * unit).ok()
}

/// From the answer's own date, so that clocks need not agree.
fn until(date: &str, now: &str) -> Option<Duration> {
    let date = DateTime::parse_from_rfc2822(date).ok()?;
    let now = DateTime::parse_from_rfc2822(now).ok()?;
    (date - now).to_std().ok()
}

/// A span as in `6ms`, `1.5s`, `6m0s` or `1h2m`; what follows it does not matter.
fn span(text: &str) -> Option<Duration> {
    let mut rest = text.trim_start();
    let mut total = None;
    while let Some((part, after)) = span_part(rest) {
        total = Some(total.unwrap_or(Duration::ZERO) + part);
        rest = after;
    }
    total
}

/// One number with its unit, and what follows.
fn span_part(text: &str) -> Option<(Duration, &str)> {
    let number = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(number);
    let units = [("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    units
        .into_iter()
        .find_map(|(name, unit)| Some((seconds(number, unit)?, rest.strip_prefix(name)?)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)]) -> OutboundResponse {
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        OutboundResponse { status, headers, body: Vec::new() }
    }

    #[test]
    fn code_and_type_tell_more_than_the_status() {
        use FailureClass::{
            Auth, ContentPolicy, InvalidRequest, QuotaExhausted, RateLimited, Transient,
            Unavailable,
        };
        let table = [
            (400, json!({ "type": "invalid_request_error" }), InvalidRequest),
            (400, json!({ "code": "context_length_exceeded" }), InvalidRequest),
            (400, json!({ "code": "content_filter" }), ContentPolicy),
            (400, json!({ "code": "model_not_found" }), Unavailable),
            (401, json!({ "code": "invalid_api_key" }), Auth),
            (402, json!(null), QuotaExhausted),
            (403, json!({ "type": "permission_error" }), Auth),
            (404, json!({ "code": "model_not_found" }), Unavailable),
            (404, json!(null), Unavailable),
            (307, json!(null), Unavailable),
            (408, json!(null), Transient),
            (409, json!(null), Transient),
            (422, json!(null), InvalidRequest),
            (429, json!({ "type": "tokens", "code": "rate_limit_exceeded" }), RateLimited),
            (429, json!({ "type": "insufficient_quota", "code": null }), QuotaExhausted),
            (500, json!({ "type": "server_error" }), Transient),
            (503, json!("overloaded"), Transient),
        ];
        for (status, error, class) in table {
            assert_eq!(refused(&answer(status, &[]), &error).class, class, "{status} {error}");
        }
    }

    #[test]
    fn the_detail_repeats_names_but_no_sentences() {
        let error = json!({
            "message": "Incorrect API key provided: sk-abc", "type": "invalid_request_error",
            "code": "a sentence with sk-abc", "param": "messages.[0].content"
        });
        let detail = refused(&answer(400, &[]), &error).detail;
        let expected = "the provider answered 400 (invalid_request_error, messages.[0].content)";
        assert_eq!(detail, expected);
    }

    #[test]
    fn the_first_readable_hint_tells_how_long_to_wait() {
        let date = ("date", "Sun, 22 Nov 2026 12:00:00 GMT");
        let say = |message: &str| json!({ "message": message });
        let reset = ("x-ratelimit-reset-tokens", "6m0s");
        let (spent, left) =
            (("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-remaining-tokens", "5"));
        let later = ("retry-after", "Sun, 22 Nov 2026 12:00:30 GMT");
        let earlier = ("retry-after", "Sun, 22 Nov 2026 11:00:00 GMT");
        let table = [
            (&[("retry-after-ms", "250"), ("retry-after", "9")][..], json!(null), Some(250)),
            (&[("retry-after", "2")], json!(null), Some(2_000)),
            (&[("retry-after", "0.5")], json!(null), Some(500)),
            (&[date, later], json!(null), Some(30_000)),
            (&[later], json!(null), None),
            (&[date, earlier], json!(null), None),
            (&[("retry-after", "-1")], say("Please try again in 1m2.5s. Visit…"), Some(62_500)),
            (&[], say("Please try again in a while."), None),
            (&[spent, reset], json!(null), Some(360_000)),
            (&[left, reset], json!(null), None),
            (&[("retry-after", "9e99")], json!(null), None),
            (&[("retry-after", "999999")], json!(null), Some(24 * 3_600_000)),
        ];
        for (headers, error, expected) in table {
            let waits = refused(&answer(429, headers), &error).retry_after;
            assert_eq!(waits, expected.map(Duration::from_millis), "{headers:?} {error}");
        }
    }
}
