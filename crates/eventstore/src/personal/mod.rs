//! Personal data in the log: sealed under a key for each subject, and gone when that is destroyed.
//!
//! Events mark what is personal ([`domain::Personal`]). [`Sealed`] stands before a log: what is
//! appended through it is sealed, and what is read through it is opened, or shown as erased if the
//! key is gone. The bytes that are stored, hashed into trees and exported are the sealed ones, so
//! that whatever was proved before an erasure holds after it.

mod apart;
mod keyring;
mod rewrite;
mod scan;
mod seal;
mod store;
#[cfg(test)]
mod tests;

use domain::Id;
use domain::subject::Subject;
use serde_json::value::RawValue;

pub use apart::Opened;
pub use keyring::Keyring;
pub use rewrite::{KEYS, RewriteError, rewrite};
pub use store::Sealed;

use crate::Recorded;

/// What tells that a subject is erased.
pub(crate) const ERASED: &str = "subject.erased";

/// Whose data the sealed values of an event are; none for nobody in particular.
pub(crate) fn subject(event: &Recorded) -> Option<Id<Subject>> {
    let id = seal::sealed_under(event.body.get())?;
    (id != keyring::nobody(event.meta.tenant)).then_some(Id::from_uuid(id))
}

/// The fields of an event without the marks on its personal values; null where they were erased.
pub(crate) fn bare(data: &str) -> Box<RawValue> {
    // What only looks like a mark, in data that are nobody's, is shown as it stands.
    let bare = RawValue::from_string(scan::bare(data));
    bare.or_else(|_| RawValue::from_string(data.to_owned()))
        .expect("what was read from the log is JSON")
}

/// Whether the body of an event has sealed values.
pub(crate) fn is_sealed(body: &str) -> bool {
    seal::sealed_under(body).is_some()
}
