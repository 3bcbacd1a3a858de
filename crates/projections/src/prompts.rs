//! Prompts, and their versions.

use chrono::{DateTime, Utc};
use domain::prompt::{Event, Prompt};
use domain::{Aggregate, Fact, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::values::micros;
use crate::{Cursor, Page, Paging, Reader, Seen, Table, View};

/// A prompt with its newest version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema, FromRow)]
#[schema(as = PromptSummary)]
pub struct Summary {
    /// Its id.
    pub id: Uuid,
    /// Its name, unique in the tenant.
    pub name: String,
    /// The newest version, from 1.
    pub version: i64,
    /// Template (Jinja) of the system message.
    pub system: Option<String>,
    /// Template (Jinja) of the user message.
    pub user: String,
    /// Why it was changed.
    pub message: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When the newest version was committed.
    pub updated_at: DateTime<Utc>,
    /// Version of its stream.
    #[serde(skip)]
    pub etag: i64,
}

/// A prompt with all its versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Prompt)]
pub struct Detail {
    /// The prompt with its newest version.
    #[serde(flatten)]
    pub summary: Summary,
    /// All versions, the newest first.
    pub versions: Vec<Version>,
}

/// A version of a prompt; it never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema, FromRow)]
#[schema(as = PromptVersion)]
pub struct Version {
    /// Its number, from 1.
    pub version: i64,
    /// Template (Jinja) of the system message.
    pub system: Option<String>,
    /// Template (Jinja) of the user message.
    pub user: String,
    /// Why it was changed.
    pub message: Option<String>,
    /// When it was committed.
    pub committed_at: DateTime<Utc>,
}

/// One prompt with all its versions.
pub async fn get(reader: &mut Reader, id: Uuid) -> sqlx::Result<Option<Detail>> {
    let (db, tenant) = reader.parts();
    let summary = sqlx::query_as::<_, Summary>(
        r#"SELECT p.id, p.name, p.number AS version, v.system_template AS system,
             v.user_template AS "user", v.message, p.created_at, p.updated_at, p.version AS etag
         FROM rm.prompts p
         JOIN rm.prompt_versions v USING (tenant, number)
         WHERE p.tenant = $1 AND p.id = $2 AND v.prompt = p.id AND p.deleted_at IS NULL"#,
    );
    let found = summary.bind(tenant).bind(id).fetch_optional(&mut *db).await?;
    let Some(summary) = found else { return Ok(None) };
    let versions = sqlx::query_as(
        r#"SELECT number AS version, system_template AS system, user_template AS "user", message,
             committed_at
         FROM rm.prompt_versions
         WHERE tenant = $1 AND prompt = $2
         ORDER BY number DESC"#,
    );
    let versions = versions.bind(tenant).bind(id).fetch_all(db).await?;
    Ok(Some(Detail { summary, versions }))
}

/// Prompts, the newest first.
pub async fn list(reader: &mut Reader, paging: Paging) -> sqlx::Result<Page<Summary>> {
    let (db, tenant) = reader.parts();
    let found = sqlx::query_as(
        r#"SELECT p.id, p.name, p.number AS version, v.system_template AS system,
             v.user_template AS "user", v.message, p.created_at, p.updated_at, p.version AS etag
         FROM rm.prompts p
         JOIN rm.prompt_versions v USING (tenant, number)
         WHERE p.tenant = $1 AND v.prompt = p.id AND p.deleted_at IS NULL
             AND (p.created_at, p.id) < ($2, $3)
         ORDER BY p.created_at DESC, p.id DESC LIMIT $4"#,
    )
    .bind(tenant);
    paging.fetch(db, found, |row: &Summary| Cursor { at: row.created_at, id: row.id }).await
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    name: String,
    number: u32,
    created_at: Timestamp,
    updated_at: Timestamp,
    deleted_at: Option<Timestamp>,
    version: i64,
}

/// The view of prompts.
#[derive(Debug)]
pub(crate) struct Prompts;

impl View for Prompts {
    const TABLE: Table = Table { name: "prompts", key: &["tenant", "id"] };
    const FOLDS: &'static [&'static str] = &[Prompt::NAME];
    type Key = (Uuid, Uuid);
    type Row = Row;

    fn keys(seen: &Seen) -> Vec<Self::Key> {
        seen.key_if(matches!(*seen.fact, Fact::Prompt(_)))
    }

    fn evolve(_: &Self::Key, row: &mut Option<Row>, seen: &Seen) {
        let Fact::Prompt(event) = &*seen.fact else { return };
        let at = micros(seen.meta.at);
        match event {
            Event::VersionCommitted { name, version, .. } => {
                *row = Some(Row {
                    name: name.clone(),
                    number: *version,
                    created_at: row.as_ref().map_or(at, |row| row.created_at),
                    updated_at: at,
                    deleted_at: None,
                    version: seen.version,
                });
            }
            Event::Deleted {} => {
                if let Some(row) = row {
                    (row.deleted_at, row.version) = (Some(at), seen.version);
                }
            }
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct VersionRow {
    system_template: Option<String>,
    user_template: String,
    message: Option<String>,
    committed_at: Timestamp,
}

/// The view of their versions; they outlive the prompt, because invocations are pinned to them.
#[derive(Debug)]
pub(crate) struct Versions;

impl View for Versions {
    const TABLE: Table = Table { name: "prompt_versions", key: &["tenant", "prompt", "number"] };
    const FOLDS: &'static [&'static str] = &[Prompt::NAME];
    type Key = (Uuid, Uuid, u32);
    type Row = VersionRow;

    fn keys(seen: &Seen) -> Vec<Self::Key> {
        match &*seen.fact {
            Fact::Prompt(Event::VersionCommitted { version, .. }) => {
                vec![(seen.meta.tenant.as_uuid(), seen.stream, *version)]
            }
            Fact::Prompt(Event::Deleted {})
            | Fact::Agent(_)
            | Fact::ApiKey(_)
            | Fact::Execution(_)
            | Fact::Integration(_)
            | Fact::Invocation(_)
            | Fact::Notification(_)
            | Fact::Payload(_)
            | Fact::Subject(_)
            | Fact::Template(_)
            | Fact::Webhook(_)
            | Fact::Workflow(_) => vec![],
        }
    }

    fn evolve(_: &Self::Key, row: &mut Option<VersionRow>, seen: &Seen) {
        let Fact::Prompt(Event::VersionCommitted { system, user, message, .. }) = &*seen.fact
        else {
            return;
        };
        *row = Some(VersionRow {
            system_template: system.clone(),
            user_template: user.clone(),
            message: message.clone(),
            committed_at: micros(seen.meta.at),
        });
    }
}
