use super::{Event, Spec};
use crate::{Id, Tenant};

/// An agent, as its history tells it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Agent {
    pub(super) name: String,
    /// All revisions, the first one first: what is under way is pinned to one of them.
    pub(super) revisions: Vec<Spec>,
    pub(super) deleted: bool,
}

impl Agent {
    /// The id of the agent of this name.
    #[must_use]
    pub fn id(tenant: Id<Tenant>, name: &str) -> Id<Self> {
        Id::derived(tenant.as_uuid(), &format!("agent/{name}"))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The newest revision and its number, unless it is gone.
    #[must_use]
    pub fn current(&self) -> Option<(u32, &Spec)> {
        let newest = self.revisions.last().filter(|_| !self.deleted)?;
        Some((self.number(), newest))
    }

    /// A revision by its number, from 1; also of one that is gone.
    #[must_use]
    pub fn revision(&self, number: u32) -> Option<&Spec> {
        self.revisions.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    pub(super) fn number(&self) -> u32 {
        u32::try_from(self.revisions.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Revised { name, revision: _, spec } => {
                self.name.clone_from(name);
                self.revisions.push((**spec).clone());
                self.deleted = false;
            }
            Event::Deleted {} => self.deleted = true,
        }
    }
}
