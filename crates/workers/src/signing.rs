//! The installation's own keys: their secret halves are in the vault, their order is in the database.

use connectors::vault::{Vault, VaultError};
use domain::integration::SecretRef;
use domain::{Id, Tenant};
use eventstore::audit::{Seed, hand_over};
use eventstore::tlog::Signer;
use eventstore::{Clock, DEPLOYMENT};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{PgPool, Postgres, Transaction};
use uuid::Uuid;
use zeroize::Zeroizing;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The vault failed.
    #[error("the vault does not give the signing key")]
    Vault(#[from] VaultError),
    /// The database failed.
    #[error("the signing key cannot be read or written")]
    Database(#[from] sqlx::Error),
    /// Somebody has put another secret into the vault.
    #[error("the signing key in the vault is not the one whose public key is known")]
    Other,
    /// The new key cannot be named in a note of the old one.
    #[error("the key cannot hand over")]
    Word(#[source] eventstore::Error),
    /// Somebody else has replaced the key at the same time.
    #[error("the key was replaced by somebody else just now")]
    Beaten,
}

/// Where keys are.
#[derive(Debug, Clone, Copy)]
pub struct Signing<'a> {
    /// The database, on a pool of [`eventstore::Role::Worker`].
    pub pool: &'a PgPool,
    /// What keeps the secret halves.
    pub vault: &'a Vault,
    /// Makes ids.
    pub clock: &'a Clock,
}

/// The keys that sign the log's checkpoints.
pub(crate) struct LogKeys {
    /// The one that signs.
    pub(crate) newest: Seed,
    /// Those that were replaced.
    pub(crate) former: Vec<Seed>,
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Log,
    Witness,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Witness => "witness",
        }
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    secret: Uuid,
    fingerprint: String,
    public: Vec<u8>,
    is_former: bool,
}

/// A key that was just put into the vault.
struct New {
    secret: SecretRef,
    seed: Seed,
}

impl Signing<'_> {
    /// The keys that sign the log; the first is made when there is none.
    pub(crate) async fn log_keys(&self) -> Result<LogKeys, KeyError> {
        let (newest, rows) = self.newest(Purpose::Log).await?;
        let mut former = vec![];
        for row in rows.iter().filter(|row| row.is_former) {
            former.push(self.seed(row).await?);
        }
        Ok(LogKeys { newest, former })
    }

    /// The key with which this installation cosigns checkpoints of others, made when first needed.
    pub async fn witness_key(&self) -> Result<Seed, KeyError> {
        Ok(self.newest(Purpose::Witness).await?.0)
    }

    /// Replaces the key that signs the log; the public halves of the old and of the new one.
    ///
    /// The old key names the new one, and stays in the vault: trees that it signed last get its
    /// signature once more, beside that of the new key.
    pub async fn rotate(&self) -> Result<[[u8; 32]; 2], KeyError> {
        let (old, rows) = self.newest(Purpose::Log).await?;
        let old_secret = rows.iter().rfind(|row| !row.is_former).map(|row| row.secret);
        let new = self.make().await?;
        let mut tx = self.lock().await?;
        let deployment: Option<String> =
            sqlx::query_scalar("SELECT deployment FROM es.notary WHERE log_id = 1")
                .fetch_optional(&mut *tx)
                .await?;
        let deployment = deployment.as_deref().unwrap_or(DEPLOYMENT);
        let word = hand_over(deployment, &old, &new.seed).map_err(KeyError::Word)?;
        let retired = sqlx::query(
            "UPDATE es.signing_key SET retired_at = clock_timestamp()
             WHERE secret = $1 AND retired_at IS NULL",
        )
        .bind(old_secret)
        .execute(&mut *tx)
        .await?;
        if retired.rows_affected() != 1 {
            return Err(KeyError::Beaten);
        }
        insert(&mut tx, Purpose::Log, &new, Some(&word)).await?;
        tx.commit().await?;
        Ok([public_half(&old)?, public_half(&new.seed)?])
    }

    /// The newest key, made when there is none, and all there are.
    async fn newest(&self, purpose: Purpose) -> Result<(Seed, Vec<Row>), KeyError> {
        let mut rows = self.rows(purpose).await?;
        if rows.is_empty() {
            let new = self.make().await?;
            let mut tx = self.lock().await?;
            rows = self.rows(purpose).await?;
            if rows.is_empty() {
                insert(&mut tx, purpose, &new, None).await?;
            }
            tx.commit().await?;
            rows = self.rows(purpose).await?;
        }
        let newest = rows.iter().rfind(|row| !row.is_former).ok_or(KeyError::Other)?;
        let seed = self.seed(newest).await?;
        Ok((seed, rows))
    }

    async fn rows(&self, purpose: Purpose) -> Result<Vec<Row>, sqlx::Error> {
        sqlx::query_as(
            "SELECT secret, fingerprint, public, retired_at IS NOT NULL AS is_former
             FROM es.signing_key WHERE purpose = $1 ORDER BY created_at, secret",
        )
        .bind(purpose.name())
        .fetch_all(self.pool)
        .await
    }

    async fn seed(&self, row: &Row) -> Result<Seed, KeyError> {
        let secret = SecretRef { id: row.secret, fingerprint: row.fingerprint.clone() };
        let kept = self.vault.get(owner(), &secret).await?;
        let mut seed = Zeroizing::new([0; 32]);
        let decoded = hex::decode_to_slice(kept.expose_secret(), seed.as_mut_slice());
        decoded.map_err(|_| KeyError::Other)?;
        if public_half(&seed)?.as_slice() == row.public { Ok(seed) } else { Err(KeyError::Other) }
    }

    /// A transaction in which nobody else seals, or makes or replaces a key.
    async fn lock(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("SELECT FROM es.notary WHERE log_id = 1 FOR UPDATE").execute(&mut *tx).await?;
        Ok(tx)
    }

    async fn make(&self) -> Result<New, KeyError> {
        let seed = Zeroizing::new(rand::random::<[u8; 32]>());
        let text = SecretString::from(hex::encode(*seed));
        let secret = self.vault.put(owner(), self.clock.id(), &text).await?;
        Ok(New { secret, seed })
    }
}

async fn insert(
    tx: &mut Transaction<'static, Postgres>,
    purpose: Purpose,
    New { secret, seed }: &New,
    word: Option<&str>,
) -> Result<(), KeyError> {
    sqlx::query(
        "INSERT INTO es.signing_key (secret, fingerprint, public, purpose, word, created_at)
         VALUES ($1, $2, $3, $4, $5, clock_timestamp())",
    )
    .bind(secret.id)
    .bind(&secret.fingerprint)
    .bind(public_half(seed)?)
    .bind(purpose.name())
    .bind(word)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn public_half(seed: &[u8; 32]) -> Result<[u8; 32], KeyError> {
    let signer = Signer::new(DEPLOYMENT, seed).map_err(|_| KeyError::Other)?;
    Ok(*signer.verifier().public())
}

/// Whose the keys are: the installation's, and so no tenant's.
fn owner() -> Id<Tenant> {
    Id::from_uuid(Uuid::nil())
}
