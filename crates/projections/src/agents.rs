//! Agents, each with its newest settings.

use chrono::{DateTime, Utc};
use domain::agent::{Agent, Event};
use domain::{Aggregate, Fact, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::FromRow;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::values::{definition, micros};
use crate::{Cursor, Page, Paging, Reader, Seen, Table, View};

/// An agent.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema, FromRow)]
#[schema(as = Agent)]
pub struct Detail {
    /// Its id.
    pub id: Uuid,
    /// Its name, unique in the tenant.
    pub name: String,
    /// Which revision this is, from 1.
    pub revision: i64,
    /// Its settings (`domain::agent::Spec`).
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub spec: Value,
    /// When it was set up.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Version of its stream.
    #[serde(skip)]
    pub etag: i64,
}

/// One agent.
pub async fn get(reader: &mut Reader, id: Uuid) -> sqlx::Result<Option<Detail>> {
    let (db, tenant) = reader.parts();
    let found = sqlx::query_as(
        "SELECT id, name, revision, spec::json AS spec, created_at, updated_at, version AS etag
         FROM rm.agents
         WHERE tenant = $1 AND id = $2 AND deleted_at IS NULL",
    );
    found.bind(tenant).bind(id).fetch_optional(db).await
}

/// Agents, the newest first.
pub async fn list(reader: &mut Reader, paging: Paging) -> sqlx::Result<Page<Detail>> {
    let (db, tenant) = reader.parts();
    let found = sqlx::query_as(
        "SELECT id, name, revision, spec::json AS spec, created_at, updated_at, version AS etag
         FROM rm.agents
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
    created_at: Timestamp,
    updated_at: Timestamp,
    deleted_at: Option<Timestamp>,
    version: i64,
}

/// The view itself.
#[derive(Debug)]
pub(crate) struct Agents;

impl View for Agents {
    const TABLE: Table = Table { name: "agents", key: &["tenant", "id"] };
    const FOLDS: &'static [&'static str] = &[Agent::NAME];
    type Key = (Uuid, Uuid);
    type Row = Row;

    fn keys(seen: &Seen) -> Vec<Self::Key> {
        seen.key_if(matches!(*seen.fact, Fact::Agent(_)))
    }

    fn evolve(_: &Self::Key, row: &mut Option<Row>, seen: &Seen) {
        let Fact::Agent(event) = &*seen.fact else { return };
        let at = micros(seen.meta.at);
        match event {
            Event::Revised { name, revision, spec } => {
                *row = Some(Row {
                    name: name.clone(),
                    revision: *revision,
                    spec: definition(spec),
                    created_at: row.as_ref().map_or(at, |row| row.created_at),
                    updated_at: at,
                    deleted_at: None,
                    version: seen.version,
                });
            }
            // Its past invocations still need its name.
            Event::Deleted {} => {
                if let Some(row) = row {
                    (row.deleted_at, row.version) = (Some(at), seen.version);
                }
            }
        }
    }
}
