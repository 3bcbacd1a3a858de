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
use super::export::{self, Range};
use super::format::Sink;
use super::pack::Pack;
use crate::args::{ExportFormat, Only};
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
    /// How many; they are all that the tenant has up to the checkpoint.
    pub(super) events: u64,
    /// Position of the last one.
    pub(super) position: i64,
    /// SHA-256 of the file with the events, in hex, for whoever has no other means to check it.
    pub(super) events_sha256: String,
    /// Where the key was replaced: the signed notes by which keys follow one another.
    pub(super) key_words: Vec<String>,
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
    path: &Path,
) -> Result<(), Failure> {
    let mut pack = Pack::create(path)?;
    let (mut events, written) = events(store, trees, tenant, sealed.position).await?;
    let deployment = trees.deployment().await.context("reading the name")?;
    let keys = trees.keys().await.context("reading the keys")?;
    let verifiers = verifiers(&origin(&deployment, tenant), &keys.publics);
    let verifiers = verifiers.context("reading the keys")?;
    let manifest = Manifest {
        deployment: deployment.to_string(),
        tenant,
        events: written as u64,
        position: sealed.position,
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
    let shown = path.display().to_string();
    context.output.show(&json!({"bundle": shown, "events": written}), || {
        format!("{written} events of tenant {tenant} are in {shown}; check them with\n  everstep audit verify {shown}")
    })
}

/// A file, gone when it is closed, with the events up to a position, and how many they are.
async fn events(
    store: &PgEventStore,
    trees: &Trees,
    tenant: Uuid,
    last: i64,
) -> Result<(File, usize), Failure> {
    let file = tempfile::tempfile().context("making room for the events")?;
    let mut sink = Sink::new(ExportFormat::Cloudevents, BufWriter::new(file))?;
    let only = Only { tenant: Some(tenant), ..Only::default() };
    let written = export::write(store, trees, Range::upto(last), &only, &mut sink).await?;
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
