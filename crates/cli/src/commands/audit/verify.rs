//! `audit verify` and `audit proof`.

use anyhow::Context as _;
use eventstore::audit::Trees;
use eventstore::tlog::Verifier;
use eventstore::{EventStore, PgEventStore};
use serde_json::json;
use uuid::Uuid;

use super::super::Context;
use super::{offline, open};
use crate::args::{Event, Proof, Verify};
use crate::failure::{Failure, count};

/// Checks the installation's own log, or a bundle without it.
pub(crate) async fn verify(context: &Context, what: &Verify) -> Result<(), Failure> {
    let pinned = what.key.iter().map(|key| {
        let key: Result<Verifier, _> = key.parse();
        key.map(|key| *key.public()).map_err(|error| Failure::Usage(format!("--key: {error}")))
    });
    let pinned = pinned.collect::<Result<Vec<_>, _>>()?;
    if let Some(directory) = &what.bundle {
        let found = offline::verify(directory, &pinned)?;
        let shown = json!({"tenant": found.tenant, "events": found.events, "result": "verified"});
        return context.output.show(&shown, || {
            format!(
                "{} of tenant {}, complete up to position {}, are what was sealed",
                count(usize::try_from(found.events).unwrap_or_default(), "event"),
                found.tenant,
                found.position
            )
        });
    }
    let (store, trees) = open(context).await?;
    let checked = eventstore::audit::verify(&store, &trees, &pinned).await;
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
