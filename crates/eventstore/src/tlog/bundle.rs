//! Entry bundles: the entries themselves, in the same rows as their hashes (C2SP tlog-tiles).

use std::fmt;
use std::str::FromStr;

use super::tile::{PathError, TILE_WIDTH, from_place, place};

/// The most bytes an entry may have: its length is stored in 16 bits.
pub const ENTRY_LIMIT: usize = u16::MAX as usize;

/// Which entry bundle, and how much of it: `width` entries from entry `index * 256` on.
///
/// It displays as its path, such as `tile/entries/x001/x234/067.p/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleId {
    /// The place, from 0 on.
    pub index: u64,
    /// How many entries, from 1 to 256. Less than 256 is a partial bundle.
    pub width: u16,
}

/// Why entries are no bundle, or bytes are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// An entry has more bytes than [`ENTRY_LIMIT`].
    #[error("entry {nth} of the bundle has {size} bytes, over the limit of {ENTRY_LIMIT}")]
    EntryTooLarge {
        /// Which entry of the bundle, from 0 on.
        nth: usize,
        /// How many bytes it has.
        size: usize,
    },
    /// There are more entries than [`TILE_WIDTH`].
    #[error("a bundle has no more than {TILE_WIDTH} entries")]
    TooMany,
    /// The bytes end within an entry.
    #[error("the bundle ends within an entry")]
    Truncated,
}

impl BundleId {
    /// Its path below the log's prefix: `tile/entries/<index>`, with `.p/<width>` if it is partial.
    #[must_use]
    pub fn path(self) -> String {
        format!("tile/entries/{}", place(self.index, self.width))
    }
}

impl fmt::Display for BundleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

impl FromStr for BundleId {
    type Err = PathError;

    fn from_str(path: &str) -> Result<Self, PathError> {
        let below = path.strip_prefix("tile/entries/").ok_or(PathError)?;
        let (index, width) = from_place(below).ok_or(PathError)?;
        Ok(Self { index, width })
    }
}

/// A bundle of these entries: each after its length in bytes, as a big-endian 16-bit number.
pub fn encode_bundle<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>, BundleError> {
    if entries.len() > TILE_WIDTH.into() {
        return Err(BundleError::TooMany);
    }
    let mut bytes = Vec::new();
    for (nth, entry) in entries.iter().enumerate() {
        let entry = entry.as_ref();
        let size = entry.len();
        let length = u16::try_from(size).map_err(|_| BundleError::EntryTooLarge { nth, size })?;
        bytes.extend(length.to_be_bytes());
        bytes.extend(entry);
    }
    Ok(bytes)
}

/// The entries of a bundle, the opposite of [`encode_bundle`].
pub fn decode_bundle(bytes: &[u8]) -> Result<Vec<&[u8]>, BundleError> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk().ok_or(BundleError::Truncated)?;
        let length = u16::from_be_bytes(*length).into();
        let (entry, after) = after.split_at_checked(length).ok_or(BundleError::Truncated)?;
        entries.push(entry);
        rest = after;
    }
    if entries.len() > TILE_WIDTH.into() {
        return Err(BundleError::TooMany);
    }
    Ok(entries)
}
