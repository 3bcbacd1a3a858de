//! Which header fields of a delivery are worth keeping.

use std::collections::BTreeMap;

/// The fields that are kept; never a signature, a credential or a cookie.
const KEPT: [&str; 7] = [
    "content-type",
    "user-agent",
    "webhook-id",
    "webhook-timestamp",
    "x-github-delivery",
    "x-github-event",
    "x-github-hook-id",
];

/// The longest value that is kept, in bytes.
const LONGEST: usize = 512;

/// Keeps what is worth keeping, with names in lower case.
pub fn kept<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    let lower = fields.map(|(name, value)| (name.to_ascii_lowercase(), value));
    let worth = |(name, value): &(String, &str)| {
        KEPT.contains(&name.as_str()) && value.len() <= LONGEST && !value.contains('\0')
    };
    lower.filter(worth).map(|(name, value)| (name, value.to_owned())).collect()
}
