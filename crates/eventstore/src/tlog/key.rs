//! Keys that sign notes (C2SP signed-note) and cosign checkpoints (C2SP tlog-cosignature), all of
//! them Ed25519.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature as Ed25519, SignatureError, Signer as _, SigningKey, VerifyingKey};

use super::encoding::{base64, from_base64, is_control};
use super::hash::digest;
use super::note::{NoteError, Signature, Verified};

/// How many bytes the time before a cosignature has.
const TIME_BYTES: usize = 8;

/// What a key signs. The byte is the format's signature type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Note = 0x01,
    Cosignature = 0x04,
}

/// Tells the keys of one name apart. It is no fingerprint: other keys with the same id are easily
/// made. Its text form is eight hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; Self::BYTES]);

/// Why a key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The name is empty, or has a space, a control character or a plus in it.
    #[error("'{0}' cannot be the name of a key")]
    Name(String),
    /// The text is not `name+id+key`.
    #[error("a verifier key is name+hex id+base64 key")]
    Format,
    /// It is a key of a kind that is not known here.
    #[error("keys of type {0:#04x} are not supported")]
    Type(u8),
    /// The id does not belong to this name and key.
    #[error("the id of the verifier key does not belong to its key")]
    Id,
    /// The bytes are no Ed25519 public key.
    #[error("not an Ed25519 public key")]
    PublicKey,
}

/// A secret key that signs notes. Its debug form does not show the secret, which is overwritten
/// when it is dropped.
pub struct Signer(Secret);

/// A secret key that cosigns checkpoints of other logs as a witness. Its debug form does not show
/// the secret, which is overwritten when it is dropped.
pub struct Cosigner(Secret);

struct Secret {
    verifier: Verifier,
    key: SigningKey,
}

/// A public key of a [`Signer`] or of a [`Cosigner`]. Its text form is that of C2SP, known as vkey:
/// `name+hex(id)+base64(type || public key)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    id: KeyId,
    kind: Kind,
    key: VerifyingKey,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [Self::Note, Self::Cosignature].into_iter().find(|kind| *kind as u8 == byte)
    }
}

impl KeyId {
    /// How many bytes an id has.
    pub(super) const BYTES: usize = 4;

    pub(super) fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes of the id, as they stand before a signature.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// `SHA256(name || 0x0A || type || public key)[:4]`
    fn of(name: &str, kind: Kind, key: &VerifyingKey) -> Self {
        let hash = digest(&[name.as_bytes(), b"\n", &[kind as u8], key.as_bytes()]);
        let [a, b, c, d, ..] = *hash.as_bytes();
        Self([a, b, c, d])
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

/// Whether a key may have this name.
pub(super) fn is_name(name: &str) -> bool {
    let forbidden = |char: char| char.is_whitespace() || is_control(char) || char == '+';
    !name.is_empty() && !name.contains(forbidden)
}

impl Secret {
    fn new(name: &str, kind: Kind, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let key = SigningKey::from_bytes(seed);
        Ok(Self { verifier: Verifier::new(name, kind, key.verifying_key())?, key })
    }

    fn sign(&self, message: &[u8]) -> [u8; Ed25519::BYTE_SIZE] {
        self.key.sign(message).to_bytes()
    }

    fn signature(&self, blob: Vec<u8>) -> Signature {
        Signature::new(self.verifier.name.clone(), self.verifier.id, blob)
    }
}

impl Signer {
    /// The key of this name with this seed (the secret key of RFC 8032).
    pub fn new(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        Secret::new(name, Kind::Note, seed).map(Self)
    }

    /// The public key.
    #[must_use]
    pub fn verifier(&self) -> &Verifier {
        &self.0.verifier
    }

    /// The signature of a note's text, its final newline included.
    pub(super) fn sign(&self, text: &str) -> Signature {
        self.0.signature(self.0.sign(text.as_bytes()).to_vec())
    }
}

impl Cosigner {
    /// The key of this name with this seed (the secret key of RFC 8032). The same seed must not be
    /// used under two names: a cosignature does not tell the name.
    pub fn new(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        Secret::new(name, Kind::Cosignature, seed).map(Self)
    }

    /// The public key.
    #[must_use]
    pub fn verifier(&self) -> &Verifier {
        &self.0.verifier
    }

    /// The cosignature of a checkpoint's text at this time, in seconds since 1970.
    pub(super) fn cosign(&self, text: &str, time: u64) -> Result<Signature, NoteError> {
        if i64::try_from(time).is_err() {
            return Err(NoteError::Time);
        }
        let mut blob = time.to_be_bytes().to_vec();
        blob.extend(self.0.sign(cosigned(text, time).as_bytes()));
        Ok(self.0.signature(blob))
    }
}

/// The message that a cosignature signs.
fn cosigned(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.0.verifier)
    }
}

