//! Notifications: whom to, and how far they have come.

use chrono::{DateTime, Utc};
use domain::notification::{Channel, Event, Notification};
use domain::subject::Subject;
use domain::{Aggregate, Fact, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::values::micros;
use crate::{Cursor, Page, Paging, Reader, Seen, Table, View};

/// A notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema, FromRow)]
#[schema(as = Notification)]
pub struct Detail {
    /// Its id.
    pub id: Uuid,
    /// How it goes out: `email`.
    pub channel: String,
    /// Whom to, by address.
    #[sqlx(json)]
    pub to: Vec<String>,
    /// Id of the template.
    pub template_id: Uuid,
    /// Name of the template; none until the template's own events have been seen.
    pub template: Option<String>,
    /// The template's version it is pinned to.
    pub version: i64,
    /// The execution that asked for it, if one did.
    pub execution_id: Option<Uuid>,
    /// `queued`, `retrying`, `sent` or `failed`.
    pub status: String,
    /// Attempts since it was asked for, or asked for again.
    pub attempts: i64,
    /// What went wrong last.
    pub detail: Option<String>,
    /// When the next attempt comes.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// Who took it: `smtp`, or `mailbox` when no server is configured.
    pub via: Option<String>,
    /// The message's id, for finding it at the other side.
    pub message_id: Option<String>,
    /// When it was first asked for.
    pub requested_at: DateTime<Utc>,
    /// When it last went out.
    pub sent_at: Option<DateTime<Utc>>,
    /// Whether the person whose data these are was erased: then it has no addresses.
    pub erased: bool,
    /// Version of its stream.
    #[serde(skip)]
    pub etag: i64,
}

/// One notification.
pub async fn get(reader: &mut Reader, id: Uuid) -> sqlx::Result<Option<Detail>> {
    let (db, tenant) = reader.parts();
    let found = sqlx::query_as(
        r#"SELECT n.id, n.channel, n.addresses AS "to", n.template AS template_id,
             t.name AS template, n.template_number AS version, n.execution AS execution_id,
             n.status, n.attempts, n.detail, n.next_attempt_at, n.via, n.message_id,
             n.requested_at, n.sent_at, n.erased, n.version AS etag
         FROM rm.notifications n
         LEFT JOIN rm.templates t ON t.tenant = n.tenant AND t.id = n.template
         WHERE n.tenant = $1 AND n.id = $2"#,
    );
    found.bind(tenant).bind(id).fetch_optional(db).await
}

/// Notifications, the newest first.
pub async fn list(reader: &mut Reader, paging: Paging) -> sqlx::Result<Page<Detail>> {
    let (db, tenant) = reader.parts();
    let found = sqlx::query_as(
        r#"SELECT n.id, n.channel, n.addresses AS "to", n.template AS template_id,
             t.name AS template, n.template_number AS version, n.execution AS execution_id,
             n.status, n.attempts, n.detail, n.next_attempt_at, n.via, n.message_id,
             n.requested_at, n.sent_at, n.erased, n.version AS etag
         FROM rm.notifications n
         LEFT JOIN rm.templates t ON t.tenant = n.tenant AND t.id = n.template
         WHERE n.tenant = $1 AND (n.requested_at, n.id) < ($2, $3)
         ORDER BY n.requested_at DESC, n.id DESC LIMIT $4"#,
    )
    .bind(tenant);
    paging.fetch(db, found, |row: &Detail| Cursor { at: row.requested_at, id: row.id }).await
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    channel: Channel,
    addresses: Vec<String>,
    template: Uuid,
    template_number: u32,
    execution: Option<Uuid>,
    status: String,
    attempts: u32,
    detail: Option<String>,
    next_attempt_at: Option<Timestamp>,
    via: Option<String>,
    message_id: Option<String>,
    requested_at: Timestamp,
    sent_at: Option<Timestamp>,
    version: i64,
    subject: Option<Uuid>,
    erased: bool,
}

/// The view itself.
#[derive(Debug)]
pub(crate) struct Notifications;

impl View for Notifications {
    const TABLE: Table = Table { name: "notifications", key: &["tenant", "id"] };
    const FOLDS: &'static [&'static str] = &[Notification::NAME, Subject::NAME];
    const FORGET: Option<fn(&mut Row)> = Some(Row::forget);
    type Key = (Uuid, Uuid);
    type Row = Row;

    fn keys(seen: &Seen) -> Vec<Self::Key> {
        seen.key_if(matches!(*seen.fact, Fact::Notification(_)))
    }

    fn begins(_: &Self::Key, seen: &Seen) -> bool {
        seen.is_first()
    }

    fn evolve(_: &Self::Key, row: &mut Option<Row>, seen: &Seen) {
        let Fact::Notification(event) = &*seen.fact else { return };
        if let Event::Requested { .. } = event {
            *row = begun(event, seen);
        }
        let Some(row) = row else { return };
        row.version = seen.version;
        row.subject = seen.subject.or(row.subject);
        row.next_attempt_at = None;
        match event {
            Event::Requested { .. } => {}
            Event::Sent { attempt, via, message_id } => {
                row.attempted("sent", *attempt, None);
                row.via = Some(via.clone());
                row.message_id = Some(message_id.clone());
                row.sent_at = Some(micros(seen.meta.at));
            }
            Event::AttemptFailed { attempt, detail, retry_at } => {
                row.attempted("retrying", *attempt, detail.known());
                row.next_attempt_at = Some(micros(*retry_at));
            }
            Event::Failed { attempt, detail } => row.attempted("failed", *attempt, detail.known()),
            Event::ResendRequested {} => row.attempted("queued", 0, None),
        }
    }
}

fn begun(event: &Event, seen: &Seen) -> Option<Row> {
    let Event::Requested { channel, to, template, version, data: _, subject: _, caller } = event
    else {
        return None;
    };
    Some(Row {
        channel: *channel,
        addresses: to.clone().into_inner(),
        template: template.as_uuid(),
        template_number: *version,
        execution: caller.map(|caller| caller.execution.as_uuid()),
        status: "queued".to_owned(),
        attempts: 0,
        detail: None,
        next_attempt_at: None,
        via: None,
        message_id: None,
        requested_at: micros(seen.meta.at),
        sent_at: None,
        version: seen.version,
        subject: seen.subject,
        erased: to.is_erased(),
    })
}

impl Row {
    fn forget(&mut self) {
        self.erased = true;
        self.addresses.clear();
        self.detail = None;
    }

    fn attempted(&mut self, status: &str, attempts: u32, detail: Option<&String>) {
        status.clone_into(&mut self.status);
        self.attempts = attempts;
        self.detail = detail.cloned();
    }
}
