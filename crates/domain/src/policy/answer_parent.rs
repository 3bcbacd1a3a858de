//! Whenever an execution ends that another one started, answer the task that waits for it.

use super::{Do, Seen};
use crate::Fact;
use crate::execution::{Answer, Caller, Event, Standard};

pub(super) fn policy(seen: &Seen<'_>) -> Vec<Do> {
    match seen.fact {
        Fact::Execution(Event::Completed { output, parent }) => {
            answer(*parent, Answer::Success(output.clone().into_inner()))
        }
        Fact::Execution(Event::Faulted { error, parent }) => {
            answer(*parent, Answer::Failure(error.clone()))
        }
        Fact::Execution(Event::Cancelled { parent, by: _, reason: _ }) => {
            let error = Standard::Runtime.error("the execution was cancelled");
            answer(*parent, Answer::Failure(error))
        }
        Fact::Execution(Event::Started { .. } | Event::TurnTaken(_))
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

fn answer(parent: Option<Caller>, answer: Answer) -> Vec<Do> {
    let give = |Caller { execution, wait }| Do::Answer { execution, wait, answer };
    parent.map(give).into_iter().collect()
}
