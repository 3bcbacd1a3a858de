//! What was stored here, remembered as it will be read: those who follow the log need not ask for it.

use std::sync::Arc;

use domain::Timestamp;
use serde_json::value::RawValue;

use super::batch::{Outcome, Salt};
use super::queue::Job;
use super::recent::Recent;
use crate::deployment::Deployment;
use crate::personal::Opened;
use crate::{Append, Appended, Metadata, Position, Recorded, Version, judge};

/// Remembers what a writer has stored.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    recent: Arc<Recent>,
    deployment: Arc<Deployment>,
}

impl Memory {
    pub(super) fn new(recent: Arc<Recent>, deployment: Arc<Deployment>) -> Self {
        Self { recent, deployment }
    }

    /// Keeps nothing any more, so that what is missing from now on is not missed.
    pub(super) fn forget(&self) {
        self.recent.forget();
    }

    /// Keeps what was stored of a group. What cannot be kept is read when it is wanted.
    pub(super) async fn keep(&self, group: &[Job], outcomes: &[Outcome]) {
        let is_stored = |outcome: &Outcome| matches!(outcome, Outcome::Appended(_, Some(_)));
        if !outcomes.iter().any(is_stored) {
            return;
        }
        let Ok(deployment) = self.deployment.name().await else { return };
        let mut events = vec![];
        for (job, outcome) in group.iter().zip(outcomes) {
            let Outcome::Appended(done, Some(recorded_at)) = outcome else { continue };
            let shared = (&deployment, *recorded_at);
            events.extend(stored(&job.append, &job.salts, done, shared));
        }
        self.recent.keep(events);
    }
}

/// The events of an append that was stored, in the log of an installation and at a time.
fn stored<'a>(
    append: &'a Append,
    salts: &'a [Salt],
    done: &'a Appended,
    (deployment, recorded_at): (&'a Arc<str>, Timestamp),
) -> impl Iterator<Item = Recorded> + 'a {
    let first = done.position - number(salts.len()) + 1;
    let parts = append.streams.iter().zip(&done.versions);
    let events = parts.flat_map(|(part, version)| {
        let first = version - number(part.events.len()) + 1;
        (first..).zip(&part.events).map(|(version, draft)| (part.stream, version, draft))
    });
    let at = judge::kept(append.meta.at);
    (first..).zip(salts).zip(events).filter_map(move |((position, salt), event)| {
        let (stream, version, draft) = event;
        Some(Recorded {
            deployment: deployment.clone(),
            position,
            id: draft.id,
            category: stream.category.to_owned(),
            stream: stream.id,
            version,
            name: draft.name.clone(),
            schema: draft.schema,
            salt: *salt,
            body: RawValue::from_string(draft.body.clone()).ok()?,
            opened: draft.opened.clone().map(|body| Opened::new(stream.tenant, body)),
            fact: draft.fact.clone(),
            meta: Metadata { at, ..append.meta.clone() },
            recorded_at: Some(recorded_at),
        })
    })
}

fn number(count: usize) -> Version {
    Position::try_from(count).unwrap_or(Position::MAX)
}
