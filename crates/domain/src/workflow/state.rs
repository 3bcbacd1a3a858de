use std::sync::Arc;

use super::Event;
use crate::{Id, Tenant};

/// A workflow, as its history tells it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Workflow {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) revisions: Vec<Revision>,
    pub(super) deleted: bool,
}

/// A published version; it never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Its number, from 1.
    pub revision: u32,
    /// `document.version`.
    pub version: String,
    /// SHA-256 of the text, in hex.
    pub digest: String,
    /// The author's text.
    pub document: Arc<str>,
}

impl Workflow {
    /// The id of the workflow of this name.
    #[must_use]
    pub fn id(tenant: Id<Tenant>, namespace: &str, name: &str) -> Id<Self> {
        Id::derived(tenant.as_uuid(), &format!("workflow/{namespace}/{name}"))
    }

    /// Whether it is there and executions of it may start.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !self.revisions.is_empty() && !self.deleted
    }

    /// All versions, the first one first.
    #[must_use]
    pub fn revisions(&self) -> &[Revision] {
        &self.revisions
    }

    /// A version by what the document calls it; the newest if nothing is asked for.
    #[must_use]
    pub fn find(&self, version: Option<&str>) -> Option<&Revision> {
        match version {
            Some(version) => self.revisions.iter().find(|known| known.version == version),
            None => self.revisions.last(),
        }
    }

    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::VersionPublished {
                namespace,
                name,
                version,
                title: _,
                revision,
                document,
                digest,
            } => {
                self.namespace.clone_from(namespace);
                self.name.clone_from(name);
                self.revisions.push(Revision {
                    revision: *revision,
                    version: version.clone(),
                    digest: digest.clone(),
                    document: document.as_str().into(),
                });
                self.deleted = false;
            }
            Event::Deleted {} => self.deleted = true,
        }
    }
}
