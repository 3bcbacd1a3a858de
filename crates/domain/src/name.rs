//! Names that people give to things.

use crate::Fault;

/// The longest name, in bytes: a DNS label (RFC 1035), so that names fit into URLs and hosts.
const LONGEST: usize = 63;

/// Notes what is wrong with a name: lower-case letters, digits and inner hyphens, at most 63.
pub(crate) fn check(name: &str, faults: &mut Vec<Fault>) {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'-');
    let bytes = name.as_bytes();
    let good = bytes.len() <= LONGEST
        && bytes.iter().copied().all(inner)
        && edge(bytes.first())
        && edge(bytes.last());
    if !good {
        let detail = format!("`{name}` is no name");
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
