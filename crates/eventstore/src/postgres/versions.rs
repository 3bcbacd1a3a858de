//! Versions of streams, asked for by many at once.

use std::collections::HashMap;

use sqlx::PgPool;
use uuid::Uuid;

use super::together::Together;
use crate::{StreamId, Version};

/// How many streams are asked for at once.
const AT_ONCE: usize = 1_000;

/// Versions by the columns that name a stream: tenant, category and id.
type Found = HashMap<(Uuid, String, Uuid), Version>;

/// Answers what version a stream has.
pub(super) type Versions = Together<StreamId, Version>;

/// Of the streams of a log.
pub(super) fn versions(pool: PgPool, log: i16) -> Versions {
    Together::new(AT_ONCE, move |streams| {
        let pool = pool.clone();
        async move { find(&pool, log, &streams).await }
    })
}

async fn find(pool: &PgPool, log: i16, streams: &[StreamId]) -> sqlx::Result<Vec<Version>> {
    let mut ids: Vec<Uuid> = streams.iter().map(|stream| stream.id).collect();
    ids.sort_unstable();
    ids.dedup();
    let rows: Vec<(Uuid, String, Uuid, Version)> =
        sqlx::query_as("SELECT tenant, category, id, version FROM es.versions($1, $2)")
            .bind(log)
            .bind(ids)
            .fetch_all(pool)
            .await?;
    let named = |(tenant, category, id, version)| ((tenant, category, id), version);
    let found: Found = rows.into_iter().map(named).collect();
    let version = |stream: &StreamId| {
        let name = (stream.tenant.as_uuid(), stream.category.to_owned(), stream.id);
        found.get(&name).copied().unwrap_or(0)
    };
    Ok(streams.iter().map(version).collect())
}
