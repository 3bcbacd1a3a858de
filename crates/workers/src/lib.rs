//! Loops that never stop: the engine, the projector, the policies, the notifier.
//!
//! Each of them may run in any number of processes. What is to be done is read from the log and
//! from the `work` read model; what was done is written to the log. A loop that fails says so and
//! goes on; a process that dies is replaced by any other.

mod agenda;
mod agents;
mod at_hand;
mod calls;
mod carry;
mod consumer;
mod desk;
#[cfg(test)]
mod far;
mod gates;
mod http;
mod leases;
mod notary;
mod notifier;
#[cfg(test)]
mod poison;
mod presence;
pub mod quarantine;
mod react;
pub mod signing;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod stage;
pub mod subscriptions;
mod supervise;
mod turns;
#[cfg(test)]
mod unused;

use std::sync::Arc;

use connectors::channels::email::Email;
use connectors::egress::WayOut;
use connectors::models::Models;
use connectors::vault::Vault;
use eventstore::personal::Keyring;
use eventstore::{Clock, EventStore, PlanError, Plans, Weights};
use sqlx::PgPool;

use gates::Gate;

pub use at_hand::AtHand;
pub use gates::{Gates, Limits};
pub use supervise::{Options, run};

/// What the loops share.
pub struct Deps {
    /// The log.
    pub log: Arc<dyn EventStore>,
    /// Published workflows, compiled.
    pub plans: Arc<Plans>,
    /// Executions that are being worked on.
    pub at_hand: AtHand,
    /// The database, through the worker role.
    pub pool: PgPool,
    /// What time it is, and new ids.
    pub clock: Clock,
    /// How much of what is done is each tenant's.
    pub weights: Weights,
    /// How much is asked of each other side at once.
    pub gates: Arc<Gates>,
    /// The one way out.
    pub egress: Arc<dyn WayOut>,
    /// The configured providers.
    pub models: Arc<Models>,
    /// Keys of personal data.
    pub keys: Arc<Keyring>,
    /// Secrets of integrations.
    pub vault: Arc<Vault>,
    /// How e-mail goes out.
    pub email: Arc<dyn Email>,
    /// The sender of e-mail.
    pub mail_from: String,
}

/// Why a piece of work was not done; it is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Log(#[from] eventstore::Error),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Projection(#[from] projections::Error),
    #[error("the command was not taken: {0}")]
    Command(String),
    #[error("the read models are behind")]
    Behind,
    #[error("it panicked: {0}")]
    Panicked(String),
    #[error("it is of an unknown category: {0}")]
    Category(String),
    #[error("as many calls are under way at {0:?} as may be")]
    Full(Gate),
}

impl Error {
    /// Whether the slice that it was done for is somebody else's by now.
    fn is_fenced(&self) -> bool {
        matches!(self, Self::Log(eventstore::Error::Fenced(_)))
    }

    /// Whether a newer release knows what to do.
    fn is_newer(&self) -> bool {
        matches!(
            self,
            Self::Log(eventstore::Error::Newer { .. })
                | Self::Plan(PlanError::Store(eventstore::Error::Newer { .. }))
        )
    }

    /// What a panic said.
    fn of_panic(panic: &(dyn std::any::Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self::Panicked(text.unwrap_or("without a message").to_owned())
    }
}
