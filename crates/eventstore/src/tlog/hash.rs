//! Hashes of leaves and nodes (RFC 6962 section 2.1, with SHA-256).

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::encoding::{base64, from_base64};

/// What a leaf's hash begins with, so that no node can pass for a leaf.
const LEAF_PREFIX: [u8; 1] = [0x00];
/// What a node's hash begins with.
const NODE_PREFIX: [u8; 1] = [0x01];

/// The root of the empty tree: SHA-256 of nothing.
pub const EMPTY: Hash = Hash([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// A Merkle tree hash: of a leaf, of a node or of a whole tree. Its text form is base 64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; Self::BYTES]);

/// Bytes or a text that are not a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 32 bytes, as text in base 64")]
pub struct HashError;

impl Hash {
    /// How many bytes a hash has.
    pub const BYTES: usize = 32;

    /// The bytes of the hash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

/// The hash of a leaf with this entry: `SHA256(0x00 || entry)`.
#[must_use]
pub fn leaf(entry: &[u8]) -> Hash {
    digest(&[&LEAF_PREFIX, entry])
}

/// The hash of a node with these children: `SHA256(0x01 || left || right)`.
#[must_use]
pub fn node(left: Hash, right: Hash) -> Hash {
    digest(&[&NODE_PREFIX, &left.0, &right.0])
}

/// SHA-256 of the parts, one after the other.
pub(super) fn digest(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    Hash(hasher.finalize().into())
}

impl From<[u8; Self::BYTES]> for Hash {
    fn from(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<&[u8]> for Hash {
    type Error = HashError;

    fn try_from(bytes: &[u8]) -> Result<Self, HashError> {
        bytes.try_into().map(Self).map_err(|_| HashError)
    }
}

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        Self::try_from(from_base64(text).ok_or(HashError)?.as_slice())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}
