//! Whenever a webhook delivery comes in for a workflow, start an execution of it.

use super::{Do, Seen};
use crate::execution::Trigger;
use crate::webhook::{self, Event};
use crate::{Fact, Id};

pub(super) fn policy(seen: &Seen<'_>) -> Vec<Do> {
    match seen.fact {
        Fact::Webhook(Event::Received {
            event_type, dedupe_key, body, subject, starts, ..
        }) => {
            // Of an erased delivery nothing is left to start with.
            let (Some(workflow), Some(body)) = (starts.clone(), body.known()) else {
                return vec![];
            };
            vec![Do::StartExecution {
                id: Id::derived(seen.stream, "start"),
                workflow,
                input: webhook::input(event_type.as_deref(), dedupe_key, body),
                subject: *subject,
                trigger: Trigger::Webhook(Id::from_uuid(seen.stream)),
            }]
        }
        Fact::Execution(_)
        | Fact::Invocation(_)
        | Fact::Agent(_)
        | Fact::ApiKey(_)
        | Fact::Integration(_)
        | Fact::Notification(_)
        | Fact::Payload(_)
        | Fact::Prompt(_)
        | Fact::Subject(_)
        | Fact::Template(_)
        | Fact::Workflow(_) => vec![],
    }
}
