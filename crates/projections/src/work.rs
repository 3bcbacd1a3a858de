//! What the workers must do: one row per open wait of an execution, unanswered invocation and
//! notification that is to go out.

use domain::execution::{Event, Execution, Turn, Wait};
use domain::invocation::Invocation;
use domain::notification::Notification;
use domain::subject::Subject;
use domain::{Aggregate, Fact, Timestamp, invocation, notification};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::values::{integer, micros};
use crate::{Seen, Table, View, waits};

/// How many parts the work is divided into among workers.
const PARTITIONS: u32 = 256;

/// The item of things that are one piece of work as a whole.
const WHOLE: i32 = 0;

/// The part of the work, 0 to 255, that a stream belongs to; the same for ever, because workers
/// of different releases must agree (FNV-1a over the id's bytes).
#[must_use]
pub fn partition(stream: Uuid) -> i16 {
    let mix = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    let hash = stream.as_bytes().iter().fold(0x811c_9dc5, mix);
    i16::try_from(hash % PARTITIONS).unwrap_or_default()
}

/// The kind of a row that is about a notification.
const NOTIFICATION: &str = "notification";

/// Tenant, category, stream, item.
type Key = (Uuid, String, Uuid, i32);

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    partition: i16,
    due_at: Timestamp,
    since: Timestamp,
    position: i64,
    kind: String,
    task: String,
    detail: String,
    subject: Option<Uuid>,
}

/// The view itself.
#[derive(Debug)]
pub(crate) struct Work;

impl View for Work {
    const TABLE: Table = Table { name: "work", key: &["tenant", "category", "stream", "item"] };
    const FOLDS: &'static [&'static str] =
        &[Execution::NAME, Invocation::NAME, Notification::NAME, Subject::NAME];
    const FORGET: Option<fn(&mut Row)> = Some(Row::forget);
    type Key = Key;
    type Row = Row;

    fn keys(seen: &Seen) -> Vec<Key> {
        match &*seen.fact {
            Fact::Execution(Event::TurnTaken(turn)) => {
                let opened = turn.opened.iter().map(|wait| wait.id);
                let closed = turn.closed.iter().map(|closed| closed.wait);
                opened.chain(closed).map(|wait| key(seen, Execution::NAME, integer(wait))).collect()
            }
            // The turn before the end closes whatever was open.
            Fact::Execution(
                Event::Started { .. }
                | Event::Completed { .. }
                | Event::Faulted { .. }
                | Event::Cancelled { .. },
            ) => vec![],
            Fact::Invocation(_) => vec![key(seen, Invocation::NAME, WHOLE)],
            Fact::Notification(_) => vec![key(seen, Notification::NAME, WHOLE)],
            Fact::Agent(_)
            | Fact::ApiKey(_)
            | Fact::Integration(_)
            | Fact::Payload(_)
            | Fact::Prompt(_)
            | Fact::Subject(_)
            | Fact::Template(_)
            | Fact::Webhook(_)
            | Fact::Workflow(_) => vec![],
        }
    }

    /// Waits have numbers of their own: one that is opened was never there.
    fn begins((.., item): &Key, seen: &Seen) -> bool {
        if let Fact::Execution(Event::TurnTaken(turn)) = &*seen.fact {
            return turn.opened.iter().any(|wait| integer(wait.id) == *item);
        }
        seen.is_first()
    }

    fn evolve((.., item): &Key, row: &mut Option<Row>, seen: &Seen) {
        match &*seen.fact {
            Fact::Execution(Event::TurnTaken(turn)) => take(*item, row, turn, seen),
            Fact::Invocation(event) => match event {
                invocation::Event::Requested { .. } => {
                    *row = Some(due(seen, seen.meta.at, "invocation"));
                }
                invocation::Event::Completed { .. } | invocation::Event::Failed { .. } => {
                    *row = None;
                }
            },
            Fact::Notification(event) => match event {
                notification::Event::Requested { .. } | notification::Event::ResendRequested {} => {
                    *row = Some(due(seen, seen.meta.at, NOTIFICATION));
                }
                notification::Event::AttemptFailed { retry_at, detail, attempt: _ } => {
                    let next = due(seen, *retry_at, NOTIFICATION);
                    *row = Some(Row { detail: detail.clone().into_inner(), ..next });
                }
                notification::Event::Sent { .. } | notification::Event::Failed { .. } => {
                    *row = None;
                }
            },
            Fact::Execution(
                Event::Started { .. }
                | Event::Completed { .. }
                | Event::Faulted { .. }
                | Event::Cancelled { .. },
            )
            | Fact::Agent(_)
            | Fact::ApiKey(_)
            | Fact::Integration(_)
            | Fact::Payload(_)
            | Fact::Prompt(_)
            | Fact::Subject(_)
            | Fact::Template(_)
            | Fact::Webhook(_)
            | Fact::Workflow(_) => {}
        }
    }
}

impl Row {
    fn forget(&mut self) {
        if self.kind == NOTIFICATION {
            self.detail.clear();
        }
        waits::forget(&self.kind, &mut self.detail);
    }
}

fn key(seen: &Seen, category: &str, item: i32) -> Key {
    (seen.meta.tenant.as_uuid(), category.to_owned(), seen.stream, item)
}

fn take(item: i32, row: &mut Option<Row>, turn: &Turn, seen: &Seen) {
    if turn.closed.iter().any(|closed| integer(closed.wait) == item) {
        *row = None;
    }
    if let Some(wait) = turn.opened.iter().find(|wait| integer(wait.id) == item) {
        *row = Some(opened(wait, seen));
    }
}

fn opened(wait: &Wait, seen: &Seen) -> Row {
    let due_at = waits::due(&wait.what).unwrap_or(seen.meta.at);
    Row {
        since: micros(wait.since),
        task: wait.task.clone(),
        detail: waits::detail(&wait.what),
        ..due(seen, due_at, waits::kind(&wait.what))
    }
}

/// Something that is to be done at a certain time.
fn due(seen: &Seen, due_at: Timestamp, kind: &str) -> Row {
    Row {
        partition: partition(seen.stream),
        due_at: micros(due_at),
        since: micros(seen.meta.at),
        position: seen.position,
        kind: kind.to_owned(),
        task: String::new(),
        detail: String::new(),
        subject: seen.subject,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_stays_in_its_partition_for_ever() {
        let of = |number| partition(Uuid::from_u128(number));
        assert_eq!([of(0), of(1), of(u128::MAX)], [5, 114, 245]);
    }

    #[test]
    fn streams_spread_over_all_partitions() {
        let used: std::collections::BTreeSet<i16> = (0..10_000_u128)
            .map(|n| partition(Uuid::new_v5(&Uuid::nil(), &n.to_be_bytes())))
            .collect();
        assert_eq!(used.len(), 256);
        assert_eq!((used.first(), used.last()), (Some(&0), Some(&255)));
    }
}
