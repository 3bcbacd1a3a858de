//! What a witness is asked: to cosign a checkpoint that follows from one it knows (C2SP
//! tlog-witness, `add-checkpoint`).

use std::fmt;

use super::encoding::decimal;
use super::hash::Hash;
use super::note::{NOTE_LIMIT, Note, NoteError};

/// The most hashes of a consistency proof: two for each level of a tree of 2⁶³ leaves would be more
/// than any has.
const PROOF_LIMIT: usize = 63;
/// The most bytes a request may have.
const REQUEST_LIMIT: usize = 2 * NOTE_LIMIT;

/// A checkpoint, and the proof that it has only added to what the witness has seen. It displays as
/// the body of the request, which [`WitnessRequest::parse`] reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessRequest {
    /// The size of the tree that the witness knows; 0 if it knows none.
    pub old: u64,
    /// The consistency proof from there.
    pub proof: Vec<Hash>,
    /// The checkpoint that is to be cosigned.
    pub checkpoint: Note,
}

/// Why a text is no request to a witness.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WitnessRequestError {
    /// The text is not as C2SP tlog-witness describes it.
    #[error("not the request of a log to its witness")]
    Format,
    /// What should be a checkpoint is no note.
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl WitnessRequest {
    /// Reads a request. Nothing in it is checked.
    pub fn parse(bytes: &[u8]) -> Result<Self, WitnessRequestError> {
        if bytes.len() > REQUEST_LIMIT {
            return Err(WitnessRequestError::Format);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| WitnessRequestError::Format)?;
        let (lines, note) = text.split_once("\n\n").ok_or(WitnessRequestError::Format)?;
        let checkpoint = Note::parse(note.as_bytes())?;
        read(lines, checkpoint).ok_or(WitnessRequestError::Format)
    }
}

fn read(lines: &str, checkpoint: Note) -> Option<WitnessRequest> {
    let mut lines = lines.split('\n');
    let old = decimal(lines.next()?.strip_prefix("old ")?)?;
    let proof: Vec<Hash> = lines.map(|line| line.parse().ok()).collect::<Option<_>>()?;
    (proof.len() <= PROOF_LIMIT).then_some(WitnessRequest { old, proof, checkpoint })
}

impl fmt::Display for WitnessRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}
