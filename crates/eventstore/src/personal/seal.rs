//! Sealing the marked values of one event: AES-256-GCM-SIV (RFC 8452), bound to the event.
//!
//! The cipher is deterministic here: the same event at the same place is sealed to the same bytes,
//! whoever appends it, and it stays safe should a nonce ever come twice.

use std::fmt;

use aes_gcm_siv::aead::{Aead, KeyInit, Payload};
use aes_gcm_siv::{Aes256GcmSiv, Nonce};
use base64::prelude::{BASE64_STANDARD, Engine};
use hmac::{Hmac, Mac};
use serde_json::value::RawValue;
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::scan;
use crate::{Draft, StreamId};

/// What the body of an event begins with that has sealed values: the id of the key follows, a dot,
/// and the values.
const SEALED: &str = r#"{"$sealed":""#;

/// What is sealed: values of an event.
const PERSONAL: &[u8] = b"everstep personal 1 ";

/// What is sealed: the state of a stream.
const SNAPSHOT: &[u8] = b"everstep snapshot 1 ";

/// The key of a subject.
#[derive(Clone)]
pub(super) struct Key {
    cipher: Aes256GcmSiv,
    pub(super) ids: Zeroizing<[u8; 32]>,
}

impl Key {
    pub(super) fn new(bytes: &[u8; 32]) -> Self {
        let cipher = Aes256GcmSiv::new((&*mac(bytes, b"seal")).into());
        Self { cipher, ids: mac(bytes, b"id") }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// HMAC-SHA-256.
pub(super) fn mac(key: &[u8], message: &[u8]) -> Zeroizing<[u8; 32]> {
    let mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key).expect("HMAC takes any key");
    Zeroizing::new(mac.chain_update(message).finalize().into_bytes().into())
}

/// Seals the marked values of a draft under the key `id`.
///
/// The id of an event follows from what it says, and would tell whoever guesses that: it is made
/// anew, so that it tells nothing without the key.
pub(super) fn seal(key: &Key, id: Uuid, stream: StreamId, draft: &mut Draft) {
    let keyed = mac(key.ids.as_slice(), draft.id.as_bytes());
    let (first, _) = keyed.split_first_chunk::<16>().expect("32 bytes are more than 16");
    draft.id = uuid::Builder::from_custom_bytes(*first).into_uuid();
    let (skeleton, values) = scan::take_out(&draft.body);
    let payload = Payload { msg: values.as_bytes(), aad: &place(PERSONAL, stream, draft.id) };
    let sealed = key.cipher.encrypt(&nonce(draft.id), payload);
    let sealed = sealed.expect("events are shorter than the 64 GiB that the cipher takes");
    let sealed = BASE64_STANDARD.encode(sealed);
    // An event with a marked value has a member.
    let body = format!("{SEALED}{id}.{sealed}\",{}", &skeleton[1..]);
    draft.opened = Some(std::mem::replace(&mut draft.body, body).into());
}

/// Takes the marked values out of a draft for ever, because the key is gone. Its id follows from
/// what is left, from its cause and from its place.
pub(super) fn drop_values(cause: Uuid, stream: StreamId, place: &str, draft: &mut Draft) {
    let (skeleton, _) = scan::take_out(&draft.body);
    draft.body = scan::erased(&skeleton);
    (draft.opened, draft.fact) = (None, None);
    let StreamId { category, id, .. } = stream;
    let said = format!("erased/{category}/{id}/{place}/{}/{}", draft.name, draft.body);
    draft.id = Uuid::new_v5(&cause, said.as_bytes());
}

/// The key under which a body is sealed; none if it is not.
pub(super) fn sealed_under(body: &str) -> Option<Uuid> {
    body.strip_prefix(SEALED)?.get(..36)?.parse().ok()
}

/// A sealed body with its values; with null in their places if there is no key any more. None if
/// it was changed, or does not belong to this event.
pub(super) fn open(key: Option<&Key>, stream: StreamId, event: Uuid, body: &str) -> Option<String> {
    let (sealed, rest) = body.strip_prefix(SEALED)?.get(37..)?.split_once('"')?;
    let skeleton = format!("{{{}", rest.strip_prefix(',')?);
    let Some(key) = key else { return Some(scan::erased(&skeleton)) };
    let sealed = BASE64_STANDARD.decode(sealed).ok()?;
    let payload = Payload { msg: &sealed, aad: &place(PERSONAL, stream, event) };
    let values = Zeroizing::new(key.cipher.decrypt(&nonce(event), payload).ok()?);
    let values: Vec<&RawValue> = serde_json::from_slice(&values).ok()?;
    Some(scan::put_back(&skeleton, &values))
}

/// Seals the state of a stream as it was after an event.
pub(super) fn seal_state(key: &Key, stream: StreamId, event: Uuid, state: &[u8]) -> Vec<u8> {
    let nonce = rand::random::<[u8; 12]>();
    let payload = Payload { msg: state, aad: &place(SNAPSHOT, stream, event) };
    let sealed = key.cipher.encrypt(&Nonce::from(nonce), payload);
    let sealed = sealed.expect("states are shorter than the 64 GiB that the cipher takes");
    [nonce.as_slice(), &sealed].concat()
}

/// A sealed state; none if it was changed, or does not belong there.
pub(super) fn open_state(
    key: &Key,
    stream: StreamId,
    event: Uuid,
    sealed: &[u8],
) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_first_chunk::<12>()?;
    let payload = Payload { msg: sealed, aad: &place(SNAPSHOT, stream, event) };
    key.cipher.decrypt(&Nonce::from(*nonce), payload).ok()
}

fn nonce(event: Uuid) -> Nonce {
    let (first, _) = event.as_bytes().split_first_chunk::<12>().expect("16 bytes are more than 12");
    Nonce::from(*first)
}

/// Where sealed values belong: they open nowhere else.
fn place(what: &[u8], StreamId { tenant, category, id }: StreamId, event: Uuid) -> Vec<u8> {
    let mut place = what.to_vec();
    place.extend(tenant.as_uuid().as_bytes());
    place.extend(id.as_bytes());
    place.extend(event.as_bytes());
    place.extend(category.as_bytes());
    place
}
