use semver::Version;
use sha2::{Digest, Sha256};

use super::{Command, Event, Refusal, Workflow};
use crate::{Aggregate, Fault, Timestamp};

impl Aggregate for Workflow {
    const NAME: &'static str = "workflow";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: &Command, _now: Timestamp) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::Publish { create, namespace, name, version, title, document } => {
                self.may_publish(*create, namespace, name)?;
                let digest = hex::encode(Sha256::digest(document));
                if self.has(version, &digest)? {
                    return Ok(vec![]);
                }
                self.must_rise(version)?;
                Ok(vec![Event::VersionPublished {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    version: version.clone(),
                    title: title.clone(),
                    revision: u32::try_from(self.revisions.len()).unwrap_or(u32::MAX - 1) + 1,
                    document: document.clone(),
                    digest,
                }])
            }
            Command::Delete if self.is_live() => Ok(vec![Event::Deleted {}]),
            Command::Delete => Err(Refusal::NotFound),
        }
    }

    fn evolve(&mut self, event: &Event) {
        self.note(event);
    }
}

impl Workflow {
    fn may_publish(&self, create: bool, namespace: &str, name: &str) -> Result<(), Refusal> {
        match (create, self.is_live()) {
            (true, true) => Err(Refusal::Exists),
            (false, false) => Err(Refusal::NotFound),
            (true, false) => Ok(()),
            (false, true) => self.must_be_its_own(namespace, name),
        }
    }

    fn must_be_its_own(&self, namespace: &str, name: &str) -> Result<(), Refusal> {
        let mut faults = vec![];
        let both = [("namespace", namespace, &self.namespace), ("name", name, &self.name)];
        for (member, sent, own) in both.into_iter().filter(|(_, sent, own)| sent != own) {
            let detail = format!("`{sent}` is another {member} than `{own}`, which never changes");
            let fault = Fault::new(format!("/document/{member}"), "other_workflow", detail);
            faults.push(fault.hint("create it as a workflow of its own"));
        }
        if faults.is_empty() { Ok(()) } else { Err(Refusal::Invalid(faults)) }
    }

    /// Whether this very version is the newest already. A deleted workflow comes back with a new
    /// event even so.
    fn has(&self, version: &str, digest: &str) -> Result<bool, Refusal> {
        match self.find(Some(version)) {
            Some(known) if known.digest != digest => {
                Err(Refusal::VersionExists(version.to_owned()))
            }
            Some(_) => Ok(self.is_live()),
            None => Ok(false),
        }
    }

    fn must_rise(&self, version: &str) -> Result<(), Refusal> {
        let Some(newest) = self.find(None).map(|newest| newest.version.clone()) else {
            return Ok(());
        };
        let parsed = (Version::parse(version), Version::parse(&newest));
        let back_again = self.deleted && version == newest;
        match parsed {
            (Ok(new), Ok(old)) if new.cmp_precedence(&old).is_le() && !back_again => {
                Err(Refusal::VersionNotNewer { version: version.to_owned(), newest })
            }
            (Ok(_) | Err(_), Ok(_) | Err(_)) => Ok(()),
        }
    }
}
