//! Notification templates, each with its newest version.

use chrono::{DateTime, Utc};
use domain::template::{Event, Template};
use domain::{Aggregate, Fact, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::values::micros;
use crate::{Cursor, Page, Paging, Reader, Seen, Table, View};

/// A notification template with its newest version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema, FromRow)]
#[schema(as = NotificationTemplate)]
pub struct Detail {
    /// Its id.
    pub id: Uuid,
    /// Its name, unique in the tenant.
    pub name: String,
    /// The newest version, from 1.
    pub version: i64,
    /// Template (Jinja) of the subject line.
    pub subject: String,
    /// Template (Jinja) of the plain-text body.
    pub text: String,
    /// Template (Jinja, HTML-escaped) of the HTML body, if there is one.
    pub html: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When the newest version was saved.
    pub updated_at: DateTime<Utc>,
    /// Version of its stream.
    #[serde(skip)]
    pub etag: i64,
}

/// One template.
pub async fn get(reader: &mut Reader, id: Uuid) -> sqlx::Result<Option<Detail>> {
    let (db, tenant) = reader.parts();
    let found = sqlx::query_as(
        "SELECT id, name, number AS version, subject, body AS text, html, created_at, updated_at,
             version AS etag
         FROM rm.templates
         WHERE tenant = $1 AND id = $2 AND deleted_at IS NULL",
    );
    found.bind(tenant).bind(id).fetch_optional(db).await
}

/// Templates, the newest first.
pub async fn list(reader: &mut Reader, paging: Paging) -> sqlx::Result<Page<Detail>> {
    let (db, tenant) = reader.parts();
    let found = sqlx::query_as(
        "SELECT id, name, number AS version, subject, body AS text, html, created_at, updated_at,
             version AS etag
         FROM rm.templates
         WHERE tenant = $1 AND deleted_at IS NULL AND (created_at, id) < ($2, $3)
         ORDER BY created_at DESC, id DESC LIMIT $4",
    )
    .bind(tenant);
    paging.fetch(db, found, |row: &Detail| Cursor { at: row.created_at, id: row.id }).await
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    name: String,
    number: u32,
    subject: String,
    body: String,
    html: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
    deleted_at: Option<Timestamp>,
    version: i64,
}

/// The view itself.
#[derive(Debug)]
pub(crate) struct Templates;

impl View for Templates {
    const TABLE: Table = Table { name: "templates", key: &["tenant", "id"] };
    const FOLDS: &'static [&'static str] = &[Template::NAME];
    type Key = (Uuid, Uuid);
    type Row = Row;

    fn keys(seen: &Seen) -> Vec<Self::Key> {
        seen.key_if(matches!(*seen.fact, Fact::Template(_)))
    }

    fn evolve(_: &Self::Key, row: &mut Option<Row>, seen: &Seen) {
        let Fact::Template(event) = &*seen.fact else { return };
        let at = micros(seen.meta.at);
        match event {
            Event::VersionSaved { name, version, subject, text, html } => {
                *row = Some(Row {
                    name: name.clone(),
                    number: *version,
                    subject: subject.clone(),
                    body: text.clone(),
                    html: html.clone(),
                    created_at: row.as_ref().map_or(at, |row| row.created_at),
                    updated_at: at,
                    deleted_at: None,
                    version: seen.version,
                });
            }
            // Notifications that were sent from it still need its name.
            Event::Deleted {} => {
                if let Some(row) = row {
                    (row.deleted_at, row.version) = (Some(at), seen.version);
                }
            }
        }
    }
}
