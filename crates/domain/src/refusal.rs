//! How a rule says no.

use crate::Fault;

/// An answer of "no" that is part of the language of the domain, not a failure of the machine.
pub trait Refusal: std::error::Error + Send + Sync + 'static {
    /// Which sort of no, in terms that any transport can translate.
    fn kind(&self) -> Kind;

    /// A stable code that clients may match on, such as `execution_finished`.
    fn code(&self) -> &'static str;

    /// What exactly was wrong with the request, where that can be said.
    fn faults(&self) -> &[Fault] {
        &[]
    }
}

/// The sorts of no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// There is no such thing.
    NotFound,
    /// It makes no sense as asked.
    Invalid,
    /// It made sense, but not in the state the thing is in.
    Conflict,
    /// This actor may not.
    Forbidden,
}

/// What many faults come down to in one line.
pub(crate) fn summary(faults: &[Fault]) -> String {
    match faults {
        [one] => one.detail.clone(),
        many => format!("{} things are wrong", many.len()),
    }
}
