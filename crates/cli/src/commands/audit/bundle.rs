//! Everything an auditor needs to check a tenant's events without the installation: the events, the
//! tree, the checkpoint, the keys, and a manifest.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Context as _;
use eventstore::PgEventStore;
use eventstore::audit::{Trees, origin};
use eventstore::tlog::{TILE_WIDTH, TileId, Tiles};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::super::Context;
use super::export;
use crate::args::Only;
use crate::failure::Failure;

/// The files of a bundle.
pub(super) const EVENTS: &str = "events.ndjson";
pub(super) const CHECKPOINT: &str = "checkpoint";
pub(super) const KEYS: &str = "keys.txt";
pub(super) const MANIFEST: &str = "manifest.json";

/// How many tiles are read at once.
const TILES: usize = 64;

/// What a bundle says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Whose events.
    pub(super) tenant: Uuid,
    /// How many; they are all that the tenant has up to the checkpoint.
    pub(super) events: u64,
    /// Position of the last one.
    pub(super) position: i64,
}

/// Writes the bundle of a tenant into a directory that is not there yet.
pub(super) async fn write(
    context: &Context,
    store: &PgEventStore,
    trees: &Trees,
    tenant: Uuid,
    directory: &Path,
) -> Result<(), Failure> {
    let sealed = trees.latest(tenant).await.context("reading the checkpoint")?;
    let Some(sealed) = sealed else {
        return Err(Failure::NotFound(format!("nothing of tenant {tenant} is sealed yet")));
    };
    fs::create_dir(directory).with_context(|| format!("making {}", directory.display()))?;
    let file = |name: &str| {
        let path = directory.join(name);
        File::create(&path).with_context(|| format!("writing {}", path.display()))
    };
    let mut events = BufWriter::new(file(EVENTS)?);
    let only = Only { tenant: Some(tenant), ..Only::default() };
    let range = (1, sealed.position);
    let written = export::write(store, trees, range, &only, &mut events).await?;
    events.flush()?;
    file(CHECKPOINT)?.write_all(sealed.note.as_bytes())?;
    let mut keys = file(KEYS)?;
    for key in trees.keys(&origin(tenant)).await.context("reading the keys")? {
        writeln!(keys, "{key}")?;
    }
    write_tiles(trees, tenant, sealed.head.size, directory).await?;
    let manifest = Manifest { tenant, events: written as u64, position: sealed.position };
    let manifest = serde_json::to_vec_pretty(&manifest).map_err(anyhow::Error::from)?;
    file(MANIFEST)?.write_all(&manifest)?;
    let shown = directory.display().to_string();
    context.output.show(&json!({"bundle": shown, "events": written}), || {
        format!("{written} events of tenant {tenant} are in {shown}; check them with\n  everstep audit verify {shown}")
    })
}

async fn write_tiles(
    trees: &Trees,
    tenant: Uuid,
    size: u64,
    directory: &Path,
) -> Result<(), Failure> {
    for level in 0_u8.. {
        let ids = (0..).map_while(|index| TileId::within(level, index, size));
        let ids: Vec<TileId> = ids.collect();
        if ids.is_empty() {
            return Ok(());
        }
        for ids in ids.chunks(TILES) {
            let tiles = trees.tiles(tenant, ids).await.context("reading the tree")?;
            for id in ids {
                let hashes = tiles.tile(*id).unwrap_or_default();
                let width = usize::from(id.width.min(TILE_WIDTH));
                let bytes: Vec<u8> =
                    hashes.iter().take(width).flat_map(|hash| *hash.as_bytes()).collect();
                let path = directory.join(id.path());
                fs::create_dir_all(path.parent().unwrap_or(directory))?;
                fs::write(path, bytes)?;
            }
        }
    }
    Ok(())
}
