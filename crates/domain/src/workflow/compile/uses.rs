//! `use`: what tasks refer to by name.

use std::collections::HashMap;

use super::place::{Fields, Place, nearest, quoted};
use super::{Compiler, Scope};
use crate::workflow::plan::{RaisedError, Retry, Span};

/// What `use` defines. A definition that is broken is noted where it stands, not where it is used.
#[derive(Default)]
pub(super) struct Uses {
    pub(super) errors: Defined<RaisedError>,
    pub(super) retries: Defined<NamedRetry>,
    pub(super) timeouts: Defined<Span>,
}

type Defined<T> = HashMap<String, Option<T>>;

/// A retry policy that tasks may refer to.
#[derive(Clone)]
pub(super) struct NamedRetry {
    pub(super) retry: Retry,
    /// Whether it speaks of `$error`: it then fits only where the error is called so.
    pub(super) needs_error: bool,
}

/// Parts of `use` that we have not, with what to do instead.
const NOT_YET: [(&str, &str); 5] = [
    ("authentications", "put the credential into an integration"),
    ("secrets", "put the secret into an integration"),
    ("functions", "call http, agent, integration or notify"),
    ("extensions", "write the tasks where they run"),
    ("catalogs", "call http, agent, integration or notify"),
];

impl Compiler {
    pub(super) fn read_uses(&mut self, at: &Place<'_>) {
        let Some(mut fields) = Fields::of(self, at) else { return };
        let (errors, retries) = (fields.take("errors"), fields.take("retries"));
        let timeouts = fields.take("timeouts");
        for (name, hint) in NOT_YET {
            if let Some(place) = fields.take(name) {
                self.unsupported(&place, &format!("`use.{name}`"), Some(hint));
            }
        }
        fields.finish(self);
        let scope = Scope::default();
        for (name, place) in self.definitions(errors.as_ref()) {
            let error = self.inline_error(&place, &scope);
            self.uses.errors.insert(name.to_owned(), error);
        }
        for (name, place) in self.definitions(retries.as_ref()) {
            let retry = self.named_retry(&place);
            self.uses.retries.insert(name.to_owned(), retry);
        }
        for (name, place) in self.definitions(timeouts.as_ref()) {
            let timeout = self.inline_timeout(&place, &scope);
            self.uses.timeouts.insert(name.to_owned(), timeout);
        }
    }

    fn definitions<'n>(&mut self, at: Option<&Place<'n>>) -> Vec<(&'n str, Place<'n>)> {
        let Some(at) = at else { return vec![] };
        let members = at.members();
        if members.is_none() {
            self.fault(at, "wrong_type", "an object is wanted here: definitions by their names");
        }
        members.unwrap_or_default()
    }

    fn named_retry(&mut self, at: &Place<'_>) -> Option<NamedRetry> {
        let before = self.faults.len();
        let retry = self.inline_retry(at, &Scope::default().with(&["error"]));
        let faults = self.faults.len() - before;
        let mut without_error = Self::default();
        without_error.inline_retry(at, &Scope::default());
        Some(NamedRetry { retry: retry?, needs_error: without_error.faults.len() > faults })
    }

    /// What is defined under a name; notes a fault if nothing is.
    pub(super) fn used<T: Clone>(
        &mut self,
        at: &Place<'_>,
        sort: &str,
        defined: impl Fn(&Uses) -> &Defined<T>,
        hint: Option<&str>,
    ) -> Option<T> {
        let name = at.text()?;
        let known = defined(&self.uses);
        if let Some(found) = known.get(name) {
            return found.clone();
        }
        let near = nearest(name, known.keys().map(String::as_str));
        let near = near.map(|near| format!("did you mean `{near}`?"));
        let detail = format!("there is no {} in `use.{sort}`", quoted(name));
        match near.as_deref().or(hint) {
            Some(hint) => self.hinted(at, "unknown_reference", detail, hint),
            None => self.fault(at, "unknown_reference", detail),
        }
        None
    }
}
