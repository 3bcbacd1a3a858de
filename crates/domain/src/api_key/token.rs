//! The text that a holder of a key sends.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{Id, Tenant};

/// What every token begins with, so that leaked ones can be found.
const PREFIX: &str = "evs_";

/// Bytes of the checksum, which tells a mistyped token without a look at the log.
const CHECKSUM: usize = 4;

/// A token: whose, which key, and the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Whose data it opens.
    pub tenant: Id<Tenant>,
    /// The key.
    pub key: Uuid,
    /// 256 random bits.
    pub secret: [u8; 32],
}

/// A text that is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("that is no API token")]
pub struct TokenError;

impl Token {
    /// The text: prefix, then tenant, key, secret and checksum in URL-safe base64.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut bytes = self.bytes();
        bytes.extend(checksum(&bytes));
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads a text.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(TokenError)?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TokenError)?;
        let (body, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(TokenError)?;
        if checksum(body) != *sum {
            return Err(TokenError);
        }
        let (tenant, rest) = body.split_first_chunk::<16>().ok_or(TokenError)?;
        let (key, secret) = rest.split_first_chunk::<16>().ok_or(TokenError)?;
        Ok(Self {
            tenant: Id::from_uuid(Uuid::from_bytes(*tenant)),
            key: Uuid::from_bytes(*key),
            secret: secret.try_into().map_err(|_| TokenError)?,
        })
    }

    /// SHA-256 of the secret, in hex: all that is stored of it.
    #[must_use]
    pub fn digest(&self) -> String {
        hex::encode(Sha256::digest(self.secret))
    }

    fn bytes(&self) -> Vec<u8> {
        let tenant = self.tenant.as_uuid();
        [tenant.as_bytes(), self.key.as_bytes(), &self.secret[..]].concat()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("tenant", &self.tenant)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let digest = Sha256::digest(bytes);
    let mut sum = [0; CHECKSUM];
    sum.copy_from_slice(&digest[..CHECKSUM]);
    sum
}
