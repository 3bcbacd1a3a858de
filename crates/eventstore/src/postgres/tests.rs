//! The log on a real Postgres.
use sqlx::PgPool;

use super::PgEventStore;
use crate::conformance;

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn conforms(pool: PgPool) {
    conformance::check(&PgEventStore::new(pool)).await;
}
