//! The keys of an installation, one after the other, and who says so.
//!
//! A key that is replaced signs a note that names its successor. That both have signed a checkpoint
//! would not do: anybody can add a signature to a checkpoint and say that his key follows.

use sqlx::PgPool;

use super::notary::Seed;
use crate::Error;
use crate::tlog::{KeyError, Note, Signer, Verifier};

/// The text in which a key of an installation names the one that follows it.
fn text(former: &Verifier, next: &Verifier) -> String {
    format!("everstep/key-follows/v1\n{former}\n{next}\n")
}

/// The signed note that `next` follows `former`, in the installation of this name.
pub fn hand_over(deployment: &str, former: &Seed, next: &Seed) -> Result<String, Error> {
    let unnamed = |error: &dyn std::fmt::Display| Error::Damaged(format!("cannot sign: {error}"));
    let signer = Signer::new(deployment, former).map_err(|error| unnamed(&error))?;
    let next = Signer::new(deployment, next).map_err(|error| unnamed(&error))?;
    let note = Note::new(&text(signer.verifier(), next.verifier()));
    let mut note = note.map_err(|error| unnamed(&error))?;
    note.sign(&signer);
    Ok(note.to_string())
}

/// The keys that are to be believed by whoever believes `pinned`: those, and whatever follows by
/// the word of one of them. `words` are notes in the order in which keys were replaced; what is none
/// of a believed key says nothing.
#[must_use]
pub fn followed(deployment: &str, pinned: &[[u8; 32]], words: &[String]) -> Vec<[u8; 32]> {
    let mut known = pinned.to_vec();
    for word in words {
        if let Some(next) = known.iter().find_map(|key| named(deployment, key, word))
            && !known.contains(&next)
        {
            known.push(next);
        }
    }
    known
}

/// The key that a key names in a note.
fn named(deployment: &str, former: &[u8; 32], word: &str) -> Option<[u8; 32]> {
    let former = Verifier::of(deployment, former).ok()?;
    let note = Note::parse(word.as_bytes()).ok()?;
    let next: Verifier = note.text().lines().nth(2)?.parse().ok()?;
    note.verify(std::slice::from_ref(&former)).ok()?;
    let is_word = note.text() == text(&former, &next) && !next.is_cosigner();
    is_word.then(|| *next.public())
}

/// Known keys as those of the log of an origin.
pub fn verifiers(origin: &str, known: &[[u8; 32]]) -> Result<Vec<Verifier>, KeyError> {
    known.iter().map(|key| Verifier::of(origin, key)).collect()
}

/// What an installation says of its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// The keys of its log (RFC 8032), the oldest first.
    pub publics: Vec<[u8; 32]>,
    /// The words by which they follow one another, in the same order.
    pub words: Vec<String>,
}

pub(super) async fn load(pool: &PgPool) -> Result<Keys, Error> {
    let rows: Vec<(Vec<u8>, Option<String>)> = sqlx::query_as(
        "SELECT public, word FROM es.signing_key WHERE purpose = 'log' ORDER BY created_at, secret",
    )
    .fetch_all(pool)
    .await?;
    let mut keys = Keys { publics: vec![], words: vec![] };
    for (public, word) in rows {
        let public = public.try_into();
        let garbled = |_| Error::Damaged("a stored public key is garbled".to_owned());
        keys.publics.push(public.map_err(garbled)?);
        keys.words.extend(word);
    }
    Ok(keys)
}