impl fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cosigner({})", self.0.verifier)
    }
}

impl Verifier {
    fn new(name: &str, kind: Kind, key: VerifyingKey) -> Result<Self, KeyError> {
        if !is_name(name) {
            return Err(KeyError::Name(name.to_owned()));
        }
        Ok(Self { name: name.to_owned(), id: KeyId::of(name, kind, &key), kind, key })
    }

    /// The key of this name that verifies what the [`Signer`] with this public key (RFC 8032)
    /// signs.
    pub fn of(name: &str, public: &[u8; 32]) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_bytes(public).map_err(|_| KeyError::PublicKey)?;
        Self::new(name, Kind::Note, key)
    }

    /// The public key (RFC 8032).
    #[must_use]
    pub fn public(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// The name of the key, by convention the origin of the log it signs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of the key.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Whether it is a [`Cosigner`]'s.
    #[must_use]
    pub fn is_cosigner(&self) -> bool {
        self.kind == Kind::Cosignature
    }

    /// Whether a signature claims to be by this key.
    pub(super) fn made(&self, signature: &Signature) -> bool {
        signature.name() == self.name && signature.key_id() == self.id
    }

    /// Checks a signature that claims to be by this key, of this text.
    pub(super) fn check(&self, text: &str, signature: &Signature) -> Result<Verified, NoteError> {
        let (name, key_id) = (self.name.clone(), self.id);
        match self.time(text, signature.blob()) {
            Ok(time) => Ok(Verified { name, key_id, time }),
            Err(_) => Err(NoteError::WrongSignature { name, key_id }),
        }
    }

    /// When a good signature was made, if it tells.
    fn time(&self, text: &str, blob: &[u8]) -> Result<Option<u64>, SignatureError> {
        let (time, message, signature) = match self.kind {
            Kind::Note => (None, text.to_owned(), blob),
            Kind::Cosignature => {
                let split = blob.split_first_chunk::<TIME_BYTES>();
                let (time, signature) = split.ok_or_else(SignatureError::new)?;
                let time = u64::from_be_bytes(*time);
                i64::try_from(time).map_err(|_| SignatureError::new())?;
                (Some(time), cosigned(text, time), signature)
            }
        };
        let signature = Ed25519::from_slice(signature)?;
        // Strictly: a weak public key would have signatures that are good for any text.
        self.key.verify_strict(message.as_bytes(), &signature)?;
        Ok(time)
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.kind as u8];
        key.extend(self.key.as_bytes());
        write!(f, "{}+{}+{}", self.name, self.id, base64(&key))
    }
}

impl FromStr for Verifier {
    type Err = KeyError;

    fn from_str(vkey: &str) -> Result<Self, KeyError> {
        // The base 64 may have a plus in it too.
        let parts: Vec<_> = vkey.splitn(3, '+').collect();
        let [name, id, key] = parts[..] else { return Err(KeyError::Format) };
        let key = from_base64(key).ok_or(KeyError::Format)?;
        let (kind, key) = key.split_first().ok_or(KeyError::Format)?;
        let kind = Kind::of(*kind).ok_or(KeyError::Type(*kind))?;
        let key = VerifyingKey::try_from(key).map_err(|_| KeyError::PublicKey)?;
        let verifier = Self::new(name, kind, key)?;
        if verifier.id.to_string() == id { Ok(verifier) } else { Err(KeyError::Id) }
    }
}
