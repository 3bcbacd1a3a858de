//! Workflows, and their published versions with the author's text.

use chrono::{DateTime, Utc};
use domain::workflow::{Event, Workflow};
use domain::{Aggregate, Fact, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::values::micros;
use crate::{Cursor, Page, Paging, Reader, Seen, Table, View};

/// A workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema, FromRow)]
#[schema(as = WorkflowSummary)]
pub struct Summary {
    /// Its id.
    pub id: Uuid,
    /// `document.namespace`.
    pub namespace: String,
    /// `document.name`.
    pub name: String,
    /// `document.title` of the newest version.
    pub title: Option<String>,
    /// The newest version, as the document calls it.
    pub version: String,
    /// Its number, from 1.
    pub revision: i64,
    /// When the first version was published.
    pub created_at: DateTime<Utc>,
    /// When the newest version was published.
    pub updated_at: DateTime<Utc>,
    /// Version of its stream.
    #[serde(skip)]
    pub etag: i64,
}

/// A workflow with one version's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Workflow)]
pub struct Detail {
    /// The workflow; version and revision are those of the document.
    #[serde(flatten)]
    pub summary: Summary,
    /// The author's text, byte for byte.
    pub document: String,
    /// All versions, the newest first.
    pub versions: Vec<Published>,
}

/// A published version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema, FromRow)]
#[schema(as = WorkflowVersion)]
pub struct Published {
    /// Its number, from 1.
    pub revision: i64,
    /// What the document calls it.
    pub version: String,
    /// SHA-256 of the text, in hex.
    pub digest: String,
    /// When it was published.
    pub published_at: DateTime<Utc>,
}

/// Which workflows a list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those of this namespace.
    pub namespace: Option<String>,
    /// Those of this name.
    pub name: Option<String>,
}

/// A workflow with the text of one version, the newest if none is asked for; nothing if there is
/// no such workflow or version.
pub async fn get(
    reader: &mut Reader,
    id: Uuid,
    version: Option<&str>,
) -> sqlx::Result<Option<Detail>> {
    let (db, tenant) = reader.parts();
    let summary = sqlx::query_as::<_, Summary>(
        "SELECT id, namespace, name, title, workflow_version AS version, revision, created_at,
             updated_at, version AS etag
         FROM rm.workflows
         WHERE tenant = $1 AND id = $2 AND deleted_at IS NULL",
    );
    let found = summary.bind(tenant).bind(id).fetch_optional(&mut *db).await?;
    let Some(mut summary) = found else { return Ok(None) };
    let document = sqlx::query_as(
        "SELECT document, revision, workflow_version
         FROM rm.workflow_versions
         WHERE tenant = $1 AND workflow = $2 AND ($3::text IS NULL OR workflow_version = $3)
         ORDER BY revision DESC LIMIT 1",
    );
    let found = document.bind(tenant).bind(id).bind(version).fetch_optional(&mut *db).await?;
    let Some((document, revision, version)) = found else { return Ok(None) };
    (summary.revision, summary.version) = (revision, version);
    let versions = sqlx::query_as(
        "SELECT revision, workflow_version AS version, digest, published_at
         FROM rm.workflow_versions
         WHERE tenant = $1 AND workflow = $2
         ORDER BY revision DESC",
    );
    let versions = versions.bind(tenant).bind(id).fetch_all(db).await?;
    Ok(Some(Detail { summary, document, versions }))
}

/// Workflows, the newest first.
pub async fn list(
    reader: &mut Reader,
    filter: &Filter,
    paging: Paging,
) -> sqlx::Result<Page<Summary>> {
    let (db, tenant) = reader.parts();
    let found = sqlx::query_as(
        "SELECT id, namespace, name, title, workflow_version AS version, revision, created_at,
             updated_at, version AS etag
         FROM rm.workflows
         WHERE tenant = $1 AND deleted_at IS NULL
             AND ($2::text IS NULL OR namespace = $2) AND ($3::text IS NULL OR name = $3)
             AND (created_at, id) < ($4, $5)
         ORDER BY created_at DESC, id DESC LIMIT $6",
    )
    .bind(tenant)
    .bind(&filter.namespace)
    .bind(&filter.name);
    paging.fetch(db, found, |row: &Summary| Cursor { at: row.created_at, id: row.id }).await
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    namespace: String,
    name: String,
    title: Option<String>,
    workflow_version: String,
    revision: u32,
    created_at: Timestamp,
    updated_at: Timestamp,
    deleted_at: Option<Timestamp>,
    version: i64,
}

/// The view of workflows.
#[derive(Debug)]
pub(crate) struct Workflows;

impl View for Workflows {
    const TABLE: Table = Table { name: "workflows", key: &["tenant", "id"] };
    const FOLDS: &'static [&'static str] = &[Workflow::NAME];
    type Key = (Uuid, Uuid);
    type Row = Row;

    fn keys(seen: &Seen) -> Vec<Self::Key> {
        seen.key_if(matches!(*seen.fact, Fact::Workflow(_)))
    }

    fn evolve(_: &Self::Key, row: &mut Option<Row>, seen: &Seen) {
        let Fact::Workflow(event) = &*seen.fact else { return };
        let at = micros(seen.meta.at);
        match event {
            Event::VersionPublished { namespace, name, version, title, revision, .. } => {
                let created_at = row.as_ref().map_or(at, |row| row.created_at);
                *row = Some(Row {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    title: title.clone(),
                    workflow_version: version.clone(),
                    revision: *revision,
                    created_at,
                    updated_at: at,
                    deleted_at: None,
                    version: seen.version,
                });
            }
            // Its past executions still need its name.
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
    workflow_version: String,
    digest: String,
    document: String,
    published_at: Timestamp,
}

/// The view of published versions; they outlive the workflow, because executions are pinned to
/// them.
#[derive(Debug)]
pub(crate) struct Versions;

impl View for Versions {
    const TABLE: Table =
        Table { name: "workflow_versions", key: &["tenant", "workflow", "revision"] };
    const FOLDS: &'static [&'static str] = &[Workflow::NAME];
    type Key = (Uuid, Uuid, u32);
    type Row = VersionRow;

    fn keys(seen: &Seen) -> Vec<Self::Key> {
        match &*seen.fact {
            Fact::Workflow(Event::VersionPublished { revision, .. }) => {
                vec![(seen.meta.tenant.as_uuid(), seen.stream, *revision)]
            }
            Fact::Workflow(Event::Deleted {})
            | Fact::Agent(_)
            | Fact::ApiKey(_)
            | Fact::Execution(_)
            | Fact::Integration(_)
            | Fact::Invocation(_)
            | Fact::Notification(_)
            | Fact::Payload(_)
            | Fact::Prompt(_)
            | Fact::Subject(_)
            | Fact::Template(_)
            | Fact::Webhook(_) => vec![],
        }
    }

    fn evolve(_: &Self::Key, row: &mut Option<VersionRow>, seen: &Seen) {
        let Fact::Workflow(Event::VersionPublished { version, document, digest, .. }) = &*seen.fact
        else {
            return;
        };
        *row = Some(VersionRow {
            workflow_version: version.clone(),
            digest: digest.clone(),
            document: document.clone(),
            published_at: micros(seen.meta.at),
        });
    }
}
