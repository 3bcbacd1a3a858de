//! An event as auditors get it, and what of it is hashed into the tree.

use base64::prelude::{BASE64_STANDARD, Engine};
use sha2::{Digest, Sha256};

use crate::tlog::{self, Hash};
use crate::{CloudEvent, Recorded};

/// Where the leaf ends in a line. It cannot stand within a JSON string, whose quotes are escaped.
const SALT: &str = r#","datasalt":""#;
const INDEX: &str = r#"","leafindex":""#;
const UNSEALED: &str = r#"","data":"#;
const DATA: &str = r#"","data":"#;

/// SHA-256 over salt and body: tells whether a body is the one, and nobody what it says.
#[must_use]
pub fn data_hash(salt: &[u8], body: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(salt).chain_update(body).finalize().into()
}

/// What is hashed into the tenant's tree for an event: the bytes of its `CloudEvents` envelope
/// without `data`, and with `datahash`, the [`data_hash`] of it. When a body is erased, its proofs
/// hold.
///
/// These bytes are a promise: they follow from the stored columns for ever.
#[must_use]
pub fn entry(event: &Recorded) -> String {
    let hash = data_hash(&event.salt, event.body.get().as_bytes());
    let envelope = CloudEvent::envelope(event);
    let open = envelope.strip_suffix('}').unwrap_or(&envelope);
    format!(r#"{open},"datahash":"{}"}}"#, BASE64_STANDARD.encode(hash))
}

/// A line of an audit export: the entry of an event, then the salt, the place in the tree if it is
/// sealed, and the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    text: &'a str,
    entry: usize,
    salt: [u8; 32],
    /// The leaf's index in the tenant's tree; none if the event is not sealed yet.
    pub leaf: Option<u64>,
    data: &'a str,
}

/// Why a text is not a line that can be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It does not have the form.
    #[error("it is not a line of an audit export")]
    Form,
    /// Its data is not what was hashed.
    #[error("its data is not what was recorded")]
    Data,
}

impl<'a> Line<'a> {
    /// The line of an event.
    #[must_use]
    pub fn write(event: &Recorded, leaf: Option<u64>) -> String {
        let entry = entry(event);
        let open = entry.strip_suffix('}').unwrap_or(&entry);
        let salt = BASE64_STANDARD.encode(event.salt);
        let data = event.body.get();
        match leaf {
            Some(leaf) => format!("{open}{SALT}{salt}{INDEX}{leaf}{DATA}{data}}}"),
            None => format!("{open}{SALT}{salt}{UNSEALED}{data}}}"),
        }
    }

    /// Takes a line apart, byte by byte, and checks that its data is what its `datahash` says.
    pub fn read(text: &'a str) -> Result<Self, LineError> {
        let (entry, rest) = text.split_once(SALT).ok_or(LineError::Form)?;
        let (salt, rest) = rest.split_once('"').ok_or(LineError::Form)?;
        let rest = &text[text.len() - rest.len() - 1..];
        let salt = BASE64_STANDARD.decode(salt).ok().and_then(|salt| salt.try_into().ok());
        let (leaf, data) = match rest.strip_prefix(INDEX) {
            Some(rest) => {
                let (leaf, data) = rest.split_once(DATA).ok_or(LineError::Form)?;
                (Some(leaf.parse().map_err(|_| LineError::Form)?), data)
            }
            None => (None, rest.strip_prefix(UNSEALED).ok_or(LineError::Form)?),
        };
        let data = data.strip_suffix('}').ok_or(LineError::Form)?;
        let line =
            Self { text, entry: entry.len(), salt: salt.ok_or(LineError::Form)?, leaf, data };
        let hash = BASE64_STANDARD.encode(data_hash(&line.salt, data.as_bytes()));
        if !entry.ends_with(&format!(r#","datahash":"{hash}""#)) {
            return Err(LineError::Data);
        }
        Ok(line)
    }

    /// The hash of its leaf.
    #[must_use]
    pub fn leaf_hash(&self) -> Hash {
        tlog::leaf(format!("{}}}", &self.text[..self.entry]).as_bytes())
    }
}

/// The hash of an event's leaf.
pub(super) fn leaf_hash(event: &Recorded) -> Hash {
    tlog::leaf(entry(event).as_bytes())
}
