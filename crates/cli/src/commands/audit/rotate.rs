//! `audit rotate-key`.

use anyhow::Context as _;
use connectors::vault::Vault;
use eventstore::{Clock, Role};
use serde_json::json;
use workers::signing::{KeyError, Signing};

use super::super::Context;
use crate::failure::Failure;
use crate::platform::master_key;

/// Replaces the key that signs checkpoints. Whoever is sealing goes on with the new one.
pub(crate) async fn rotate_key(context: &Context) -> Result<(), Failure> {
    let pool = eventstore::connect(&context.database_url()?, Role::Worker, 4).await;
    let pool = pool.context("connecting to the database")?;
    let vault = Vault::new(pool.clone(), master_key(context)?);
    vault.verify().await.context("opening the vault")?;
    let clock = Clock::of(&pool).await.context("asking the database for the time")?;
    let rotated = Signing { pool: &pool, vault: &vault, clock: &clock }.rotate().await;
    let [old, new] = match rotated {
        Err(KeyError::Beaten) => return Err(Failure::Conflict(KeyError::Beaten.to_string())),
        rotated => rotated.context("replacing the key")?,
    };
    let (old, new) = (hex::encode(old), hex::encode(new));
    context.output.show(&json!({"old": old, "new": new}), || {
        format!(
            "The key {old}\nis followed by {new}.\nWho knows the old one need not be told: the \
             new one is believed by its word."
        )
    })
}
