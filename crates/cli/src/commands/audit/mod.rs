//! The log as an audit trail: written out, proved, and checked.

mod archive;
mod bundle;
mod export;
mod format;
mod lines;
mod offline;
mod pack;
mod plain;
mod rotate;
mod verify;
mod witness;

use anyhow::Context as _;
use eventstore::audit::Trees;
use eventstore::{PgEventStore, Role};

pub(crate) use export::export;
pub(crate) use rotate::rotate_key;
pub(crate) use verify::{proof, verify};
pub(crate) use witness::{checkpoint, witness};

use super::Context;
use crate::failure::Failure;

/// The log and its trees.
async fn open(context: &Context) -> Result<(PgEventStore, Trees), Failure> {
    let pool = eventstore::connect(&context.database_url()?, Role::Command, 4).await;
    let pool = pool.context("connecting to the database")?;
    Ok((PgEventStore::new(pool.clone()), Trees::new(pool)))
}
