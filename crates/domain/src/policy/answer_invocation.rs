//! Whenever an invocation ends, answer the task that waits for it.

use super::{Do, Seen};
use crate::Fact;
use crate::execution::{Answer, Caller};
use crate::invocation::Event;

pub(super) fn policy(seen: &Seen<'_>) -> Vec<Do> {
    match seen.fact {
        Fact::Invocation(Event::Completed { output, caller, report: _ }) => {
            answer(*caller, Answer::Success(output.clone().into_inner()))
        }
        Fact::Invocation(Event::Failed { class, detail, caller, report: _ }) => {
            answer(*caller, class.answer(detail))
        }
        Fact::Invocation(Event::Requested { .. })
        | Fact::Execution(_)
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

fn answer(caller: Option<Caller>, answer: Answer) -> Vec<Do> {
    let give = |Caller { execution, wait }| Do::Answer { execution, wait, answer };
    caller.map(give).into_iter().collect()
}
