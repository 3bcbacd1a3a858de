//! Everything an auditor needs to check a tenant's events without the installation: a manifest, the
//! checkpoint, the keys, the tree, and the events, in this order.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, IntoInnerError, Seek};
use std::path::Path;

use anyhow::Context as _;
use eventstore::PgEventStore;
use eventstore::audit::{Sealed, Trees, origin, verifiers};
use eventstore::tlog::{Hash, TILE_WIDTH, TileId, Tiles, Verifier};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::super::Context;
use super::export::{self, Range, Written};
use super::format::Sink;
use super::pack::Pack;
use crate::args::{Export, ExportFormat, Only, Place};
use crate::failure::Failure;

/// The files of a bundle.
pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const CHECKPOINT: &str = "checkpoint";
pub(super) const KEYS: &str = "keys.txt";
pub(super) const EVENTS: &str = "events.ndjson";

/// How many tiles are read at once.
const TILES: usize = 64;

/// What a bundle says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The name of the installation.
    pub(super) deployment: String,
    /// Whose events.
    pub(super) tenant: Uuid,
    /// How many are here. Unless there is a selection, they are all that the tenant has up to the
    /// checkpoint.
    pub(super) events: u64,
    /// Up to which position the checkpoint has all.
    pub(super) position: i64,
    /// What was asked for, if that was not everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) selection: Option<Selection>,
    /// SHA-256 of the file with the events, in hex, for whoever has no other means to check it.
    pub(super) events_sha256: String,
    /// Where the key was replaced: the signed notes by which keys follow one another.
    pub(super) key_words: Vec<String>,
}

/// Which of the tenant's events a bundle was asked for. The tree is there for all of them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Selection {
    /// The first position or time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<String>,
    /// The last position or time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<String>,
    /// Only this type.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "type")]
    pub(super) kind: Option<String>,
    /// Only what this one caused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) actor: Option<Uuid>,
    /// The first leaf whose event is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) first_leaf: Option<u64>,
    /// The last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_leaf: Option<u64>,
}

impl Selection {
    /// None if everything was asked for.
    fn of(what: &Export, leaves: Option<(u64, u64)>) -> Option<Self> {
        let Export { from, to, only, .. } = what;
        let from = Some(from).filter(|from| **from != Place::Position(1));
        let is_whole =
            from.is_none() && to.is_none() && only.kind.is_none() && only.actor.is_none();
        (!is_whole).then(|| Self {
            from: from.map(ToString::to_string),
            to: to.map(|to| to.to_string()),
            kind: only.kind.clone(),
            actor: only.actor,
            first_leaf: leaves.map(|(first, _)| first),
            last_leaf: leaves.map(|(_, last)| last),
        })
    }

    /// The first and the last leaf.
    pub(super) fn ends(&self) -> Option<(u64, u64)> {
        self.first_leaf.zip(self.last_leaf)
    }

    /// Whether it is one stretch of the log, of which nothing may be missing.
    pub(super) fn is_stretch(&self) -> bool {
        self.kind.is_none() && self.actor.is_none()
    }
}

/// The checkpoint that a bundle goes up to: the newest, or the newest that a witness has cosigned.
pub(super) async fn checkpoint(
    trees: &Trees,
    tenant: Uuid,
    witness: Option<&Verifier>,
) -> Result<Sealed, Failure> {
    let sealed = match witness {
        None => trees.latest(tenant).await,
        Some(witness) => trees.cosigned(tenant, witness).await,
    };
    let missing = match witness {
        None => format!("nothing of tenant {tenant} is sealed yet"),
        Some(witness) => format!("no checkpoint of tenant {tenant} is cosigned by {witness}"),
    };
    sealed.context("reading the checkpoint")?.ok_or(Failure::NotFound(missing))
}

/// Writes the bundle of a tenant, up to a checkpoint, to where nothing is yet.
pub(super) async fn write(
    context: &Context,
    store: &PgEventStore,
    trees: &Trees,
    (tenant, sealed): (Uuid, Sealed),
    (what, range, path): (&Export, Range, &Path),
) -> Result<(), Failure> {
    let mut pack = Pack::create(path)?;
    let (mut events, written) = events(store, trees, range, &what.only).await?;
    let deployment = trees.deployment().await.context("reading the name")?;
    let keys = trees.keys().await.context("reading the keys")?;
    let verifiers = verifiers(&origin(&deployment, tenant), &keys.publics);
    let verifiers = verifiers.context("reading the keys")?;
    let manifest = Manifest {
        deployment: deployment.to_string(),
        tenant,
        events: written.events as u64,
        position: sealed.position,
        selection: Selection::of(what, written.leaves),
        events_sha256: digest(&mut events)?,
        key_words: keys.words,
    };
    let manifest = serde_json::to_vec_pretty(&manifest).map_err(anyhow::Error::from)?;
    pack.put(MANIFEST, &manifest)?;
    pack.put(CHECKPOINT, sealed.note.as_bytes())?;
    let keys: Vec<String> = verifiers.iter().map(ToString::to_string).collect();
    pack.put(KEYS, (keys.join("\n") + "\n").as_bytes())?;
    put_tiles(trees, tenant, sealed.head.size, &mut pack).await?;
    pack.put_file(EVENTS, events)?;
    pack.finish()?;
    let (shown, written) = (path.display().to_string(), written.events);
    context.output.show(&json!({"bundle": shown, "events": written}), || {
        format!("{written} events of tenant {tenant} are in {shown}; check them with\n  everstep audit verify {shown}")
    })
}

/// A file, gone when it is closed, with the events of a part of the log, and what they are.
async fn events(
    store: &PgEventStore,
    trees: &Trees,
    range: Range,
    only: &Only,
) -> Result<(File, Written), Failure> {
    let file = tempfile::tempfile().context("making room for the events")?;
    let mut sink = Sink::new(ExportFormat::Cloudevents, BufWriter::new(file))?;
    let written = export::write(store, trees, range, only, &mut sink).await?;
    let file = sink.finish()?.into_inner().map_err(IntoInnerError::into_error)?;
    Ok((file, written))
}

fn digest(file: &mut File) -> Result<String, Failure> {
    let mut digest = Sha256::new();
    file.rewind()?;
    let mut file = BufReader::new(file);
    loop {
        let bytes = file.fill_buf()?;
        if bytes.is_empty() {
            return Ok(hex::encode(digest.finalize()));
        }
        digest.update(bytes);
        let read = bytes.len();
        file.consume(read);
    }
}

async fn put_tiles(trees: &Trees, tenant: Uuid, size: u64, pack: &mut Pack) -> Result<(), Failure> {
    for level in 0_u8.. {
        let mut ids = (0..).map_while(|index| TileId::within(level, index, size)).peekable();
        if ids.peek().is_none() {
            return Ok(());
        }
        while ids.peek().is_some() {
            let some: Vec<TileId> = ids.by_ref().take(TILES).collect();
            let tiles = trees.tiles(tenant, &some).await.context("reading the tree")?;
            for id in some {
                let hashes = tiles.tile(id).unwrap_or_default();
                let width = usize::from(id.width.min(TILE_WIDTH));
                let bytes: Vec<u8> =
                    hashes.iter().take(width).flat_map(Hash::as_bytes).copied().collect();
                pack.put(&id.path(), &bytes)?;
            }
        }
    }
    Ok(())
}
