//! Has the log sealed: at once when much happened, a second later when little did.

use std::sync::Arc;
use std::time::Duration;

use connectors::vault::VaultError;
use domain::integration::SecretRef;
use domain::{Id, Tenant};
use eventstore::audit::{Notary, SEALED_AT_ONCE};
use eventstore::tlog::Signer;
use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::Deps;

/// The longest that an event waits for a checkpoint while the notary runs.
const PACE: Duration = Duration::from_millis(900);

/// Why the notary cannot begin.
#[derive(Debug, thiserror::Error)]
enum KeyError {
    #[error("the vault does not give the signing key")]
    Vault(#[from] VaultError),
    #[error("the signing key cannot be read or written")]
    Database(#[from] sqlx::Error),
    #[error("the signing key in the vault is not the one whose public key is known")]
    Other,
}

/// Seals until told to stop.
pub(crate) async fn run(deps: Arc<Deps>, stop: CancellationToken) {
    let notary = loop {
        match signing_key(&deps).await {
            Ok(seed) => break Notary::new(deps.pool.clone(), deps.log.clone(), seed),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the log is not sealed");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PACE) => {}
        }
    };
    loop {
        let sealed = tokio::select! {
            () = stop.cancelled() => return,
            sealed = notary.seal(deps.clock.now()) => sealed,
        };
        let behind = sealed.as_ref().is_ok_and(|sealed| *sealed == SEALED_AT_ONCE);
        if let Err(error) = sealed {
            tracing::error!(error = &error as &dyn std::error::Error, "the log is not sealed");
        }
        if !behind {
            tokio::select! {
                () = stop.cancelled() => return,
                () = enough(&deps) => {}
            }
        }
    }
}

/// Until there is as much to seal as is sealed at once, or a while has passed.
async fn enough(deps: &Deps) {
    let mut head = deps.log.watch();
    let from = *head.borrow();
    let much = i64::try_from(SEALED_AT_ONCE).unwrap_or(i64::MAX);
    let grown = async {
        if head.wait_for(|head| head - from >= much).await.is_err() {
            // A log that is gone tells no news.
            std::future::pending::<()>().await;
        }
    };
    let _ = tokio::time::timeout(PACE, grown).await;
}

/// The seed of the newest key, made when there is none.
async fn signing_key(deps: &Deps) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let newest: Option<(Uuid, String, Vec<u8>)> = sqlx::query_as(
        "SELECT secret, fingerprint, public FROM es.signing_key
         WHERE retired_at IS NULL ORDER BY created_at DESC, secret LIMIT 1",
    )
    .fetch_optional(&deps.pool)
    .await?;
    let Some((id, fingerprint, public)) = newest else { return make(deps).await };
    let kept = deps.vault.get(owner(), &SecretRef { id, fingerprint }).await?;
    let mut seed = Zeroizing::new([0; 32]);
    hex::decode_to_slice(kept.expose_secret(), seed.as_mut_slice()).map_err(|_| KeyError::Other)?;
    if public_half(&seed)? == public { Ok(seed) } else { Err(KeyError::Other) }
}

async fn make(deps: &Deps) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let seed = Zeroizing::new(rand::random::<[u8; 32]>());
    let text = SecretString::from(hex::encode(*seed));
    let secret = deps.vault.put(owner(), deps.clock.id(), &text).await?;
    sqlx::query("INSERT INTO es.signing_key (secret, fingerprint, public) VALUES ($1, $2, $3)")
        .bind(secret.id)
        .bind(&secret.fingerprint)
        .bind(public_half(&seed)?)
        .execute(&deps.pool)
        .await?;
    Ok(seed)
}

fn public_half(seed: &[u8; 32]) -> Result<Vec<u8>, KeyError> {
    let signer = Signer::new("everstep", seed).map_err(|_| KeyError::Other)?;
    Ok(signer.verifier().public().to_vec())
}

/// Whose the signing key is: the installation's, and so no tenant's.
fn owner() -> Id<Tenant> {
    Id::from_uuid(Uuid::nil())
}
