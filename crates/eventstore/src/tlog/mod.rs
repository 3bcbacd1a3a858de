//! A transparency log (verifiable log): proofs that entries are in it, in order and unchanged.
//!
//! A log is a Merkle tree over its entries ([`leaf`], [`Frontier`]), kept as [`Tile`]s. Its head is
//! signed as a [`Checkpoint`]. Whoever has one checkpoint can check with [`verify_inclusion`] that
//! an entry is in the log, and with [`verify_consistency`] that a later checkpoint has only added
//! to it. A [`ProofFile`] holds all that proves one entry, for checking it offline.
//!
//! Nothing here reads, writes or tells the time. Hashes come from a [`Tiles`]; which of them an
//! operation needs is known beforehand ([`edge_tiles`], [`inclusion_tiles`],
//! [`consistency_tiles`]), so that they can be fetched at once and put into a [`TileSet`].
//!
//! Sources: RFC 6962 section 2.1, RFC 9162 sections 2.1.3.2 and 2.1.4.2, and of C2SP: signed-note,
//! tlog-checkpoint, tlog-tiles, tlog-proof, tlog-cosignature, tlog-witness.

mod bundle;
mod checkpoint;
mod encoding;
mod grow;
mod hash;
mod key;
mod note;
mod proof;
mod proof_file;
mod subtree;
#[cfg(test)]
mod tests;
mod tile;
mod tree;
mod verify;
mod witness;

pub use bundle::{BundleError, BundleId, ENTRY_LIMIT, decode_bundle, encode_bundle};
pub use checkpoint::{Checkpoint, CheckpointError, Opened};
pub use grow::{edge_tiles, grow};
pub use hash::{EMPTY, Hash, HashError, leaf, node};
pub use key::{Cosigner, KeyError, KeyId, Signer, Verifier};
pub use note::{NOTE_LIMIT, Note, NoteError, SIGNATURE_LIMIT, Signature, Verified};
pub use proof::{
    ProofError, consistency_tiles, inclusion_tiles, prove_consistency, prove_inclusion,
};
pub use proof_file::{ProofFile, ProofFileError};
pub use tile::{MissingTile, PathError, TILE_WIDTH, Tile, TileId, TileSet, Tiles};
pub use tree::{Frontier, TreeHead};
pub use verify::{verify_consistency, verify_inclusion};
pub use witness::{WitnessRequest, WitnessRequestError};
