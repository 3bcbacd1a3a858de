//! Proof files: all that proves that a log has an entry, for checking it offline (C2SP tlog-proof).

use std::fmt;

use super::checkpoint::{Checkpoint, CheckpointError, Opened};
use super::encoding::{base64, decimal, from_base64};
use super::hash::Hash;
use super::key::Verifier;
use super::note::{NOTE_LIMIT, Note, NoteError};
use super::proof::ProofError;
use super::verify::verify_inclusion;

/// The first line of every proof file.
const HEADER: &str = "c2sp.org/tlog-proof@v1\n";
/// The most bytes a proof file may have.
const FILE_LIMIT: usize = 2 * NOTE_LIMIT;

/// A leaf's place, its inclusion proof and the checkpoint it leads to. It displays as the file,
/// which [`ProofFile::parse`] reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofFile {
    /// Anything that is of use to whoever checks the proof. It is not signed.
    pub extra: Option<Vec<u8>>,
    /// The leaf's place in the log, from 0 on.
    pub index: u64,
    /// The inclusion proof, the leaf's sibling first.
    pub proof: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: Note,
}

/// Why a proof file is none or proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofFileError {
    /// The text is not as C2SP tlog-proof describes it.
    #[error("not a proof file of version 1")]
    Format,
    /// The checkpoint in it is none or is not to be trusted.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The log of the checkpoint does not have the leaf at this place.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

impl ProofFile {
    /// Reads a proof file. Nothing in it is checked until [`Self::verify`] is called.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofFileError> {
        if bytes.len() > FILE_LIMIT {
            return Err(ProofFileError::Format);
        }
        let text = std::str::from_utf8(bytes).ok().and_then(|text| text.strip_prefix(HEADER));
        let (lines, note) =
            text.and_then(|text| text.split_once("\n\n")).ok_or(ProofFileError::Format)?;
        let checkpoint = Note::parse(note.as_bytes())?;
        read(lines, checkpoint).ok_or(ProofFileError::Format)
    }

    /// Checks everything: that the log of this origin has signed the checkpoint (see
    /// [`Checkpoint::open`] for `known`) and has the leaf with this hash at the index.
    pub fn verify(
        &self,
        leaf: Hash,
        origin: &str,
        known: &[Verifier],
    ) -> Result<Opened, ProofFileError> {
        let opened = Checkpoint::open(&self.checkpoint, origin, known)?;
        verify_inclusion(self.index, leaf, opened.checkpoint.head(), &self.proof)?;
        Ok(opened)
    }
}

impl From<NoteError> for ProofFileError {
    fn from(error: NoteError) -> Self {
        Self::Checkpoint(error.into())
    }
}

/// The file of these lines between the header and the empty line.
fn read(lines: &str, checkpoint: Note) -> Option<ProofFile> {
    let mut lines = lines.split('\n').peekable();
    let extra = match lines.next_if(|line| line.starts_with("extra ")) {
        Some(line) => Some(from_base64(line.strip_prefix("extra ")?)?),
        None => None,
    };
    let index = decimal(lines.next()?.strip_prefix("index ")?)?;
    let proof = lines.map(|line| line.parse().ok()).collect::<Option<_>>()?;
    Some(ProofFile { extra, index, proof, checkpoint })
}

impl fmt::Display for ProofFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEADER)?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", base64(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.checkpoint)
    }
}
