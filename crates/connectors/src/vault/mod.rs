//! The vault: where secrets are, so that the log holds only references to them.
//!
//! Envelope encryption: the operator's master key seals a key per tenant, which seals the tenant's
//! secrets. Each sealed thing is bound to its tenant and id, so that rows cannot change places.

mod seal;
#[cfg(test)]
mod tests;

use std::fmt;

use domain::integration::SecretRef;
use domain::{Id, Tenant};
use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;
use uuid::Uuid;
use zeroize::Zeroizing;

use seal::{Key, Place};

/// All secrets of all tenants.
#[derive(Clone)]
pub struct Vault {
    pool: PgPool,
    master: Key,
}

/// Why the vault does not give or take a secret.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Everything in the vault was sealed with another master key.
    #[error(
        "the master key is not the one that this database's vault was made with; start with the \
         former key, or the stored secrets stay unreadable"
    )]
    WrongMasterKey,
    /// The tenant has no such secret.
    #[error("there is no such secret")]
    Missing,
    /// The id already stands for another secret.
    #[error("the id already stands for another secret")]
    Taken,
    /// A row was changed by something else, or not written under this master key.
    #[error("a sealed value in the vault cannot be opened")]
    Corrupt,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl Vault {
    /// The vault in a migrated database. Call [`verify`](Self::verify) before the first use.
    #[must_use]
    pub fn new(pool: PgPool, master_key: [u8; 32]) -> Self {
        Self { pool, master: Key::new(Zeroizing::new(master_key)) }
    }

    /// Checks that the master key is the one the vault was made with; the first one ever is.
    pub async fn verify(&self) -> Result<(), VaultError> {
        sqlx::query("INSERT INTO ops.vault_canary (sealed) VALUES ($1) ON CONFLICT DO NOTHING")
            .bind(self.master.seal(&Place::Canary, b"the right master key opens this"))
            .execute(&self.pool)
            .await?;
        let sealed: Vec<u8> =
            sqlx::query_scalar("SELECT sealed FROM ops.vault_canary").fetch_one(&self.pool).await?;
        self.master.open(&Place::Canary, &sealed).map(|_| ()).ok_or(VaultError::WrongMasterKey)
    }

    /// Keeps a secret under an id of the caller's choice. Doing the same twice is doing it once.
    pub async fn put(
        &self,
        tenant: Id<Tenant>,
        id: Uuid,
        secret: &SecretString,
    ) -> Result<SecretRef, VaultError> {
        let key = self.key(tenant).await?;
        let secret = secret.expose_secret().as_bytes();
        let fingerprint = key.fingerprint(secret);
        sqlx::query(
            "INSERT INTO ops.vault_secret (tenant, id, sealed, fingerprint)
             VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        )
        .bind(tenant.as_uuid())
        .bind(id)
        .bind(key.seal(&Place::Secret(tenant, id), secret))
        .bind(&fingerprint)
        .execute(&self.pool)
        .await?;
        let kept: String = sqlx::query_scalar(
            "SELECT fingerprint FROM ops.vault_secret WHERE tenant = $1 AND id = $2",
        )
        .bind(tenant.as_uuid())
        .bind(id)
        .fetch_one(&self.pool)
        .await?;
        if kept == fingerprint { Ok(SecretRef { id, fingerprint }) } else { Err(VaultError::Taken) }
    }

    /// The secret that a reference stands for.
    pub async fn get(
        &self,
        tenant: Id<Tenant>,
        secret: &SecretRef,
    ) -> Result<SecretString, VaultError> {
        let row: Option<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
            "SELECT k.sealed, s.sealed
             FROM ops.vault_secret s JOIN ops.vault_key k USING (tenant)
             WHERE tenant = $1 AND s.id = $2 AND s.fingerprint = $3",
        )
        .bind(tenant.as_uuid())
        .bind(secret.id)
        .bind(&secret.fingerprint)
        .fetch_optional(&self.pool)
        .await?;
        let (key, sealed) = row.ok_or(VaultError::Missing)?;
        let place = Place::Secret(tenant, secret.id);
        let bytes = self.unwrap(tenant, &key)?.open(&place, &sealed).ok_or(VaultError::Corrupt)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| VaultError::Corrupt)?;
        Ok(SecretString::from(text))
    }

    /// The tenant's key, made when first needed. Of two made at once the first one stays.
    async fn key(&self, tenant: Id<Tenant>) -> Result<Key, VaultError> {
        let find = "SELECT sealed FROM ops.vault_key WHERE tenant = $1";
        let find = || sqlx::query_scalar::<_, Vec<u8>>(find).bind(tenant.as_uuid());
        if let Some(sealed) = find().fetch_optional(&self.pool).await? {
            return self.unwrap(tenant, &sealed);
        }
        let fresh = self.master.seal(&Place::Key(tenant), seal::fresh().as_slice());
        sqlx::query(
            "INSERT INTO ops.vault_key (tenant, sealed) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        )
        .bind(tenant.as_uuid())
        .bind(fresh)
        .execute(&self.pool)
        .await?;
        self.unwrap(tenant, &find().fetch_one(&self.pool).await?)
    }

    fn unwrap(&self, tenant: Id<Tenant>, sealed: &[u8]) -> Result<Key, VaultError> {
        let opened = self.master.open(&Place::Key(tenant), sealed);
        let bytes = opened.and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
        bytes.map(|bytes| Key::new(Zeroizing::new(bytes))).ok_or(VaultError::Corrupt)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").finish_non_exhaustive()
    }
}
