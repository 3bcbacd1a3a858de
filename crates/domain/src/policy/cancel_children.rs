//! Whenever nobody waits any more for an execution that a task started, cancel it.

use super::{Do, Seen};
use crate::Fact;
use crate::execution::Event;

pub(super) fn policy(seen: &Seen<'_>) -> Vec<Do> {
    match seen.fact {
        Fact::Execution(Event::TurnTaken(turn)) => {
            let reason = "nobody waits for it any more";
            let cancel = |id| Do::CancelExecution { id, reason: reason.to_owned() };
            turn.closed.iter().filter_map(|closed| closed.child).map(cancel).collect()
        }
        Fact::Execution(
            Event::Started { .. }
            | Event::Completed { .. }
            | Event::Faulted { .. }
            | Event::Cancelled { .. },
        )
        | Fact::Invocation(_)
        | Fact::Webhook(_)
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
