//! `use`: what tasks refer to by name.

use std::collections::HashMap;

use super::place::{Fields, Place};
use super::{Compiler, Scope};
use crate::workflow::plan::{RaisedError, Retry, Span};

/// What `use` defines.
#[derive(Default)]
pub(super) struct Uses {
    pub(super) errors: HashMap<String, RaisedError>,
    pub(super) retries: HashMap<String, Retry>,
    pub(super) timeouts: HashMap<String, Span>,
}

impl Compiler {
    pub(super) fn read_uses(&mut self, at: &Place<'_>) {
        let Some(mut fields) = Fields::of(self, at) else { return };
        let (errors, retries) = (fields.take("errors"), fields.take("retries"));
        let timeouts = fields.take("timeouts");
        for (name, hint) in [
            ("authentications", "put the credential into an integration"),
            ("secrets", "put the secret into an integration"),
            ("functions", "call http, agent, integration or notify"),
            ("extensions", "write the tasks where they run"),
            ("catalogs", "write the tasks where they run"),
        ] {
            if let Some(place) = fields.take(name) {
                self.unsupported(&place, &format!("`use.{name}`"), Some(hint));
            }
        }
        fields.finish(self);
        let scope = Scope::default().with(&["error"]);
        for (name, place) in named(errors.as_ref()) {
            if let Some(error) = self.raised(&place, &scope) {
                self.uses.errors.insert(name, error);
            }
        }
        for (name, place) in named(retries.as_ref()) {
            if let Some(retry) = self.retry(&place, &scope) {
                self.uses.retries.insert(name, retry);
            }
        }
        for (name, place) in named(timeouts.as_ref()) {
            if let Some(timeout) = self.timeout(&place, &scope) {
                self.uses.timeouts.insert(name, timeout);
            }
        }
    }

    /// What is defined under a name; notes a fault if nothing is.
    pub(super) fn used<T>(
        &mut self,
        at: &Place<'_>,
        name: &str,
        sort: &str,
        find: impl FnOnce(&Uses) -> Option<T>,
    ) -> Option<T> {
        let found = find(&self.uses);
        if found.is_none() {
            let detail = format!("there is no `{name}` in `use.{sort}`");
            self.fault(at, "unknown_reference", detail);
        }
        found
    }
}

fn named<'n>(at: Option<&Place<'n>>) -> Vec<(String, Place<'n>)> {
    let members = at.and_then(Place::members).unwrap_or_default();
    members.into_iter().map(|(name, place)| (name.to_owned(), place)).collect()
}
