//! Sealing: AES-256-GCM with a random nonce, bound to the place where the result is kept.

use aes_gcm::aead::{Aead, Generate, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use domain::{Id, Tenant};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

const NONCE: usize = 12;

/// A key from which the keys for sealing and for fingerprints are derived. Wiped when dropped.
#[derive(Clone)]
pub(super) struct Key(Zeroizing<[u8; 32]>);

/// Where a sealed value belongs; it opens nowhere else.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Canary,
    Key(Id<Tenant>),
    Secret(Id<Tenant>, Uuid),
}

impl Key {
    pub(super) fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    pub(super) fn seal(&self, place: &Place, plain: &[u8]) -> Vec<u8> {
        let nonce = <[u8; NONCE]>::generate();
        let payload = Payload { msg: plain, aad: &place.bytes() };
        let sealed = self.cipher().encrypt(&Nonce::from(nonce), payload);
        let sealed = sealed.expect("secrets are shorter than the 64 GiB that the cipher takes");
        [nonce.as_slice(), &sealed].concat()
    }

    /// None if it was sealed with another key or for another place, or was changed since.
    pub(super) fn open(&self, place: &Place, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
        let payload = Payload { msg: sealed, aad: &place.bytes() };
        self.cipher().decrypt(&Nonce::from(*nonce), payload).ok().map(Zeroizing::new)
    }

    /// Tells two secrets apart without telling anything about them to who lacks the key.
    pub(super) fn fingerprint(&self, secret: &[u8]) -> String {
        hex::encode(&mac(self.derived(b"fingerprint").as_slice(), secret)[..8])
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new((&*self.derived(b"seal")).into())
    }

    fn derived(&self, purpose: &[u8]) -> Zeroizing<[u8; 32]> {
        mac(self.0.as_slice(), purpose)
    }
}

impl Place {
    fn bytes(self) -> Vec<u8> {
        let (label, ids) = match self {
            Self::Canary => ("canary", vec![]),
            Self::Key(tenant) => ("key", vec![tenant.as_uuid()]),
            Self::Secret(tenant, id) => ("secret", vec![tenant.as_uuid(), id]),
        };
        let mut bytes = format!("everstep vault 1 {label} ").into_bytes();
        bytes.extend(ids.iter().flat_map(|id| *id.as_bytes()));
        bytes
    }
}

/// A new random key.
pub(super) fn fresh() -> Zeroizing<[u8; 32]> {
    Zeroizing::new(<[u8; 32]>::generate())
}

fn mac(key: &[u8], message: &[u8]) -> Zeroizing<[u8; 32]> {
    let mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).expect("HMAC takes any key");
    Zeroizing::new(mac.chain_update(message).finalize().into_bytes().into())
}
