//! Checkpoints: signed heads of a log (C2SP tlog-checkpoint).

use std::fmt;
use std::str::FromStr;

use super::encoding::{decimal, is_control};
use super::key::{Signer, Verifier};
use super::note::{Note, NoteError, Verified};
use super::tree::TreeHead;

/// The head of a certain log. It displays as the text that is signed: origin, size and root, a line
/// each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    head: TreeHead,
}

/// A checkpoint whose signatures were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// What was signed.
    pub checkpoint: Checkpoint,
    /// The known keys that have signed it: the log's, and those of witnesses, for the caller to
    /// decide whether they are enough.
    pub signatures: Vec<Verified>,
}

/// Why a checkpoint is none or is not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// An origin is one line that is not empty, without control characters.
    #[error("an origin is a line of text")]
    Origin,
    /// The text is not origin, size and root, a line each.
    #[error("a checkpoint is the lines origin, size and root")]
    Format,
    /// It is the checkpoint of another log.
    #[error("the checkpoint is of the log '{0}'")]
    OtherLog(String),
    /// Only witnesses have signed it, whose word is not the log's.
    #[error("no key of the log has signed the checkpoint")]
    OnlyWitnesses,
    /// It is not a note, or its signatures are not good.
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl Checkpoint {
    /// The checkpoint of the log of this origin, a name that no other log has, such as
    /// `example.com/log`.
    pub fn new(origin: &str, head: TreeHead) -> Result<Self, CheckpointError> {
        if origin.is_empty() || origin.contains(is_control) {
            return Err(CheckpointError::Origin);
        }
        Ok(Self { origin: origin.to_owned(), head })
    }

    /// Which log.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The size and root of its tree.
    #[must_use]
    pub fn head(&self) -> TreeHead {
        self.head
    }

    /// The note that says this, signed. Whoever signs a checkpoint has to know that it is
    /// consistent with all that the key has signed before.
    pub fn sign(&self, signer: &Signer) -> Result<Note, NoteError> {
        let mut note = Note::new(&self.to_string())?;
        note.sign(signer);
        Ok(note)
    }

    /// The checkpoint in a note, if the log of this origin has signed it.
    ///
    /// `known` are the keys of the log and of witnesses that are trusted. One of a log must have
    /// signed; the origin must be asked for, since one key may sign for many logs.
    pub fn open(note: &Note, origin: &str, known: &[Verifier]) -> Result<Opened, CheckpointError> {
        let signatures = note.verify(known)?;
        if signatures.iter().all(|signature| signature.time.is_some()) {
            return Err(CheckpointError::OnlyWitnesses);
        }
        let checkpoint: Self = note.text().parse()?;
        if checkpoint.origin != origin {
            return Err(CheckpointError::OtherLog(checkpoint.origin));
        }
        Ok(Opened { checkpoint, signatures })
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, head: TreeHead { size, root } } = self;
        write!(f, "{origin}\n{size}\n{root}\n")
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    /// Extension lines are allowed, since other logs may have some, and ignored.
    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let text = text.strip_suffix('\n').ok_or(CheckpointError::Format)?;
        let lines: Vec<_> = text.split('\n').collect();
        let [origin, size, root, extensions @ ..] = lines.as_slice() else {
            return Err(CheckpointError::Format);
        };
        if extensions.iter().any(|line| line.is_empty()) {
            return Err(CheckpointError::Format);
        }
        let size = decimal(size).ok_or(CheckpointError::Format)?;
        let root = root.parse().map_err(|_| CheckpointError::Format)?;
        Self::new(origin, TreeHead { size, root })
    }
}
