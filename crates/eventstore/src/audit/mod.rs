//! Proving that the log was not changed.
//!
//! Each tenant has a tree over its events, in the order of their positions ([`Line`] says what a
//! leaf is). The [`Notary`] grows the trees and signs checkpoints; [`Trees`] reads them, proves
//! single events and checks everything against the log.

mod cosigned;
mod find;
mod keys;
mod line;
mod notary;
#[cfg(test)]
mod tests;
mod trees;
mod verify;
mod witness;

pub use cosigned::{CosignatureError, keep_cosignature};
pub use keys::{Keys, followed, hand_over, verifiers};
pub use line::{Line, LineError, data_hash, entry};
pub use notary::{Notary, SEALED_AT_ONCE, SealError, Seed, origin};
pub use trees::{Sealed, Trees};
pub use verify::{Finding, Trust, Verified, verify};
pub use witness::{Witness, WitnessError, Witnessed};
