//! Usage: sums per hour, the basis of all analytics.
//!
//! An end does not say what it is the end of: an `execution.completed` carries neither workflow
//! nor start. So there are two tables. `usage_open` has a row for whatever has begun and not
//! ended; `usage_hourly` is what it adds up to. Only whole numbers are added up, so the order in
//! which batches cut the log changes no byte.
//!
//! Something counts as started in the hour in which it began, and as ended in the hour in which it
//! ended. Durations are those of what completed.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use domain::execution::{Event, Execution};
use domain::invocation::{Invocation, Report};
use domain::notification::Notification;
use domain::{Aggregate, Fact, Timestamp, invocation, notification};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::storage::{Table, Tables};
use crate::values::{bigint, hour, key_text, micros, millis_between};
use crate::{Projection, Seen, Sketch};

const OPEN: Table = Table { name: "usage_open", key: &["tenant", "category", "stream"] };

const HOURLY: Table = Table {
    name: "usage_hourly",
    key: &["tenant", "category", "hour", "subject", "provider", "model"],
};

/// Tenant, category, stream.
type OpenKey = (Uuid, String, Uuid);

/// Tenant, category, hour, subject (workflow or agent), provider, model.
type HourKey = (Uuid, String, Timestamp, Uuid, String, String);

/// Something that has begun and not ended.
#[derive(Debug, Serialize, Deserialize)]
struct Open {
    subject: Uuid,
    since: Timestamp,
}

/// What happened in an hour.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Sums {
    started: i64,
    completed: i64,
    failed: i64,
    cancelled: i64,
    input_tokens: i64,
    output_tokens: i64,
    durations: Sketch,
}

/// What an event adds, and under which key.
type Added = Option<(HourKey, Sums)>;

/// The view itself.
#[derive(Debug)]
pub(crate) struct Usage;

#[async_trait]
impl Projection for Usage {
    fn name(&self) -> &'static str {
        "usage"
    }

    fn tables(&self) -> &'static [Table] {
        &[OPEN, HOURLY]
    }

    fn folds(&self) -> &'static [&'static str] {
        &[Execution::NAME, Invocation::NAME, Notification::NAME]
    }

    fn forgets(&self) -> bool {
        false
    }

    fn concerns(&self, seen: &Seen) -> bool {
        open_key(seen).is_some()
    }

    async fn apply(&self, tables: &mut Tables<'_>, events: &[&Seen]) -> sqlx::Result<()> {
        let mut firsts = BTreeMap::<OpenKey, &Seen>::new();
        for seen in events {
            if let Some(key) = open_key(seen) {
                firsts.entry(key).or_insert(seen);
            }
        }
        // What began just now is not there yet.
        let old = firsts.iter().filter(|(_, first)| !first.is_first()).map(|(key, _)| key);
        let fetched: BTreeMap<OpenKey, Open> = tables.fetch(&OPEN, old).await?;
        let there: BTreeSet<OpenKey> = fetched.keys().cloned().collect();
        let mut open: BTreeMap<OpenKey, Option<Open>> =
            firsts.into_keys().map(|key| (key, None)).collect();
        open.extend(fetched.into_iter().map(|(key, row)| (key, Some(row))));

        let mut added = BTreeMap::<HourKey, Sums>::new();
        for seen in events {
            let Some(mine) = open_key(seen).and_then(|key| open.get_mut(&key)) else { continue };
            if let Some((key, sums)) = note(mine, seen) {
                added.entry(key).or_default().add(&sums);
            }
        }
        let before: BTreeMap<HourKey, Sums> = tables.fetch(&HOURLY, added.keys()).await?;
        for (key, sums) in before {
            added.entry(key).or_default().add(&sums);
        }
        let hours = added.into_iter().map(|(key, sums)| (key, Some(sums))).collect();
        // What came and went meanwhile was never there.
        open.retain(|key, row| row.is_some() || there.contains(key));
        tables.save(&OPEN, open, |_| true).await?;
        tables.save(&HOURLY, hours, |_| true).await
    }
}

fn open_key(seen: &Seen) -> Option<OpenKey> {
    let category = match &*seen.fact {
        Fact::Execution(
            Event::Started { .. }
            | Event::Completed { .. }
            | Event::Faulted { .. }
            | Event::Cancelled { .. },
        ) => Execution::NAME,
        Fact::Invocation(_) => Invocation::NAME,
        Fact::Notification(notification::Event::AttemptFailed { .. }) => return None,
        Fact::Notification(_) => Notification::NAME,
        Fact::Execution(Event::TurnTaken(_))
        | Fact::Agent(_)
        | Fact::ApiKey(_)
        | Fact::Integration(_)
        | Fact::Payload(_)
        | Fact::Prompt(_)
        | Fact::Subject(_)
        | Fact::Template(_)
        | Fact::Webhook(_)
        | Fact::Workflow(_) => return None,
    };
    Some((seen.meta.tenant.as_uuid(), category.to_owned(), seen.stream))
}

