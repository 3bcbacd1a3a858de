//! Whenever a webhook delivery comes in for a workflow, start an execution of it.

use super::{Do, Seen};
use crate::execution::Trigger;
use crate::webhook::{self, Event};
use crate::{Fact, Id};

pub(super) fn policy(seen: &Seen<'_>) -> Vec<Do> {
    match seen.fact {
        Fact::Webhook(Event::Received { event_type, dedupe_key, body, starts, .. }) => {
            let start = |workflow| Do::StartExecution {
                id: Id::derived(seen.stream, "start"),
                workflow,
                input: webhook::input(event_type.as_deref(), dedupe_key, body),
                trigger: Trigger::Webhook(Id::from_uuid(seen.stream)),
            };
            starts.clone().map(start).into_iter().collect()
        }
        Fact::Execution(_)
        | Fact::Invocation(_)
        | Fact::Agent(_)
        | Fact::ApiKey(_)
        | Fact::Integration(_)
        | Fact::Notification(_)
        | Fact::Prompt(_)
        | Fact::Template(_)
        | Fact::Workflow(_) => vec![],
    }
}
