//! Those parts of [`Deps`] that tests of timers, HTTP calls and children never use.

use std::sync::Arc;

use async_trait::async_trait;
use connectors::channels::email::{Email, Message, SendError, Sent};
use connectors::egress::{Policy, WayOut};
use connectors::models::{Models, ProviderConfig};
use connectors::vault::Vault;
use eventstore::personal::Keyring;
use eventstore::{Clock, EventStore, Plans, Weights};
use sqlx::PgPool;

use crate::{AtHand, Deps, Gates, Limits};

pub(crate) struct Unused {
    pool: PgPool,
    models: Arc<Models>,
    keys: Arc<Keyring>,
    vault: Arc<Vault>,
}

impl Unused {
    pub(crate) fn new(pool: PgPool) -> Self {
        let models = Models::new(vec![ProviderConfig::sandbox()], None, &Policy::default());
        let (keys, vault) =
            (Keyring::new(pool.clone(), &[0; 32]), Vault::new(pool.clone(), [0; 32]));
        Self {
            models: Arc::new(models.expect("the sandbox")),
            keys: Arc::new(keys),
            vault: Arc::new(vault),
            pool,
        }
    }

    pub(crate) fn deps(
        &self,
        log: Arc<dyn EventStore>,
        plans: Arc<Plans>,
        clock: Clock,
        egress: Arc<dyn WayOut>,
    ) -> Deps {
        Deps {
            log,
            plans,
            at_hand: AtHand::default(),
            pool: self.pool.clone(),
            clock,
            weights: Weights::default(),
            gates: Gates::new(Limits { integration: 1, provider: 1 }),
            egress,
            models: self.models.clone(),
            keys: self.keys.clone(),
            vault: self.vault.clone(),
            email: Arc::new(Nobody),
            mail_from: String::new(),
        }
    }
}

#[derive(Debug)]
struct Nobody;

#[async_trait]
impl Email for Nobody {
    async fn send(&self, _: &Message) -> Result<Sent, SendError> {
        Err(SendError { permanent: true, detail: "nobody sends e-mail here".to_owned() })
    }
}
