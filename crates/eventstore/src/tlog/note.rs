//! Signed notes: a text and the signatures under it (C2SP signed-note).

use std::fmt;

use super::encoding::{base64, from_base64, is_control};
use super::key::{Cosigner, KeyId, Signer, Verifier, is_name};

/// The most bytes a note may have, signatures included.
pub const NOTE_LIMIT: usize = 1 << 20;
/// The most signatures a note may have: checking one takes time, even if it is there twice.
pub const SIGNATURE_LIMIT: usize = 100;

/// What each line with a signature begins with.
const SIGNATURE_PREFIX: &str = "\u{2014} ";

/// A text with the signatures under it, checked or not. It displays as the note, which
/// [`Note::parse`] reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

/// A line under a note: that some key has signed its text, which may be true or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    name: String,
    key_id: KeyId,
    /// What the key has made of the text; before a cosignature, its time.
    blob: Vec<u8>,
}

/// A signature that was checked and found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The name of the key.
    pub name: String,
    /// The id of the key.
    pub key_id: KeyId,
    /// When a [`Cosigner`] says it has signed, in seconds since 1970; nothing for a [`Signer`].
    pub time: Option<u64>,
}

/// Why a text is no note or a note is not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It has more bytes than [`NOTE_LIMIT`] or more signatures than [`SIGNATURE_LIMIT`].
    #[error("a note has no more than {NOTE_LIMIT} bytes and {SIGNATURE_LIMIT} signatures")]
    TooLarge,
    /// It is not UTF-8, has control characters in it or does not end with a newline.
    #[error("a note is lines of UTF-8 without control characters")]
    Text,
    /// It has no empty line between the text and at least one line with a signature.
    #[error("the note has no signatures")]
    Unsigned,
    /// A line after the last empty line is no signature.
    #[error("the note has a line that should be a signature and is none")]
    SignatureLine,
    /// The signature of a known key is not good.
    #[error("the signature of key {name}+{key_id} is wrong")]
    WrongSignature {
        /// The name of the key.
        name: String,
        /// The id of the key.
        key_id: KeyId,
    },
    /// No known key has signed.
    #[error("no known key has signed the note")]
    Unverified,
    /// A time that does not fit into 63 bits.
    #[error("the time of a cosignature is below 2^63 seconds")]
    Time,
}

impl Signature {
    pub(super) fn new(name: String, key_id: KeyId, blob: Vec<u8>) -> Self {
        Self { name, key_id, blob }
    }

    /// The name of the key that is said to have signed.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of the key that is said to have signed.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    pub(super) fn blob(&self) -> &[u8] {
        &self.blob
    }

    fn parse(line: &str) -> Option<Self> {
        let (name, bytes) = line.strip_prefix(SIGNATURE_PREFIX)?.split_once(' ')?;
        let bytes = from_base64(bytes)?;
        let (id, blob) = bytes.split_first_chunk::<{ KeyId::BYTES }>()?;
        let good = is_name(name) && !blob.is_empty();
        good.then(|| Self::new(name.to_owned(), KeyId::new(*id), blob.to_vec()))
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.key_id.as_bytes(), self.blob.as_slice()].concat();
        write!(f, "{SIGNATURE_PREFIX}{} {}", self.name, base64(&bytes))
    }
}

impl Note {
    /// A note of this text, which ends with a newline, without signatures yet.
    pub fn new(text: &str) -> Result<Self, NoteError> {
        Ok(Self { text: checked(text)?.to_owned(), signatures: Vec::new() })
    }

    /// Reads a note. Its signatures are not checked: until [`Self::verify`] has, its text must not
    /// be believed.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let note = checked(std::str::from_utf8(bytes).map_err(|_| NoteError::Text)?)?;
        // The text may have empty lines too, so only the last one separates.
        let split = note.rfind("\n\n").ok_or(NoteError::Unsigned)?;
        let (text, lines) = note.split_at(split + 1);
        let mut lines = lines.lines().skip(1).peekable();
        lines.peek().ok_or(NoteError::Unsigned)?;
        let signatures = lines.map(Signature::parse).collect::<Option<Vec<_>>>();
        let signatures = signatures.ok_or(NoteError::SignatureLine)?;
        if signatures.len() > SIGNATURE_LIMIT {
            return Err(NoteError::TooLarge);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// The text, its final newline included.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, checked or not.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Whether there is a signature that claims to be by this key, good or not.
    #[must_use]
    pub fn is_signed_by(&self, key: &Verifier) -> bool {
        self.signature_by(key).is_some()
    }

    /// The first signature that claims to be by this key, good or not.
    #[must_use]
    pub fn signature_by(&self, key: &Verifier) -> Option<&Signature> {
        self.signatures.iter().find(|signature| key.made(signature))
    }

    /// Signs the text, in place of an earlier signature of the same key.
    pub fn sign(&mut self, signer: &Signer) {
        self.put(signer.sign(&self.text));
    }

    /// Cosigns the text, which is to be a checkpoint's, at this time in seconds since 1970, in place
    /// of an earlier cosignature of the same key. [`NoteError::Time`] for a time over 63 bits.
    pub fn cosign(&mut self, cosigner: &Cosigner, time: u64) -> Result<(), NoteError> {
        self.put(cosigner.cosign(&self.text, time)?);
        Ok(())
    }

    fn put(&mut self, new: Signature) {
        self.signatures.retain(|old| (&old.name, old.key_id) != (&new.name, new.key_id));
        self.signatures.push(new);
    }

    /// Checks all signatures of known keys, and tells one for each key that has signed.
    ///
    /// [`NoteError::WrongSignature`] if one of them is wrong, [`NoteError::Unverified`] if there is
    /// none. Signatures of unknown keys say nothing, neither good nor bad.
    pub fn verify(&self, known: &[Verifier]) -> Result<Vec<Verified>, NoteError> {
        let mut verified: Vec<Verified> = Vec::new();
        for signature in &self.signatures {
            for verifier in known.iter().filter(|verifier| verifier.made(signature)) {
                let good = verifier.check(&self.text, signature)?;
                // Only once for each key: whoever wants two witnesses must not get one twice.
                let same = |done: &Verified| (&done.name, done.key_id) == (&good.name, good.key_id);
                if !verified.iter().any(same) {
                    verified.push(good);
                }
            }
        }
        if verified.is_empty() { Err(NoteError::Unverified) } else { Ok(verified) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

/// The text, if a note or its text may look like this.
fn checked(text: &str) -> Result<&str, NoteError> {
    if text.len() > NOTE_LIMIT {
        return Err(NoteError::TooLarge);
    }
    let forbidden = |char: char| is_control(char) && char != '\n';
    if text.contains(forbidden) || !text.ends_with('\n') {
        return Err(NoteError::Text);
    }
    Ok(text)
}
