//! How numbers and bytes are spelt in the text formats, with exactly one spelling for each.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Base 64 of RFC 4648 section 4, with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The bytes behind their base 64, if it is spelt as [`base64`] spells it.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// A decimal number without sign and without leading zeros.
pub(super) fn decimal(text: &str) -> Option<u64> {
    // Rust's own parser takes `+1` and `01`.
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

/// Whether it is one of the control characters that notes may not have. The newline is one, though
/// it ends each line of a note.
pub(super) fn is_control(char: char) -> bool {
    char < ' '
}
