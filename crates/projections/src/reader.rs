//! Reading on behalf of one tenant.

use domain::{Id, Tenant};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

use crate::checkpoint::{self, Lag};

/// The lock comes before the snapshot: a rebuild that exchanges the tables waits for the look to
/// end, or the look for it. A look from before the exchange would find the new tables as they were
/// then: half full.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
    LOCK TABLE rm.projection IN ACCESS SHARE MODE";

/// A look at the read models as they were at one moment, at one tenant's rows only.
///
/// Row-level security keeps all other rows away, whatever a query says. Dropping it ends the look.
#[derive(Debug)]
pub struct Reader {
    tx: Transaction<'static, Postgres>,
    tenant: Id<Tenant>,
}

impl Reader {
    /// Begins a look for `tenant`, through a pool of [`eventstore::Role::Query`].
    pub async fn begin(pool: &PgPool, tenant: Id<Tenant>) -> sqlx::Result<Self> {
        let mut tx = pool.begin_with(BEGIN).await?;
        sqlx::query("SELECT set_config('everstep.tenant', $1, true)")
            .bind(tenant.as_uuid().to_string())
            .execute(&mut *tx)
            .await?;
        Ok(Self { tx, tenant })
    }

    /// Whose rows it sees.
    #[must_use]
    pub fn tenant(&self) -> Id<Tenant> {
        self.tenant
    }

    /// How far the views have come that it sees.
    pub async fn lag(&mut self) -> sqlx::Result<Vec<Lag>> {
        checkpoint::lag(&mut *self.tx).await
    }

    /// The connection, and the tenant to ask for.
    pub(crate) fn parts(&mut self) -> (&mut PgConnection, Uuid) {
        (&mut self.tx, self.tenant.as_uuid())
    }
}
