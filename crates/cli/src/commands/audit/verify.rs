//! `audit verify` and `audit proof`.

use std::sync::Arc;

use anyhow::Context as _;
use eventstore::audit::{Trees, Trust};
use eventstore::{EventStore, PgEventStore};
use serde_json::json;
use uuid::Uuid;

use super::super::Context;
use super::{offline, open};
use crate::args::{Event, Proof, Verify};
use crate::failure::{Failure, count};

/// Checks the installation's own log, or a bundle without it.
pub(crate) async fn verify(context: &Context, what: &Verify) -> Result<(), Failure> {
    if let Some(key) = what.key.iter().find(|key| key.is_cosigner()) {
        return Err(Failure::Usage(format!("--key: {key} is the key of a witness")));
    }
    if let Some(key) = what.witness.iter().find(|key| !key.is_cosigner()) {
        return Err(Failure::Usage(format!("--witness: {key} is the key of a log")));
    }
    let keys: Vec<_> = what.key.iter().map(|key| *key.public()).collect();
    let trust = Trust { keys: &keys, witnesses: &what.witness, since: &[] };
    if let Some(directory) = &what.bundle {
        let found = offline::verify(directory, trust)?;
        let shown = json!({
            "deployment": found.deployment,
            "tenant": found.tenant,
            "events": found.events,
            "result": "verified",
        });
        return context.output.show(&shown, || {
            format!(
                "{} of tenant {} of '{}', complete up to position {}, are what was sealed",
                count(usize::try_from(found.events).unwrap_or_default(), "event"),
                found.tenant,
                found.deployment,
                found.position
            )
        });
    }
    let (store, trees) = open(context).await?;
    let checked = eventstore::audit::verify(Arc::new(store), &trees, trust).await;
    let checked = checked.context("checking the log")?;
    if let Some(finding) = checked.finding {
        return Err(Failure::Verification(finding.to_string()));
    }
    let shown = json!({
        "events": checked.events,
        "checkpoints": checked.checkpoints,
        "tenants": checked.tenants,
        "unsealed": checked.unsealed,
        "result": "verified",
    });
    context.output.show(&shown, || {
        let events = usize::try_from(checked.events).unwrap_or_default();
        let checkpoints = usize::try_from(checked.checkpoints).unwrap_or_default();
        format!(
            "{} of {} are what was sealed, {} are right; {} not sealed yet",
            count(events, "event"),
            count(checked.tenants, "tenant"),
            count(checkpoints, "checkpoint"),
            checked.unsealed
        )
    })
}

/// Prints what proves that an event is in its tenant's log.
pub(crate) async fn proof(context: &Context, what: &Proof) -> Result<(), Failure> {
    let (store, trees) = open(context).await?;
    let (tenant, position) = match what.event {
        Event::At(position) => (tenant_at(&store, position).await?, position),
        Event::Id(id) => find(&trees, id).await?,
    };
    let proof = trees.prove(tenant, position).await.context("reading the tree")?;
    let proof = proof.ok_or_else(|| {
        Failure::NotFound(format!("the event at position {position} is not sealed yet"))
    })?;
    context
        .output
        .show(&json!({"proof": proof.to_string()}), || proof.to_string().trim_end().to_owned())
}

async fn tenant_at(store: &PgEventStore, position: i64) -> Result<Uuid, Failure> {
    let found = store.read(position - 1, 1).await.context("reading the log")?;
    let event = found
        .first()
        .ok_or_else(|| Failure::NotFound(format!("no event is at position {position}")))?;
    Ok(event.meta.tenant.as_uuid())
}

/// Whose event it is, and where.
async fn find(trees: &Trees, id: Uuid) -> Result<(Uuid, i64), Failure> {
    for tenant in trees.tenants().await.context("reading the trees")? {
        let found = trees.position_of(tenant, id).await.context("looking for the event")?;
        if let Some(position) = found {
            return Ok((tenant, position));
        }
    }
    Err(Failure::NotFound(format!("no event that is sealed has the id {id}")))
}
