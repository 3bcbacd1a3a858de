//! Signatures of deliveries, over the raw bytes of the body and compared in constant time.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;

use crate::Timestamp;
use crate::integration::Scheme;

/// How old or how far ahead a timestamp may be, in seconds (Standard Webhooks, "Verifying").
const TOLERANCE_S: u64 = 300;

/// The longest id or type of a delivery, in bytes.
const ID_LIMIT: usize = 255;

/// How long a key of Standard Webhooks may be, in bytes.
const KEY_LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// A delivery that is what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The sender's id of the delivery.
    pub dedupe_key: String,
    /// The sender's name for this sort of delivery: GitHub's event, or the `type` of the body.
    pub event_type: Option<String>,
}

/// Why a delivery is not believed. Callers are told no more than that it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A header field that the scheme needs is missing or malformed.
    #[error("`{0}` is missing or malformed")]
    Missing(&'static str),
    /// The timestamp is too old or too far ahead.
    #[error("the timestamp is more than 300 seconds off")]
    Stale,
    /// No signature fits.
    #[error("no signature fits")]
    Wrong,
    /// The secret kept for the integration is not one of this scheme.
    #[error("the secret is not one of this scheme")]
    Secret,
}

/// Checks a delivery. `header` looks up a header field by its lower-case name.
pub fn verify(
    scheme: Scheme,
    secret: &str,
    header: &dyn Fn(&str) -> Option<String>,
    body: &[u8],
    now: Timestamp,
) -> Result<Verified, SignatureError> {
    match scheme {
        Scheme::GithubSha256 => github(secret, header, body),
        Scheme::StandardWebhooks => standard(secret, header, body, now),
    }
}

fn github(
    secret: &str,
    header: &dyn Fn(&str) -> Option<String>,
    body: &[u8],
) -> Result<Verified, SignatureError> {
    let signature =
        header("x-hub-signature-256").ok_or(SignatureError::Missing("x-hub-signature-256"))?;
    let digest = signature.strip_prefix("sha256=").and_then(|digits| hex::decode(digits).ok());
    let digest = digest.ok_or(SignatureError::Missing("x-hub-signature-256"))?;
    check_secret(Scheme::GithubSha256, secret)?;
    keyed(secret.as_bytes(), &[body]).verify_slice(&digest).map_err(|_| SignatureError::Wrong)?;
    let dedupe_key = id(header, "x-github-delivery")?;
    Ok(Verified {
        dedupe_key,
        event_type: header("x-github-event").filter(|name| name.len() <= ID_LIMIT),
    })
}

fn standard(
    secret: &str,
    header: &dyn Fn(&str) -> Option<String>,
    body: &[u8],
    now: Timestamp,
) -> Result<Verified, SignatureError> {
    let dedupe_key = id(header, "webhook-id")?;
    if dedupe_key.contains('.') {
        return Err(SignatureError::Missing("webhook-id"));
    }
    let missing = SignatureError::Missing("webhook-timestamp");
    let stamp = header("webhook-timestamp").ok_or(missing)?;
    let digits = stamp.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: i64 = stamp.parse().ok().filter(|_| digits).ok_or(missing)?;
    if seconds.abs_diff(now.timestamp()) > TOLERANCE_S {
        return Err(SignatureError::Stale);
    }
    let signatures =
        header("webhook-signature").ok_or(SignatureError::Missing("webhook-signature"))?;
    let mac = standard_mac(secret, &dedupe_key, &stamp, body)?;
    let fits = |one: &str| {
        let digest = one.strip_prefix("v1,").and_then(|text| STANDARD.decode(text).ok());
        digest.is_some_and(|digest| mac.clone().verify_slice(&digest).is_ok())
    };
    // All are looked at, so that the answer takes as long whichever of them fits.
    let fitting = signatures.split(' ').filter(|one| fits(one)).count();
    if fitting == 0 {
        return Err(SignatureError::Wrong);
    }
    Ok(Verified { dedupe_key, event_type: declared_type(body) })
}

/// The value of `X-Hub-Signature-256` for a body.
#[must_use]
pub fn sign_github(secret: &str, body: &[u8]) -> String {
    let digest = keyed(secret.as_bytes(), &[body]).finalize().into_bytes();
    format!("sha256={}", hex::encode(digest))
}

/// The value of `webhook-signature` for a delivery (Standard Webhooks v1).
pub fn sign_standard(
    secret: &str,
    id: &str,
    timestamp: i64,
    body: &[u8],
) -> Result<String, SignatureError> {
    let mac = standard_mac(secret, id, &timestamp.to_string(), body)?;
    Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

fn standard_mac(
    secret: &str,
    id: &str,
    timestamp: &str,
    body: &[u8],
) -> Result<Hmac<Sha256>, SignatureError> {
    let key = standard_key(secret)?;
    Ok(keyed(&key, &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body]))
}

/// Whether a secret is one of the scheme: for whoever sets it, and again before it is used,
/// because everybody can sign with an empty one.
pub fn check_secret(scheme: Scheme, secret: &str) -> Result<(), SignatureError> {
    match scheme {
        Scheme::GithubSha256 if secret.is_empty() => Err(SignatureError::Secret),
        Scheme::GithubSha256 => Ok(()),
        Scheme::StandardWebhooks => standard_key(secret).map(|_| ()),
    }
}

/// The key: base64, after `whsec_` as a rule.
fn standard_key(secret: &str) -> Result<Vec<u8>, SignatureError> {
    let encoded = secret.strip_prefix("whsec_").unwrap_or(secret);
    let key = STANDARD.decode(encoded).map_err(|_| SignatureError::Secret)?;
    if KEY_LENGTHS.contains(&key.len()) { Ok(key) } else { Err(SignatureError::Secret) }
}

/// The `type` of the body, which Standard Webhooks recommends.
fn declared_type(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Declared {
        r#type: String,
    }
    let declared = serde_json::from_slice::<Declared>(body).ok()?;
    Some(declared.r#type).filter(|name| name.len() <= ID_LIMIT)
}

fn keyed(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac
}

fn id(
    header: &dyn Fn(&str) -> Option<String>,
    name: &'static str,
) -> Result<String, SignatureError> {
    let good = |id: &String| {
        !id.is_empty() && id.len() <= ID_LIMIT && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    header(name).filter(good).ok_or(SignatureError::Missing(name))
}
