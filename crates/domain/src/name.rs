//! Names that people give to things.

use crate::{Fault, storable};

/// The longest name, in bytes: a DNS label (RFC 1035), so that names fit into URLs and hosts.
const LONGEST: usize = 63;

/// Whether a text is a name: lower-case letters, digits and inner hyphens, at most 63.
pub(crate) fn is_good(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'-');
    let bytes = name.as_bytes();
    bytes.len() <= LONGEST
        && bytes.iter().copied().all(inner)
        && edge(bytes.first())
        && edge(bytes.last())
}

/// Notes what is wrong with the name of a new thing.
pub(crate) fn check(name: &str, faults: &mut Vec<Fault>) {
    if !is_good(name) {
        let detail = format!("`{}` is no name", storable::clipped(name, LONGEST));
        let hint = "1 to 63 lower-case letters, digits and hyphens, no hyphen at either end";
        faults.push(Fault::new("/name", "malformed_name", detail).hint(hint));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        let good = |name: &str| {
            let mut faults = vec![];
            check(name, &mut faults);
            faults.is_empty()
        };
        for name in ["a", "a1", "issue-triage", &"x".repeat(63)] {
            assert!(good(name), "{name}");
        }
        for name in ["", "-a", "a-", "A", "a b", "a/b", "ä", &"x".repeat(64)] {
            assert!(!good(name), "{name}");
        }
    }
}