/// Notes an event in what is open; what it adds to which hour.
fn note(open: &mut Option<Open>, seen: &Seen) -> Added {
    match &*seen.fact {
        Fact::Execution(event) => execution(open, event, seen),
        Fact::Invocation(event) => invocation(open, event, seen),
        Fact::Notification(event) => notification(event, seen),
        Fact::Agent(_)
        | Fact::ApiKey(_)
        | Fact::Integration(_)
        | Fact::Payload(_)
        | Fact::Prompt(_)
        | Fact::Subject(_)
        | Fact::Template(_)
        | Fact::Webhook(_)
        | Fact::Workflow(_) => None,
    }
}

fn execution(open: &mut Option<Open>, event: &Event, seen: &Seen) -> Added {
    let key = |subject| hour_key(seen, Execution::NAME, subject);
    match event {
        Event::Started { workflow, .. } => {
            let subject = workflow.as_uuid();
            *open = Some(Open { subject, since: micros(seen.meta.at) });
            Some((key(subject), Sums { started: 1, ..Sums::default() }))
        }
        Event::TurnTaken(_) => None,
        Event::Completed { .. } => {
            let Open { subject, since } = open.take()?;
            let mut sums = Sums { completed: 1, ..Sums::default() };
            sums.durations.add(millis_between(since, micros(seen.meta.at)).unsigned_abs());
            Some((key(subject), sums))
        }
        Event::Faulted { .. } => {
            Some((key(open.take()?.subject), Sums { failed: 1, ..Sums::default() }))
        }
        Event::Cancelled { .. } => {
            Some((key(open.take()?.subject), Sums { cancelled: 1, ..Sums::default() }))
        }
    }
}

fn invocation(open: &mut Option<Open>, event: &invocation::Event, seen: &Seen) -> Added {
    match event {
        // Who will answer is not known yet, so there is no hour to add it to.
        invocation::Event::Requested { agent, .. } => {
            *open = Some(Open { subject: agent.as_uuid(), since: micros(seen.meta.at) });
            None
        }
        invocation::Event::Completed { report, .. } => {
            let (key, mut sums) = reported(open, report, seen)?;
            sums.completed = 1;
            sums.durations.add(report.duration_ms);
            Some((key, sums))
        }
        invocation::Event::Failed { report, .. } => {
            let (key, sums) = reported(open, report, seen)?;
            Some((key, Sums { failed: 1, ..sums }))
        }
    }
}

/// Tokens count whether or not they were of any use.
fn reported(open: &mut Option<Open>, report: &Report, seen: &Seen) -> Added {
    let (tenant, category, hour, agent, ..) =
        hour_key(seen, Invocation::NAME, open.take()?.subject);
    let (provider, model) = (key_text(&report.provider), key_text(&report.model));
    let sums = Sums {
        input_tokens: bigint(report.input_tokens),
        output_tokens: bigint(report.output_tokens),
        ..Sums::default()
    };
    Some(((tenant, category, hour, agent, provider, model), sums))
}

fn notification(event: &notification::Event, seen: &Seen) -> Added {
    let sums = match event {
        notification::Event::Requested { .. } | notification::Event::ResendRequested {} => {
            Sums { started: 1, ..Sums::default() }
        }
        notification::Event::Sent { .. } => Sums { completed: 1, ..Sums::default() },
        notification::Event::Failed { .. } => Sums { failed: 1, ..Sums::default() },
        notification::Event::AttemptFailed { .. } => return None,
    };
    Some((hour_key(seen, Notification::NAME, Uuid::nil()), sums))
}

fn hour_key(seen: &Seen, category: &str, subject: Uuid) -> HourKey {
    let (tenant, hour) = (seen.meta.tenant.as_uuid(), hour(seen.meta.at));
    (tenant, category.to_owned(), hour, subject, String::new(), String::new())
}

impl Sums {
    fn add(&mut self, other: &Self) {
        for (mine, others) in [
            (&mut self.started, other.started),
            (&mut self.completed, other.completed),
            (&mut self.failed, other.failed),
            (&mut self.cancelled, other.cancelled),
            (&mut self.input_tokens, other.input_tokens),
            (&mut self.output_tokens, other.output_tokens),
        ] {
            *mine = mine.saturating_add(others);
        }
        self.durations.merge(&other.durations);
    }
}
