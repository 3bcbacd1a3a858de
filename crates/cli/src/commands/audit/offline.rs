//! Checking a bundle: with the files in it and, best, a key that was known before.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context as _;
use eventstore::audit::{Line, origin};
use eventstore::tlog::{
    Checkpoint, Frontier, Hash, Note, Tile, TileId, TileSet, Tiles, TreeHead, Verifier,
};

use super::bundle::{CHECKPOINT, EVENTS, KEYS, MANIFEST, Manifest};
use crate::failure::Failure;

/// Checks a bundle; says how many events it has. `pinned` are keys that are believed instead of
/// those in the bundle.
pub(super) fn verify(directory: &Path, pinned: &[[u8; 32]]) -> Result<Manifest, Failure> {
    let read = |name: &str| {
        let path = directory.join(name);
        fs::read(&path).with_context(|| format!("reading {}", path.display()))
    };
    let manifest: Manifest = serde_json::from_slice(&read(MANIFEST)?)
        .map_err(|error| bad(format!("{MANIFEST}: {error}")))?;
    let name = origin(manifest.tenant);
    let known = keys(&name, &read(KEYS)?, pinned)?;
    let note = Note::parse(&read(CHECKPOINT)?).map_err(|error| bad(error.to_string()))?;
    let opened = Checkpoint::open(&note, &name, &known).map_err(|error| bad(error.to_string()))?;
    let head = opened.checkpoint.head();
    let leaves = tree(directory, head)?;
    let events = File::open(directory.join(EVENTS)).with_context(|| format!("reading {EVENTS}"))?;
    let count = lines(BufReader::new(events), &leaves)?;
    if count != head.size {
        let size = head.size;
        return Err(bad(format!("{EVENTS} has {count} events, and {size} were sealed")));
    }
    if count != manifest.events {
        return Err(bad(format!("{MANIFEST} says {} events", manifest.events)));
    }
    Ok(manifest)
}

fn bad(what: String) -> Failure {
    Failure::Verification(what)
}

fn keys(name: &str, stored: &[u8], pinned: &[[u8; 32]]) -> Result<Vec<Verifier>, Failure> {
    if !pinned.is_empty() {
        let keys = pinned.iter().map(|key| Verifier::of(name, key));
        return keys.collect::<Result<_, _>>().map_err(|error| bad(format!("--key: {error}")));
    }
    let lines = std::str::from_utf8(stored).map_err(|_| bad(format!("{KEYS} is no text")))?;
    let keys = lines.lines().map(str::parse);
    keys.collect::<Result<_, _>>().map_err(|error| bad(format!("{KEYS}: {error}")))
}

/// The leaves of the tree, if its tiles give the root of the checkpoint.
fn tree(directory: &Path, head: TreeHead) -> Result<TileSet, Failure> {
    let (mut leaves, mut above) = (TileSet::default(), Frontier::default());
    for index in 0.. {
        let Some(id) = TileId::within(0, index, head.size) else { break };
        let tile = stored(directory, id)?;
        above.extend(tile.hashes().iter().copied());
        leaves.insert(tile);
    }
    if above.head() == head {
        return Ok(leaves);
    }
    Err(bad(format!("the tiles do not give the root of {CHECKPOINT}")))
}

fn stored(directory: &Path, id: TileId) -> Result<Tile, Failure> {
    let path = directory.join(id.path());
    let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let tile = Tile::from_bytes(id.level, id.index, &bytes).ok();
    tile.filter(|tile| tile.id() == id).ok_or_else(|| bad(format!("{id} has not its hashes")))
}

/// Checks that each line is the next leaf; how many there are.
fn lines(file: impl BufRead, leaves: &TileSet) -> Result<u64, Failure> {
    let mut count = 0;
    for (number, text) in (1_u64..).zip(file.lines()) {
        let wrong = |what: &str| bad(format!("{EVENTS}, line {number}: {what}"));
        let text = text.map_err(|error| wrong(&error.to_string()))?;
        let line = Line::read(&text).map_err(|error| wrong(&error.to_string()))?;
        if line.leaf != Some(count) {
            return Err(wrong("an event is missing before it, or it stands elsewhere"));
        }
        if leaf(leaves, count) != Some(line.leaf_hash()) {
            return Err(wrong("it is not what was sealed"));
        }
        count += 1;
    }
    Ok(count)
}

fn leaf(leaves: &TileSet, index: u64) -> Option<Hash> {
    const WIDTH: u64 = 256;
    let place = usize::try_from(index % WIDTH).ok()?;
    let width = u16::try_from(place + 1).ok()?;
    let id = TileId { level: 0, index: index / WIDTH, width };
    leaves.tile(id)?.get(place).copied()
}
