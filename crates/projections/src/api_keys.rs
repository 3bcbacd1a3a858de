//! API keys, without what opens anything.

use chrono::{DateTime, Utc};
use domain::api_key::{Access, ApiKey, Event};
use domain::{Aggregate, Fact, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::values::micros;
use crate::{Cursor, Page, Paging, Reader, Seen, Table, View};

/// An API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema, FromRow)]
#[schema(as = ApiKey)]
pub struct Detail {
    /// Its id.
    pub id: Uuid,
    /// What it is for.
    pub name: String,
    /// What its holder may do: `read`, `write` or `admin`.
    pub access: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// API keys, the newest first; also the revoked ones.
pub async fn list(reader: &mut Reader, paging: Paging) -> sqlx::Result<Page<Detail>> {
    let (db, tenant) = reader.parts();
    let found = sqlx::query_as(
        "SELECT id, name, access, created_at, revoked_at
         FROM rm.api_keys
         WHERE tenant = $1 AND (created_at, id) < ($2, $3)
         ORDER BY created_at DESC, id DESC LIMIT $4",
    )
    .bind(tenant);
    paging.fetch(db, found, |row: &Detail| Cursor { at: row.created_at, id: row.id }).await
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    name: String,
    access: Access,
    created_at: Timestamp,
    revoked_at: Option<Timestamp>,
    version: i64,
}

/// The view itself.
#[derive(Debug)]
pub(crate) struct ApiKeys;

impl View for ApiKeys {
    const TABLE: Table = Table { name: "api_keys", key: &["tenant", "id"] };
    const FOLDS: &'static [&'static str] = &[ApiKey::NAME];
    type Key = (Uuid, Uuid);
    type Row = Row;

    fn keys(seen: &Seen) -> Vec<Self::Key> {
        seen.key_if(matches!(*seen.fact, Fact::ApiKey(_)))
    }

    fn evolve(_: &Self::Key, row: &mut Option<Row>, seen: &Seen) {
        let Fact::ApiKey(event) = &*seen.fact else { return };
        let at = micros(seen.meta.at);
        match event {
            Event::Created { name, access, digest: _ } => {
                *row = Some(Row {
                    name: name.clone(),
                    access: *access,
                    created_at: at,
                    revoked_at: None,
                    version: seen.version,
                });
            }
            Event::Revoked {} => {
                if let Some(row) = row {
                    (row.revoked_at, row.version) = (Some(at), seen.version);
                }
            }
        }
    }
}
