//! Whenever somebody wants a subject to be erased, do it.

use super::{Do, Seen};
use crate::subject::Event;
use crate::{Fact, Id};

pub(super) fn policy(seen: &Seen<'_>) -> Vec<Do> {
    match seen.fact {
        Fact::Subject(Event::ErasureRequested {}) => {
            vec![Do::EraseSubject { id: Id::from_uuid(seen.stream) }]
        }
        Fact::Subject(Event::Erased {})
        | Fact::Execution(_)
        | Fact::Invocation(_)
        | Fact::Agent(_)
        | Fact::ApiKey(_)
        | Fact::Integration(_)
        | Fact::Notification(_)
        | Fact::Payload(_)
        | Fact::Prompt(_)
        | Fact::Template(_)
        | Fact::Webhook(_)
        | Fact::Workflow(_) => vec![],
    }
}
