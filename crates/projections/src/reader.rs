//! Reading on behalf of one tenant.

use domain::{Id, Tenant};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

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
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let mut tx = pool.begin_with(begin).await?;
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

    /// The connection, and the tenant to ask for.
    pub(crate) fn parts(&mut self) -> (&mut PgConnection, Uuid) {
        (&mut self.tx, self.tenant.as_uuid())
    }
}
