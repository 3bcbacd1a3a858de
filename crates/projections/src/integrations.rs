//! Integrations, each with its newest settings and how its last test went.

use chrono::{DateTime, Utc};
use domain::integration::{Event, Integration};
use domain::{Aggregate, Fact, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::FromRow;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::values::{definition, micros};
use crate::{Cursor, Page, Paging, Reader, Seen, Table, View};

/// An integration. Secrets are references into the vault.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema, FromRow)]
#[schema(as = Integration)]
pub struct Detail {
    /// Its id.
    pub id: Uuid,
    /// Its name, unique in the tenant.
    pub name: String,
    /// Which revision this is, from 1.
    pub revision: i64,
    /// Its settings (`domain::integration::Spec`).
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub spec: Value,
    /// How its last test went.
    #[sqlx(json(nullable))]
    pub tested: Option<Tested>,
    /// When it was set up.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Version of its stream.
    #[serde(skip)]
    pub etag: i64,
}

/// How a test of an integration went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = IntegrationTest)]
pub struct Tested {
    /// When it was made.
    pub at: DateTime<Utc>,
    /// Whether the service answered as it should.
    pub ok: bool,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// What happened, in words.
    pub detail: String,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// One integration.
pub async fn get(reader: &mut Reader, id: Uuid) -> sqlx::Result<Option<Detail>> {
    let (db, tenant) = reader.parts();
    let found = sqlx::query_as(
        "SELECT id, name, revision, spec::json AS spec, tested, created_at, updated_at,
             version AS etag
         FROM rm.integrations
         WHERE tenant = $1 AND id = $2 AND deleted_at IS NULL",
    );
    found.bind(tenant).bind(id).fetch_optional(db).await
}

/// Integrations, the newest first.
pub async fn list(reader: &mut Reader, paging: Paging) -> sqlx::Result<Page<Detail>> {
    let (db, tenant) = reader.parts();
    let found = sqlx::query_as(
        "SELECT id, name, revision, spec::json AS spec, tested, created_at, updated_at,
             version AS etag
         FROM rm.integrations
         WHERE tenant = $1 AND deleted_at IS NULL AND (created_at, id) < ($2, $3)
         ORDER BY created_at DESC, id DESC LIMIT $4",
    )
    .bind(tenant);
    paging.fetch(db, found, |row: &Detail| Cursor { at: row.created_at, id: row.id }).await
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    name: String,
    revision: u32,
    spec: String,
    tested: Option<Tested>,
    created_at: Timestamp,
    updated_at: Timestamp,
    deleted_at: Option<Timestamp>,
    version: i64,
}

/// The view itself.
#[derive(Debug)]
pub(crate) struct Integrations;

impl View for Integrations {
    const TABLE: Table = Table { name: "integrations", key: &["tenant", "id"] };
    const FOLDS: &'static [&'static str] = &[Integration::NAME];
    type Key = (Uuid, Uuid);
    type Row = Row;

    fn keys(seen: &Seen) -> Vec<Self::Key> {
        seen.key_if(matches!(*seen.fact, Fact::Integration(_)))
    }

    fn evolve(_: &Self::Key, row: &mut Option<Row>, seen: &Seen) {
        let Fact::Integration(event) = &*seen.fact else { return };
        let at = micros(seen.meta.at);
        if let Event::Revised { name, revision, spec } = event {
            *row = Some(Row {
                name: name.clone(),
                revision: *revision,
                spec: definition(spec),
                tested: row.as_mut().and_then(|row| row.tested.take()),
                created_at: row.as_ref().map_or(at, |row| row.created_at),
                updated_at: at,
                deleted_at: None,
                version: seen.version,
            });
        }
        let Some(row) = row else { return };
        row.version = seen.version;
        match event {
            Event::Revised { .. } => {}
            Event::Tested { ok, status, detail, duration_ms } => {
                row.tested = Some(Tested {
                    at,
                    ok: *ok,
                    status: *status,
                    detail: detail.clone(),
                    duration_ms: *duration_ms,
                });
            }
            Event::Deleted {} => row.deleted_at = Some(at),
        }
    }
}
