//! `audit verify` and `audit proof`.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use eventstore::audit::{Trees, Trust};
use eventstore::tlog::Note;
use eventstore::{EventStore, PgEventStore};
use serde_json::json;
use uuid::Uuid;

use super::super::Context;
use super::bundle::Manifest;
use super::lines::Met;
use super::offline::{self, Proved};
use super::pack::is_archive;
use super::{open, plain, witness};
use crate::args::{Event, Proof, Verify};
use crate::failure::{Failure, count};

/// Checks the installation's own log, or a bundle or an export without it.
pub(crate) async fn verify(context: &Context, what: &Verify) -> Result<(), Failure> {
    if let Some(key) = what.key.iter().find(|key| key.is_cosigner()) {
        return Err(Failure::Usage(format!("--key: {key} is the key of a witness")));
    }
    if let Some(key) = what.witness.iter().find(|key| !key.is_cosigner()) {
        return Err(Failure::Usage(format!("--witness: {key} is the key of a log")));
    }
    let keys: Vec<_> = what.key.iter().map(|key| *key.public()).collect();
    let since = what.since.iter().map(|file| kept(file)).collect::<Result<Vec<_>, _>>()?;
    let trust = Trust { keys: &keys, witnesses: &what.witness, since: &since };
    match (&what.file, &what.with) {
        (None, _) => live(context, trust).await,
        (Some(file), None) if !is_bundle(file) && file.exists() => alone(context, file, trust),
        (Some(file), None) => bundle(context, file, trust),
        (Some(file), Some(_)) if is_bundle(file) => {
            Err(Failure::Usage("--with: a bundle has its own tree".to_owned()))
        }
        (Some(file), Some(with)) => export(context, file, with, trust),
    }
}

fn is_bundle(path: &Path) -> bool {
    path.is_dir() || is_archive(path)
}

/// A checkpoint that was kept, alone or in a bundle.
fn kept(path: &Path) -> Result<Note, Failure> {
    let bytes = if is_bundle(path) { offline::checkpoint(path)? } else { witness::read(path)? };
    let wrong = |error| Failure::Verification(format!("{}: {error}", path.display()));
    Note::parse(&bytes).map_err(wrong)
}

async fn live(context: &Context, trust: Trust<'_>) -> Result<(), Failure> {
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
        "continues": trust.since.len(),
        "result": "verified",
    });
    context.output.show(&shown, || {
        let checkpoints = usize::try_from(checked.checkpoints).unwrap_or_default();
        let continues = match trust.since.len() {
            0 => String::new(),
            kept => format!("; it continues {}", count(kept, "kept checkpoint")),
        };
        format!(
            "{} of {} are what was sealed, {} are right; {} not sealed yet{continues}",
            events(checked.events),
            count(checked.tenants, "tenant"),
            count(checkpoints, "checkpoint"),
            checked.unsealed
        )
    })
}

fn bundle(context: &Context, path: &Path, trust: Trust<'_>) -> Result<(), Failure> {
    let Proved { manifest, size, met } = offline::verify(path, trust)?;
    show(context, &manifest, (size, met), || match &manifest.selection {
        None => (format!("complete up to position {}", manifest.position), String::new()),
        Some(chosen) if chosen.is_stretch() => {
            let (leaves, missing) = stretch(size, met);
            (leaves, format!("{missing}; what lies before and after them is not here"))
        }
        Some(chosen) => {
            let kind = chosen.kind.as_ref().map(|kind| format!("of type {kind}"));
            let actor = chosen.actor.map(|actor| format!("caused by {actor}"));
            let chosen: Vec<_> = kind.into_iter().chain(actor).collect();
            let unproved = "; whether some were left out is not proved".to_owned();
            (format!("chosen as those {}", chosen.join(" and ")), unproved)
        }
    })
}

/// Checks an export against the tree of a bundle.
fn export(context: &Context, path: &Path, with: &Path, trust: Trust<'_>) -> Result<(), Failure> {
    let (manifest, mut leaves) = offline::tree(with, trust)?;
    let met = plain::proved(path, &manifest, &mut leaves)?;
    let size = leaves.size;
    show(context, &manifest, (size, met), || stretch(size, met))
}

/// Tells what was proved; `which` says of which events, and what is missing of them.
fn show(
    context: &Context,
    manifest: &Manifest,
    (size, met): (u64, Met),
    which: impl FnOnce() -> (String, String),
) -> Result<(), Failure> {
    let shown = json!({
        "deployment": manifest.deployment,
        "tenant": manifest.tenant,
        "events": met.count,
        "first_leaf": met.ends.map(|(first, _)| first),
        "last_leaf": met.ends.map(|(_, last)| last),
        "missing_between": met.missing(),
        "tree_size": size,
        "selection": manifest.selection,
        "result": "verified",
    });
    context.output.show(&shown, || {
        let (which, missing) = which();
        format!(
            "{} of tenant {} of '{}', {which}, are what was sealed{missing}",
            events(met.count),
            manifest.tenant,
            manifest.deployment
        )
    })
}

/// Which part of the tree the events are, and what is missing of it.
fn stretch(size: u64, met: Met) -> (String, String) {
    let Some((first, last)) = met.ends else {
        return (format!("of {size} in the tree"), String::new());
    };
    let missing = match met.missing() {
        0 => "; none between them is missing".to_owned(),
        missing => format!("; {missing} between them are not here"),
    };
    (format!("leaves {first} to {last} of {size}"), missing)
}

/// Checks an export as far as it can be checked without a tree.
fn alone(context: &Context, path: &Path, trust: Trust<'_>) -> Result<(), Failure> {
    if !trust.keys.is_empty() || !trust.witnesses.is_empty() {
        let reason = "--key and --witness need a tree: name a bundle that has it, --with BUNDLE";
        return Err(Failure::Usage(reason.to_owned()));
    }
    let found = plain::alone(path)?;
    context.output.show(&json!({"events": found, "result": "not proved"}), || {
        format!(
            "{} have the form and the data that their hashes say, in order. This proves nothing \
             of the log: name a bundle that has the tree, --with BUNDLE, to check that they are \
             what was sealed and which are missing",
            events(found)
        )
    })
}

fn events(number: u64) -> String {
    count(usize::try_from(number).unwrap_or_default(), "event")
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
