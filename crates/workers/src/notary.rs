//! Has the log sealed: at once when much happened, a second later when little did.

use std::sync::Arc;
use std::time::Duration;

use eventstore::PgEventStore;
use eventstore::audit::{Notary, SEALED_AT_ONCE, SealError};
use tokio_util::sync::CancellationToken;

use crate::Deps;
use crate::signing::Signing;

/// The longest that an event waits for a checkpoint while the notary runs.
const PACE: Duration = Duration::from_millis(900);

/// Seals until told to stop.
pub(crate) async fn run(deps: Arc<Deps>, stop: CancellationToken) {
    let sealing = async {
        loop {
            seal(&deps, &notary(&deps).await).await;
            tracing::info!("the signing key was replaced");
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = sealing => {}
    }
}

/// A notary that has the newest key.
async fn notary(deps: &Deps) -> Notary {
    let signing = Signing { pool: &deps.pool, vault: &deps.vault, clock: &deps.clock };
    loop {
        match signing.log_keys().await {
            Ok(keys) => {
                // What is sealed are the bytes as they are stored: nobody's data need be opened.
                let stored = Arc::new(PgEventStore::new(deps.pool.clone()));
                let notary = Notary::new(deps.pool.clone(), stored, keys.newest);
                return notary.after(keys.former);
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the log is not sealed");
            }
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Seals until the notary's key is replaced.
async fn seal(deps: &Deps, notary: &Notary) {
    loop {
        match notary.seal(deps.clock.now()).await {
            Ok(SEALED_AT_ONCE) => {}
            Ok(_) => enough(deps).await,
            Err(SealError::Replaced) => return,
            Err(SealError::Log(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the log is not sealed");
                enough(deps).await;
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
