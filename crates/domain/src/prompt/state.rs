use super::Event;
use crate::{Id, Tenant};

/// A prompt, as its history tells it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prompt {
    pub(super) name: String,
    /// All versions, the first one first: what is under way is pinned to one of them.
    pub(super) versions: Vec<Version>,
    pub(super) deleted: bool,
}

/// A version of a prompt; it never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its number, from 1.
    pub version: u32,
    /// Template (Jinja) of the system message.
    pub system: Option<String>,
    /// Template (Jinja) of the user message.
    pub user: String,
    /// Why it is as it is.
    pub message: Option<String>,
}

impl Prompt {
    /// The id of the prompt of this name.
    #[must_use]
    pub fn id(tenant: Id<Tenant>, name: &str) -> Id<Self> {
        Id::derived(tenant.as_uuid(), &format!("prompt/{name}"))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The newest version, unless it is gone.
    #[must_use]
    pub fn newest(&self) -> Option<&Version> {
        self.versions.last().filter(|_| !self.deleted)
    }

    /// A version by its number, also of one that is gone; the newest if no number is given.
    #[must_use]
    pub fn version(&self, number: Option<u32>) -> Option<&Version> {
        match number {
            Some(number) => self.versions.get(usize::try_from(number).ok()?.checked_sub(1)?),
            None => self.newest(),
        }
    }

    pub(super) fn next(&self) -> u32 {
        u32::try_from(self.versions.len()).map_or(u32::MAX, |count| count.saturating_add(1))
    }

    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::VersionCommitted { name, version, system, user, message } => {
                self.name.clone_from(name);
                self.versions.push(Version {
                    version: *version,
                    system: system.clone(),
                    user: user.clone(),
                    message: message.clone(),
                });
                self.deleted = false;
            }
            Event::Deleted {} => self.deleted = true,
        }
    }
}
